"""An .onnx file that was sent: a child process makes of it the file that edged runs, see `adoption`.

The daemon itself does not even read it: a file of 100 MB may hold up its frames, and a wrong one may take its memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edged import process
from edged.errors import ConfigError, ModelError, NotInstalledError
from edged.jobs.process import Child
from edged.zoo.examination import in_child


@dataclass(frozen=True)
class AdoptionRequest:
    """What the child is to make.

    Attributes:
        model: Path of the file that was sent.
        weights: Path of the file in which weights lie that are not in the model's; None: all are.
        made: Path of the open file that it writes.
        mean, std, bgr: How RGB becomes the network's input; no mean: as the file's metadata says.
        size: Width and height of the input, where the file leaves them open.
        memory_bytes: What all of this may take.
    """

    model: str
    weights: str | None
    made: str
    mean: Sequence[float] | None
    std: Sequence[float] | None
    bgr: bool
    size: tuple[int, int] | None
    memory_bytes: int


@dataclass(frozen=True)
class Adopted:
    """What the child has done.

    Attributes:
        changed: Whether it has made another file; else the one that was sent is in edged's form.
    """

    changed: bool


ADOPTER: Child[AdoptionRequest, dict[str, str], Adopted] = Child(
    module="edged.zoo.adopter",
    name="adoption",
    request=AdoptionRequest,
    progress=dict,
    outcome=Adopted,
    niceness=5,
    keeps_errors=True,
)


def adopt_sent(
    model: bytes,
    weights: bytes | None = None,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    bgr: bool = False,
    size: tuple[int, int] | None = None,
    origin: str,
) -> bytes:
    """Return the content of an .onnx file that edged runs; the same bytes where it is one already.

    The photos that come with edged tell the range of its bottleneck.

    Args:
        model: Content of the file.
        weights: Content of the file in which weights lie that are not in the model's.
        mean, std, bgr, size: See `AdoptionRequest`.
        origin: What messages call the file.

    Raises:
        NotInstalledError: ONNX Runtime is not there.
        ConfigError: The file does not say how RGB becomes its input, or how large that is; or it says it all itself.
        ModelError: It is no image classifier, does not run, or takes too much memory or time.
    """
    try:
        with process.file_in_memory("adopted") as made, process.file_in_memory("weights") as beside:
            beside.write(weights or b"")
            beside.flush()
            outcome = in_child(
                ADOPTER,
                model,
                lambda path, memory_bytes: AdoptionRequest(
                    model=path,
                    weights=None if weights is None else f"/proc/self/fd/{beside.fileno()}",
                    made=f"/proc/self/fd/{made.fileno()}",
                    mean=mean,
                    std=std,
                    bgr=bgr,
                    size=size,
                    memory_bytes=memory_bytes,
                ),
                "is not made into a network that edged runs",
                descriptors=[made.fileno(), beside.fileno()],
            )
            return made.read() if outcome.changed else model
    except NotInstalledError:
        raise
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from error
    except (ModelError, OSError) as error:
        raise ModelError(f"{origin}: {error}") from error
