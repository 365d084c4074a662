"""Event files: the framing by its definition, the messages by a reader of the wire format, all by TensorBoard."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import socket
import struct
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.learning.calibration import Bin
from edged.learning.pipeline import train
from edged.learning.softmax_regression import EpochReport
from edged.learning.tensorboard import Curves, EventFile, crc32c, record
from edged.store import read_bundle
from edged.vision.operators import operators
from tests.albums import LABELS
from tests.learning.conftest import SHIPPED, request_for
from tests.waiting import PATIENCE_S, wait_until


def fields(data: bytes) -> Iterator[tuple[int, object]]:
    """(field, value) of a protocol buffers message: varint, 64 bits, bytes or 32 bits."""

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    at = 0
    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        elif tag & 7 == 2:
            size = varint()
            yield tag >> 3, data[at : at + size]
            at += size
        else:
            size, form = (8, "<d") if tag & 7 == 1 else (4, "<f")
            yield tag >> 3, struct.unpack_from(form, data, at)[0]
            at += size


def events(path: Path) -> list[bytes]:
    data, found, at = path.read_bytes(), [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        payload = data[at + 12 : at + 12 + length]
        assert data[at : at + 16 + length] == record(payload)
        found.append(payload)
        at += 16 + length
    return found


def steps(path: Path) -> list[tuple[int, dict[str, float]]]:
    """(step, {tag: value}) of each summary."""
    read = []
    for event in events(path)[1:]:
        outer = dict(fields(event))
        values = {}
        for _, value in fields(outer[5]):  # type: ignore[arg-type]  # field 5 is the summary's bytes
            inner = dict(fields(value))  # type: ignore[arg-type]  # and its field 1 a value's
            values[inner[1].decode()] = inner[2]  # type: ignore[attr-defined]
        read.append((int(outer[2]), values))  # type: ignore[call-overload]
    return read


def test_the_checksum_is_castagnoli_s() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C in every catalogue
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


def test_a_record_begins_with_its_length_and_the_masked_checksum_of_that() -> None:
    length = struct.pack("<Q", 3)
    crc = crc32c(length)
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    assert record(b"abc")[:12] == length + struct.pack("<I", masked)


def test_scalars_come_back(tmp_path: Path) -> None:
    file = EventFile(tmp_path / "run")
    file.add(1, {"loss": 0.5, "accuracy": 0.25})
    file.add(300, {"loss": 0.125})
    file.close()
    assert dict(fields(events(file.path)[0]))[3] == b"brain.Event:2"
    assert steps(file.path) == [(1, {"loss": 0.5, "accuracy": 0.25}), (300, {"loss": 0.125})]


def test_a_training_has_two_runs(tmp_path: Path) -> None:
    curves = Curves(tmp_path / "job")
    curves.add(EpochReport(1, 0.1, 1.0, 0.5, 0.75, 0.625))
    curves.add(EpochReport(2, 0.1, 0.5, 0.75, None, None))
    curves.close()
    (train,), (validation,) = (list((tmp_path / "job" / run).iterdir()) for run in ("train", "validation"))
    assert [step for step, _ in steps(train)] == [1, 2]
    ((step, values),) = steps(validation)
    assert (step, values) == (1, {"loss": 0.75, "accuracy": 0.625})
    assert math.isclose(steps(train)[0][1]["lr"], 0.1, rel_tol=1e-6)


def test_reliability_is_a_curve_over_scores_in_percent_beside_the_diagonal(tmp_path: Path) -> None:
    curves = Curves(tmp_path / "job")
    curves.add_reliability([Bin(3, 0.5, 0.25), Bin(5, 0.9375, 1.0)])
    curves.close()
    (scores,), (exact,) = (list((tmp_path / "job" / run).iterdir()) for run in ("scores", "exact scores"))
    assert steps(scores) == [(50, {"accuracy by score": 0.25}), (94, {"accuracy by score": 1.0})]
    assert steps(exact) == [(50, {"accuracy by score": 0.5}), (94, {"accuracy by score": 0.9375})]


def test_curves_that_cannot_be_written_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "job").write_text("a file where a folder is wanted")
    curves = Curves(tmp_path / "job")
    curves.add(EpochReport(1, 0.1, 1.0, 0.5, None, None))
    curves.close()


# -- the real TensorBoard ----------------------------------------------------------------------------------------------

HAS_TENSORBOARD = importlib.util.find_spec("tensorboard") is not None


def localhost_is_known() -> bool:
    """Whether the name can be resolved: TensorBoard asks for it, whatever the host that it is told."""
    try:
        return bool(socket.getaddrinfo("localhost", None))
    except socket.gaierror:
        return False


class TensorBoard:
    """The program, serving a folder; asked as its pages in a browser ask it."""

    def __init__(self, logdir: Path, temporary: Path) -> None:
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--host", "127.0.0.1"]
        self._process = subprocess.Popen(
            [*command, "--port", "0", "--load_fast", "false"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TMPDIR": str(temporary)},
        )
        assert self._process.stderr is not None
        said: list[str] = []
        for line in self._process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
                self._url = found[0]
                return
            said.append(line)
        self.close()
        raise AssertionError(f"TensorBoard ended before it served anything: {''.join(said[-20:])}")

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self._url + path, timeout=PATIENCE_S) as answer:
            return str(answer.read().decode())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def nodes_of(text: str) -> dict[str, tuple[str, list[str], list[str]]]:
    """Name → (kind, inputs, attributes' names) of the graph in protocol buffers' text format."""
    found = {}
    for block in re.split(r"^node \{$", text, flags=re.MULTILINE)[1:]:
        values = {key: re.findall(rf'^  {key}: "(.*)"$', block, re.MULTILINE) for key in ("name", "op", "input")}
        found[values["name"][0]] = (
            values["op"][0],
            values["input"],
            re.findall(r'^    key: "(.*)"$', block, re.MULTILINE),
        )
    return found


@pytest.mark.skipif(not HAS_TENSORBOARD, reason="needs tensorboard, which tools/test installs")
@pytest.mark.skipif(not localhost_is_known(), reason="TensorBoard needs the name localhost (/etc/hosts)")
def test_tensorboard_shows_the_curves_and_the_graph_of_a_training(tmp_path: Path) -> None:
    outcome = train(request_for(tmp_path / "state", epochs=4, batch=16, workers=1), lambda _: None)
    assert outcome.bundle is not None
    board = TensorBoard(tmp_path / "state" / "runs", tmp_path)
    try:
        runs: list[str] = []
        wait_until(
            lambda: runs.extend(json.loads(board.get("data/runs"))) or "job-1/train" in runs, what="TensorBoard's runs"
        )
        epochs = list(range(1, outcome.report.training.epochs + 1))

        def read() -> bool:
            """Whether it has read all of the run: it shows one as soon as it has read the beginning."""
            try:
                curve = json.loads(board.get("data/plugin/scalars/scalars?run=job-1/train&tag=loss"))
                graphs = json.loads(board.get("data/plugin/graphs/info"))
            except urllib.error.HTTPError:  # nothing of that name yet
                return False
            shown = [step for _, step, _ in curve]
            assert shown == epochs[: len(shown)]
            return shown == epochs and graphs.get("job-1/train", {}).get("run_graph") is True

        wait_until(read, what=f"a curve of {len(epochs)} epochs, and a graph")
        nodes = nodes_of(board.get("data/plugin/graphs/graph?run=job-1/train"))
    finally:
        board.close()
    expected = operators(read_bundle(outcome.bundle).read_model())
    assert list(nodes) == [one.name for one in expected]
    assert nodes["input"][0] == "Placeholder"
    assert [kind for kind, _, _ in nodes.values()][1:] == [one.kind for one in expected[1:]]
    assert [inputs for _, inputs, _ in nodes.values()] == [[name for name, _ in one.inputs] for one in expected]
    assert {name.split("/")[0] for name in nodes} == {"input", "backbone", "head"}
    assert all("_output_shapes" in attributes for _, _, attributes in nodes.values())
    classifier = next(one for one in expected if one.part == "head" and one.constants and one.kind == "CONV_2D")
    assert "constants" in nodes[classifier.name][2]
    assert classifier.constants[0] == (len(LABELS), 1, 1, 1280)


def test_a_graph_that_cannot_be_written_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "job").write_text("a file where a folder is wanted")
    curves = Curves(tmp_path / "job")
    curves.add_graph((SHIPPED / "model.tflite").read_bytes())
    curves.close()
