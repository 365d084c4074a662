"""The child process that takes an .onnx file as it was exported: `python -m edged.zoo.adopter`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edged import process
from edged.errors import ConfigError
from edged.jobs.process import serve
from edged.zoo.examiner import reading
from edged.zoo.sent_onnx import ADOPTER, Adopted, AdoptionRequest


def adopt(request: AdoptionRequest, _: Callable[[dict[str, str]], None]) -> Adopted:
    """Make the file that edged runs; see `sent_onnx.adopt_sent` for what is raised."""
    process.keep_frame_memory()  # one heap: a thread's own reserves address space, which is what is limited
    from edged.vision import onnx_runtime  # after the process has stepped back
    from edged.vision.onnx_adoption import Pixels
    from edged.zoo import adoption
    from edged.zoo.ranger import measured

    onnx_runtime.load()
    photos = adoption.read_photos()
    process.limit_memory(request.memory_bytes)
    with reading():
        model = Path(request.model).read_bytes()
        beside = None if request.weights is None else Path(request.weights)
        pixels = None
        if request.mean is not None and request.std is not None:
            pixels = Pixels.of(request.mean, request.std, bgr=request.bgr)
        said = [name for name in ("mean", "size") if getattr(request, name) is not None]
        if said and not request.bgr and adoption.is_ready(model):
            raise ConfigError(
                f"is in the form that edged runs and says it all itself; --{said[0]} would do nothing: leave it out"
            )
        made = adoption.adopt(model, photos, pixels=pixels, size=request.size, folder=beside, measure=measured)
        if made == model:
            return Adopted(changed=False)
        Path(request.made).write_bytes(made)
        return Adopted(changed=True)


if __name__ == "__main__":
    serve(ADOPTER, adopt)
