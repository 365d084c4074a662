"""`label/<camera>`: what each camera shows, retained, for who comes later and wants no message for every frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edged.contract.messages import CameraLabel

if TYPE_CHECKING:
    from edged.contract.messages import Result
    from edged.daemon.camera_topics import CameraTopics
    from edged.types import Frame


class CameraLabels:
    """Publishes a camera's label when it changes.

    Args:
        topics: `label/<camera>`.
    """

    def __init__(self, topics: CameraTopics) -> None:
        self._topics = topics
        self._told: dict[str, str] = {}

    def __call__(self, frame: Frame, result: Result) -> None:
        """Publish what a frame shows, where the camera's frame before it showed something else."""
        if frame.camera not in self._topics:
            self._told.pop(frame.camera, None)
        elif self._told.get(frame.camera) != result.label:
            self._told[frame.camera] = result.label
            label = CameraLabel(
                ts=result.ts,
                label=result.label,
                score=result.score,
                familiarity=result.familiarity,
                since=result.ts,
            )
            self._topics.publish(frame.camera, label.encode())
