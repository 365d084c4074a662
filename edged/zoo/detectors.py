"""From a detector's .tflite file to an installed one that is known to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edged.errors import ModelError
from edged.zoo.detector_examination import ExaminedDetector, examine_detector
from edged.zoo.install import checked_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edged.store import InstalledDetector, Store
    from edged.types import Image
    from edged.vision.network import Runtime


def install_detector(
    store: Store,
    model: bytes,
    *,
    name: str,
    origin: str,
    source: str | None = None,
    replace: bool = False,
    runtime: Runtime = "auto",
    threads: int = 1,
    frames: Sequence[Image] = (),
) -> InstalledDetector:
    """Install a detector after it has looked at images in a child process.

    Args:
        store: Where to.
        model: Content of a .tflite file.
        name: One level of an MQTT topic.
        origin: What messages call the file.
        source: Where it comes from.
        replace: Take the place of an installed detector of this name.
        runtime, threads: See `vision.detector.Detector`: what will run it has to take it.
        frames: RGB images that it has to look at: of the device's cameras, where there are some.

    Raises:
        ConfigError: The name cannot be used, or is taken.
        ModelError: Not a detector of the SSD kind, the runtime refuses it, disk full.
    """
    name = checked_name(name)
    try:
        examined = examine_detector(model, runtime=runtime, threads=threads, frames=frames)
    except ModelError as error:
        raise ModelError(f"{origin}: {error}") from error
    manifest = {
        "name": name,
        "input": {
            "width": examined.width,
            "height": examined.height,
            "mean": examined.mean,
            "std": examined.std,
        },
        "outputs": examined.outputs,
        "most": examined.most,
        "source": source,
    }
    return store.detectors.add(model, manifest, replace=replace)


def verify_detector(detector: InstalledDetector, runtime: Runtime = "auto", threads: int = 1) -> ExaminedDetector:
    """Recompute a detector's hash and let a child process look at images with it.

    Args:
        detector: Which.
        runtime, threads: See `vision.detector.Detector`.

    Raises:
        ModelError: One line that names its folder and what is wrong.
    """
    detector.read_model()  # its errors name the file
    try:
        return examine_detector(detector.file, runtime=runtime, threads=threads)
    except ModelError as error:
        raise ModelError(f"{detector.path}: {error}") from error
