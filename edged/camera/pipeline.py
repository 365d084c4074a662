"""GStreamer's command lines and memory layout. Pure."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from edged.errors import CameraError

if TYPE_CHECKING:
    from edged.types import Image

_CSI_DEFAULTS = {"width": 1280, "height": 720, "fps": 30}


def split_pipeline(pipeline: str) -> list[str]:
    """Split a pipeline into arguments as a shell would; no shell ever sees it.

    Raises:
        CameraError: Empty, or a quotation mark without its pair.
    """
    try:
        words = shlex.split(pipeline)
    except ValueError as error:
        raise CameraError(f"the pipeline cannot be split into words: {error}") from error
    if not words:
        raise CameraError("the pipeline is empty; write e.g. gst:videotestsrc is-live=true")
    return words


def csi_pipeline(rest: str) -> list[str]:
    """Return the pipeline of a Jetson's CSI camera.

    Args:
        rest: What follows `csi://`: a sensor number, and `?width=1280&height=720&fps=30` where wanted.

    Raises:
        CameraError: No number, an unknown key, or a value that is not a positive whole number.
    """
    sensor, _, query = rest.partition("?")
    sensor = sensor.strip("/") or "0"
    if not sensor.isdecimal():
        raise CameraError(f"{sensor!r} is not a sensor number; use csi://0, csi://1, …")
    mode = dict(_CSI_DEFAULTS)
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in mode or not value.isdecimal() or int(value) < 1:
            raise CameraError(f"{key}={value!r} is not allowed; use whole numbers for {', '.join(mode)}")
        mode[key] = int(value)
    # The Argus source delivers NVMM memory, which only nvvidconv reads; BGRx is its nearest to RGB.
    return shlex.split(
        f"nvarguscamerasrc sensor-id={int(sensor)}"
        f" ! video/x-raw(memory:NVMM),width={mode['width']},height={mode['height']},framerate={mode['fps']}/1"
        " ! nvvidconv ! video/x-raw,format=BGRx"
    )


def unpad(rows: Image, width: int) -> Image:
    """Cut off the padding of GStreamer's rows.

    Args:
        rows: (height, stride) uint8, as `row_stride` says.
        width: Pixels of a row.

    Returns:
        A view of `rows`, RGB (height, width, 3) uint8.
    """
    return rows[:, : width * 3].reshape(rows.shape[0], width, 3)


def row_stride(width: int) -> int:
    """Bytes of one row of raw RGB in GStreamer: three a pixel, rounded up to a multiple of four.

    Source: GStreamer, "Raw Video Media Types", section on strides.
    """
    return (width * 3 + 3) // 4 * 4
