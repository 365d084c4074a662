"""Which regions of a frame come first where not all of them can be classified. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edged.types import Region

_NEVER = -1


class Turns:
    """Remembers when each region of each camera was classified last. For one thread."""

    def __init__(self) -> None:
        self._taken: dict[str, dict[str, int]] = {}
        self._turn = 0

    def order(self, camera: str, regions: Iterable[Region]) -> list[Region]:
        """Return what is visible in a frame: what was never classified first, the newest of it at the very front, then
        what has waited longest.

        Args:
            camera: Name of the camera.
            regions: All of its regions; what is no longer among them is forgotten.
        """
        taken = self._taken.get(camera, {})
        regions = list(regions)
        self._taken[camera] = {region.track: taken[region.track] for region in regions if region.track in taken}
        visible = [region for region in regions if region.visible]
        return sorted(visible, key=lambda region: (taken.get(region.track, _NEVER), -region.born))

    def take(self, camera: str, region: Region) -> None:
        """Note that a region is classified now."""
        self._turn += 1
        self._taken.setdefault(camera, {})[region.track] = self._turn
