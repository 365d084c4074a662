"""What stands retained at the broker for who comes later: labels, pictures, and the description for Home Assistant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edged.daemon.camera_labels import CameraLabels
from edged.daemon.camera_topics import CameraTopics
from edged.daemon.discovery import Discovery
from edged.daemon.left_behind import LeftBehind
from edged.daemon.pictures import Pictures

if TYPE_CHECKING:
    from edged.daemon.publisher import Viewer
    from edged.mqtt.link import Link
    from edged.settings import Settings


class Presentation:
    """Holds these parts together: they follow the configured cameras, and share what is remembered of them.

    Args:
        settings: The whole configuration.
        link: Where messages go.
    """

    def __init__(self, settings: Settings, link: Link) -> None:
        left_behind = LeftBehind(settings.storage.state_dir)
        self._settings = settings
        self._labels = CameraTopics(link, left_behind, "label")
        self._pictures = CameraTopics(link, left_behind, "picture")
        self._painter = Pictures(self._pictures, settings.homeassistant.picture_s)
        self.discovery = Discovery(settings, link, left_behind)
        self.viewers: list[Viewer] = [CameraLabels(self._labels), self._painter]
        """See the publisher's."""

    def start(self) -> None:
        """Take back what an earlier configuration has left, and begin."""
        self._follow(self._settings)
        self.discovery.start()
        self._painter.start()

    def configure(self, settings: Settings) -> None:
        """Follow a configuration that was read again, as far as that goes without a restart."""
        self.discovery.configure(settings)  # first: an entity is gone before its topic is empty
        self._follow(settings)

    def stop(self, timeout_s: float) -> None:
        """End what runs, waiting at most `timeout_s`."""
        self._painter.stop(timeout_s)

    def _follow(self, settings: Settings) -> None:
        self._labels.configure(settings.cameras)
        self._pictures.configure(settings.cameras if self._settings.homeassistant.pictures else ())
