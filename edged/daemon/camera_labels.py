"""`label/<camera>`: what each camera shows, retained, for who comes later and wants no message for every frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edged.contract.messages import NOTHING, CameraLabel, RegionLabel, timestamp

if TYPE_CHECKING:
    from edged.daemon.camera_topics import CameraTopics
    from edged.daemon.publisher import Scene


class CameraLabels:
    """Publishes a camera's label when it changes, or what has one among the things before it.

    Args:
        topics: `label/<camera>`.
    """

    def __init__(self, topics: CameraTopics) -> None:
        self._topics = topics
        self._told: dict[str, list[tuple[str | None, str]]] = {}

    def __call__(self, scene: Scene) -> None:
        """Publish what a frame shows, where the camera's frame before it showed something else."""
        camera = scene.frame.camera
        if camera not in self._topics:
            self._told.pop(camera, None)
            return
        shown = [(result.track, result.label) for result in scene.results]
        if self._told.get(camera) != shown:
            self._told[camera] = shown
            self._topics.publish(camera, _label(scene).encode())


def _label(scene: Scene) -> CameraLabel:
    newest = next(iter(scene.results), None)
    since = timestamp(scene.frame.captured_at)
    regions = None
    if scene.frame.regions is not None:
        regions = [
            RegionLabel(
                track=result.track,
                label=result.label,
                score=result.score,
                familiarity=result.familiarity,
                box=result.box,
            )
            for result in scene.results
            if result.track is not None and result.box is not None
        ]
    return CameraLabel(
        ts=since,
        label=NOTHING if newest is None else newest.label,
        score=0.0 if newest is None else newest.score,
        familiarity=None if newest is None else newest.familiarity,
        since=since,
        regions=regions,
    )
