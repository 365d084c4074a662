"""`edged demo --retrain`: crops are labeled and pushed, the device retrains, new labels come out."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edged.demo.crops import write_crops
from edged.errors import EdgedError

if TYPE_CHECKING:
    from edged.demo.viewer import Viewer

_BEFORE_S = 5.0
_AFTER_S = 10.0


def retrain_and_look(viewer: Viewer, photos: Path, folder: Path, port: int, device: str) -> None:
    """Do with `edgectl` what a person would do, showing each command line and its output.

    Raises:
        EdgedError: A command failed.
    """
    time.sleep(_BEFORE_S)
    crops = folder / "crops"
    count = write_crops(photos, crops)
    viewer.print_step(f"{count} crops of the photos, one label per photo, are pushed to the device:")
    with viewer.quiet():
        _edgectl(port, device, "images", "push", str(crops), shown=f"images push {crops.name}/")
        viewer.print_step("The device retrains its final layer on them, while it goes on classifying:")
        _edgectl(port, device, "retrain", "--lr", "0.1", shown="retrain --lr 0.1")
        viewer.print_step("From now on the new labels answer:")
    time.sleep(_AFTER_S)


def _edgectl(port: int, device: str, *arguments: str, shown: str) -> None:
    print(f"$ edgectl {shown}", flush=True)
    command = [sys.executable, "-m", "edged.ctl", "--broker", f"mqtt://127.0.0.1:{port}", "--device", device]
    finished = subprocess.run([*command, *arguments], check=False)
    if finished.returncode != 0:
        raise EdgedError(f"edgectl {shown} ended with exit code {finished.returncode}")
