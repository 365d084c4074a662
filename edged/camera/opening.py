"""From the text of `source` to a Source. Adapters are imported only when a source needs them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from edged.errors import CameraError

if TYPE_CHECKING:
    from edged.camera.source import Source
    from edged.settings import CameraSettings

KINDS_OF_SOURCE = (
    "a V4L2 index such as 0, /dev/videoN, csi://N, rtsp://HOST/PATH, file://CLIP, dir://FOLDER, "
    "gst:PIPELINE, pattern, or the path of an existing clip or folder"
)


def open_source(name: str, settings: CameraSettings) -> Source:
    """Open what `settings.source` names.

    Args:
        name: Name of the camera, for messages.
        settings: `source` and `loop` are used here; `fps` and `roi` are the capture thread's.

    Raises:
        CameraError: One line: the camera, the source, what is wrong, what is allowed or what to do.
    """
    try:
        return _open(settings.source.strip(), settings.loop)
    except (CameraError, OSError) as error:  # OSError: a folder on the way may not be entered, a name is too long
        reason = (error.strerror or error) if isinstance(error, OSError) else error
        raise CameraError(f"camera {name!r}: source {public_source(settings.source)!r}: {reason}") from error


def public_source(source: str) -> str:
    """Return `source` without the password of a URL in it: this text goes to logs and to the broker."""
    return re.sub(r"(\w+://[^/@:\s]*):[^/\s]*@", r"\1:***@", source)


def _open(source: str, loop: bool) -> Source:
    scheme, separator, rest = source.partition("://")
    if not separator:
        return _open_bare(source, loop)
    if scheme in ("rtsp", "rtsps"):
        from edged.camera.opencv import StreamSource

        return StreamSource(source)
    if scheme == "file":
        return _open_clip(_existing(rest), loop)
    if scheme == "dir":
        from edged.camera.folder import FolderSource

        return FolderSource(_existing(rest), loop)
    if scheme == "csi":
        from edged.camera.gstreamer import PipelineSource
        from edged.camera.pipeline import csi_pipeline

        return PipelineSource(csi_pipeline(rest), loop)
    raise CameraError(f"unknown scheme {scheme + '://'!r}; use {KINDS_OF_SOURCE}")


def _open_bare(source: str, loop: bool) -> Source:
    """Sources without `://`."""
    if source == "pattern":
        from edged.camera.pattern import PatternSource

        return PatternSource()
    if source.startswith("gst:"):
        from edged.camera.gstreamer import PipelineSource
        from edged.camera.pipeline import split_pipeline

        return PipelineSource(split_pipeline(source.removeprefix("gst:")), loop)
    if source.isdecimal() or source.startswith("/dev/"):
        from edged.camera.opencv import DeviceSource

        return DeviceSource(Path(f"/dev/video{int(source)}") if source.isdecimal() else Path(source))
    path = Path(source)
    if source and path.is_dir():
        from edged.camera.folder import FolderSource

        return FolderSource(path, loop)
    if path.is_file():
        return _open_clip(path, loop)
    raise CameraError(f"no such file, folder or kind of source; use {KINDS_OF_SOURCE}")


def _open_clip(path: Path, loop: bool) -> Source:
    from edged.camera.opencv import ClipSource

    return ClipSource(path, loop)


def _existing(text: str) -> Path:
    """Return the path after `file://` or `dir://`, absolute or relative; %20 and the like only where needed."""
    path = Path(text)
    return path if path.exists() else Path(unquote(text))
