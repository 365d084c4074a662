"""A model's first inferences, in a child process: whatever a file does to a runtime, it does it to that process alone.

A .tflite file is a program for native code that trusts it. A wrong tensor index or scale may end the process that opens
it, or take its memory or its time; no check of the file's form finds all of that. So nobody opens a file that was sent
or brought before a child process has opened it and classified images with it, under limits of memory and time.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from edged import process
from edged.errors import ChildError, ChildTimeoutError, ModelError
from edged.jobs.process import Child, ChildProcess
from edged.memory import available_bytes

if TYPE_CHECKING:
    from edged.types import Image
    from edged.vision.network import Runtime

Request = TypeVar("Request")
Outcome = TypeVar("Outcome")
EncodedFrame = tuple[int, int, str]
"""Height, width, and base64 of RGB bytes."""

TIMEOUT_S = 60.0
"""For the whole examination, wall seconds: on a busy machine the child waits for others."""
OPEN_S = 5.0
"""What opening a model may take, seconds of one processor core. Meanwhile it may hold up other threads of the daemon,
whose watchdog waits 30 s. Here an Inception v3 of 24 MB takes 0.25 s."""
FRAME_S = 5.0
"""What one image may take, seconds of wall time."""
LEAST_BYTES = 64 * 2**20
"""Of memory a model may always take so much."""
SHARE = 0.5
"""Of what is free, as a model may take it: the one that answers now stays until the new one does."""


@dataclass(frozen=True)
class ExaminationRequest:
    """What the child is to open.

    Attributes:
        model: Path of the .tflite file; /proc/self/fd/N is an open file that the child was given.
        runtime, threads, crop, outputs: See `vision.network.Network`.
        frames: Images to classify.
        count: So many images in all.
        memory_bytes: What the model may take.
    """

    model: str
    runtime: str
    threads: int
    crop: float
    outputs: tuple[str, str] | None
    frames: list[EncodedFrame]
    count: int
    memory_bytes: int


@dataclass(frozen=True)
class Examined:
    """What the child has seen.

    Attributes:
        runtime: Name of the interpreter.
        width, height: Of the input, pixels.
        classes: Number of outputs.
        features: Width of the bottleneck.
        outputs: What the outputs are, once the bottleneck is one of them; see `store.Manifest`.
        invoke_ms: Median time of an invocation.
    """

    runtime: str
    width: int
    height: int
    classes: int
    features: int
    outputs: tuple[Literal["scores", "logits"], Literal["bottleneck"]] | None
    invoke_ms: float


EXAMINER: Child[ExaminationRequest, dict[str, str], Examined] = Child(
    module="edged.zoo.examiner",
    name="examination",
    request=ExaminationRequest,
    progress=dict,
    outcome=Examined,
    niceness=5,
    keeps_errors=True,
)


def examine(
    model: bytes | Path,
    *,
    runtime: Runtime = "auto",
    threads: int = 1,
    crop: float = 0.875,
    outputs: tuple[str, str] | None = None,
    frames: Sequence[Image] = (),
    count: int = 2,
) -> Examined:
    """Let a child process open a model and classify a grey image, one of noise, and the given ones.

    Args:
        model: Content of a .tflite file, or its path.
        runtime, threads, crop, outputs: See `vision.network.Network`.
        frames: RGB images of any size.
        count: So many images in all; where that is more than there are, they come again in turn.

    Raises:
        ModelError: It is no quantized classifier, the runtime refuses it, it takes too much memory or time, its answers
            are not finite, or it ends the process that runs it.
    """
    return in_child(
        EXAMINER,
        model,
        lambda path, memory_bytes: ExaminationRequest(
            model=path,
            runtime=runtime,
            threads=threads,
            crop=crop,
            outputs=outputs,
            frames=encoded(frames),
            count=count,
            memory_bytes=memory_bytes,
        ),
        f"has not classified {count} images",
    )


def encoded(frames: Sequence[Image]) -> list[EncodedFrame]:
    """Return RGB images as a request carries them."""
    return [(len(frame), frame.shape[1], base64.b64encode(frame.tobytes()).decode()) for frame in frames]


def in_child(
    child: Child[Request, dict[str, str], Outcome],
    model: bytes | Path,
    ask: Callable[[str, int], Request],
    undone: str,
    *,
    descriptors: Sequence[int] = (),
) -> Outcome:
    """Let a child process open a model.

    Args:
        child: Which.
        model: Content of the file, or its path.
        ask: Makes the request, of the path at which the child finds the model and of the memory that it may take.
        undone: What is said of a model that takes too long, e.g. "has not classified 2 images".
        descriptors: More open files that the child gets.

    Raises:
        ModelError: What the child says, or it takes too much memory or time, or ends the process that runs it.
    """
    memory_bytes = max(LEAST_BYTES, round(available_bytes() * SHARE))
    try:
        with _readable(model) as (path, opened):
            request = ask(path, memory_bytes)
            with ChildProcess(child, request, timeout_s=TIMEOUT_S, descriptors=[*opened, *descriptors]) as started:
                return started.wait()
    except OSError as error:
        raise ModelError(f"cannot be tried: {error.strerror or error}") from error
    except ChildTimeoutError as error:
        raise ModelError(f"{undone} after {TIMEOUT_S:g} s") from error
    except ChildError as error:
        if error.out_of_memory:
            raise ModelError(f"takes more than the {memory_bytes / 1e6:.0f} MB of memory that it may have") from error
        raise ModelError(f"ends the process that runs it: {error}") from error


@contextmanager
def _readable(model: bytes | Path) -> Iterator[tuple[str, list[int]]]:
    """Yield a path at which the child finds the model, and what it must be given for that.

    The parent's own /proc/PID/fd would not do: who has changed to another user may not be looked at, not even by that
    user's processes.
    """
    if isinstance(model, Path):
        yield str(model), []
        return
    with process.file_in_memory("model") as file:
        file.write(model)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}", [file.fileno()]
