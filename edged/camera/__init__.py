"""Frames from cameras, files, folders and pipelines.

`open_source` knows every kind of source (`KINDS_OF_SOURCE` for people, `public_source` without passwords), `Capture`
reads one on a thread of its own and keeps the newest frame, `Cameras` lets one consumer wait for any of several. One
photo is read by `edged.codec`.
"""

from edged.camera.cameras import Cameras
from edged.camera.capture import Capture
from edged.camera.opening import KINDS_OF_SOURCE, open_source, public_source
from edged.camera.source import CameraState, Source

__all__ = ["KINDS_OF_SOURCE", "CameraState", "Cameras", "Capture", "Source", "open_source", "public_source"]
