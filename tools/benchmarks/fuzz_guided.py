"""`tools/bench fuzz WHAT --guided SECONDS`: inputs that are kept because they reach code that no other one has reached.

Atheris (libFuzzer with instrumented Python) changes the inputs of the other fuzzers for so long, and hands each to the
door that the daemon itself has for it: commands to `contract.parsing`, pictures to the header's judge of `codec`,
models to the readers of .tflite files. What they raise but the one error that they promise is a finding. libFuzzer ends
the process that it runs in, so each run is a process of its own: this module, as a program.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

INSTRUMENTED = {
    "commands": ["edged.contract", "json"],
    "images": ["edged.codec"],
    "models": ["edged.vision", "flatbuffers"],
}
"""What is sent → the packages whose branches count."""
LONGEST = {"commands": 4096, "images": 65_536, "models": 65_536}
"""Bytes of an input; longer ones reach nothing that these do not, and take longer."""
LIMIT_S = 30
"""For one input; longer is a finding."""
MEMORY_MB = 2000
"""Of the process; more is a finding."""


def missing() -> str | None:
    """Say in one line why this machine cannot do it; None: it can."""
    if importlib.util.find_spec("atheris") is not None:
        return None
    return "--guided needs atheris, which is not installed for this Python: pip install atheris"


def measure(what: str, *, seconds: float, seed: int) -> dict[str, Any]:
    """Let a process of its own run for so long; return what it says of itself, and what it found."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "corpus").mkdir()
        command = [
            *(sys.executable, "-m", "benchmarks.fuzz_guided", what, str(folder / "corpus")),
            *(f"-max_total_time={round(seconds)}", f"-seed={seed}", f"-max_len={LONGEST[what]}"),
            *(f"-timeout={LIMIT_S}", f"-rss_limit_mb={MEMORY_MB}", f"-artifact_prefix={folder}/found-"),
            "-print_final_stats=1",
        ]
        with (folder / "said").open("wb") as file:
            done = subprocess.run(command, check=False, stdout=file, stderr=file, env=dict(os.environ))
        said = (folder / "said").read_text(encoding="utf-8", errors="replace")
        found = [path.read_bytes() for path in sorted(folder.glob("found-*"))]
    return {"seed": seed, "seconds": round(time.monotonic() - begin), **summary(said, done.returncode, found)}


def summary(said: str, code: int, found: list[bytes]) -> dict[str, Any]:
    """Return what libFuzzer has said: executions, edges by what it began with and in the end, and what it stopped at.

    Raises:
        RuntimeError: It has not begun.
    """
    edges = [int(number) for number in re.findall(r"\b(?:INITED|NEW|REDUCE|pulse|DONE)\s+cov: (\d+)", said)]
    first = re.findall(r"\bINITED\s+cov: (\d+)", said)
    executions = re.findall(r"stat::number_of_executed_units:\s*(\d+)", said)
    if not first or not executions:
        raise RuntimeError(f"libFuzzer has not begun (exit code {code}): {said[-2000:]}")
    wrong = [line.strip() for line in said.splitlines() if re.match(r"\s*(\w+\.)*\w*(Error|Exception)\b", line)]
    return {
        "executions": int(executions[-1]),
        "edges_at_first": int(first[0]),
        "edges": max(edges),
        "corpus": int((re.findall(r"corp: (\d+)", said) or ["0"])[-1]),
        "found": [one[:300].hex() for one in found],
        "wrong": [f"exit code {code}", *wrong][:20] if code or found else [],
    }


# -- in the process that libFuzzer ends --------------------------------------------------------------------------------


def _commands() -> tuple[Callable[[bytes], object], list[bytes]]:
    """The first byte chooses the command, the rest is what is sent as one."""
    from benchmarks.fuzz_commands import judge, payload
    from edged.contract.commands import COMMANDS

    names = sorted(COMMANDS)
    sound = [payload(Random(number), f"n{number}") for number in range(1000)]
    return (
        lambda data: judge(names[data[0] % len(names)], data[1:]) if data else None,
        [bytes([names.index(name)]) + content for name, content in sound if name in COMMANDS],
    )


def _images() -> tuple[Callable[[bytes], object], list[bytes]]:
    from benchmarks.fuzz_images import image
    from edged.codec import decoding_bytes, read_header
    from edged.errors import ImageError

    def look(data: bytes) -> None:
        try:
            read_header(data)
            decoding_bytes(data, (224, 224))
        except ImageError as error:
            assert "\n" not in str(error)  # noqa: PT017 - what a refusal promises

    return look, [content for _, content in (image(1, number) for number in range(400))]


def _models() -> tuple[Callable[[bytes], object], list[bytes]]:
    from edged.errors import ModelError
    from edged.vision.detector_file import read_detector_file
    from edged.vision.graph import parse_graph
    from tests.crafted import CRAFTED
    from tests.detectors import TF2, Kind, make

    def read(data: bytes) -> None:
        for reader in (parse_graph, read_detector_file):
            try:
                reader(data)
            except ModelError as error:
                assert "\n" not in str(error)  # noqa: PT017 - what a refusal promises

    small = [content for content in (one() for one in CRAFTED.values()) if len(content) < LONGEST["models"]]
    return read, [make(), make(Kind(quantized=False, outputs=TF2)), *small]


DOORS = {"commands": _commands, "images": _images, "models": _models}


def main() -> None:
    """Write the sound inputs, and let libFuzzer change them; it does not return."""
    import atheris

    what, corpus, *options = sys.argv[1:]
    with atheris.instrument_imports(include=INSTRUMENTED[what]):
        look, sound = DOORS[what]()
    for number, content in enumerate(sound):
        Path(corpus, f"{number:04}").write_bytes(content)
    atheris.Setup([sys.argv[0], *options, corpus], look)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
