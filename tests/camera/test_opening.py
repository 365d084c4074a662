import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from edged.camera import open_source
from edged.camera.folder import FolderSource
from edged.camera.opencv import ClipSource
from edged.camera.opening import public_source
from edged.demo import PHOTOS
from edged.errors import CameraError
from edged.settings import CameraSettings
from tests.clips import Clip
from tests.conftest import MADE_AND_REAL, SHARED_DATA


def opened(source: str, **settings: object) -> object:
    return open_source("main", CameraSettings.model_validate({"source": source, **settings}))


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("http://example.invalid/x", "unknown scheme 'http://'; use a V4L2 index such as 0"),
        ("file:///no/such/clip.mp4", "/no/such/clip.mp4 does not exist"),
        ("dir:///no/such/folder", "/no/such/folder does not exist"),
        ("no-such-thing", "no such file, folder or kind of source; use a V4L2 index"),
        ("", "no such file, folder or kind of source"),
        ("x" * 300, "File name too long"),
        ("999", r"/dev/video999 does not exist \(video devices here: .*\); is the camera plugged in"),
        ("/dev/video998", "/dev/video998 does not exist"),
        ("/dev/shm", "/dev/shm is not a video device"),
        ("/dev/null", "/dev/null cannot be opened as a camera"),
        ("csi://front", "'front' is not a sensor number"),
        ("csi://0?colour=1", "colour='1' is not allowed; use whole numbers for width, height, fps"),
        ("gst:", "the pipeline is empty"),
        ("gst:videotestsrc name='x", "cannot be split into words"),
    ],
)
def test_every_complaint_names_camera_and_source(source: str, complaint: str) -> None:
    with pytest.raises(CameraError, match=complaint) as caught:
        opened(source)
    assert str(caught.value).startswith(f"camera 'main': source {source!r}: ")
    assert "\n" not in str(caught.value)


def test_device_without_permission_names_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root, who runs this in a container, may open everything
    with pytest.raises(CameraError, match="no permission for /dev/null; add this user to the group 'video'"):
        opened("/dev/null")


def test_password_of_a_url_is_not_told() -> None:
    assert public_source("rtsp://me:secret@host:554/x") == "rtsp://me:***@host:554/x"
    assert public_source("gst:rtspsrc location=rtsp://me:se@cret@host/x ! decodebin").count("cret") == 0
    assert public_source("rtsp://host/x") == "rtsp://host/x"


def test_clip_by_url_relative_url_and_bare_path(clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my clips").mkdir()
    (tmp_path / "my clips" / "car.mp4").symlink_to(clip.path)
    monkeypatch.chdir(tmp_path)
    for source in (f"file://{clip.path}", "file://my clips/car.mp4", "file://my%20clips/car.mp4", "my clips/car.mp4"):
        video = opened(source)
        assert isinstance(video, ClipSource)
        image = video.read()
        video.close()
        video.close()
        assert image is not None
        assert image.shape == (clip.height, clip.width, 3)


def test_clip_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video at all\n" * 100)
    for name in ("empty.mp4", "text.mp4"):
        with pytest.raises(CameraError, match=f"{name} is not a video that FFmpeg can read"):
            opened(f"file://{tmp_path / name}")
    with pytest.raises(CameraError, match="is a folder; write dir://"):
        opened(f"file://{tmp_path}")


def test_colours_of_a_clip_are_rgb(tmp_path: Path) -> None:
    path = tmp_path / "red.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(3):
        writer.write(np.full((48, 64, 3), (0, 0, 255), np.uint8))  # BGR
    writer.release()
    video = ClipSource(path, loop=False)
    image = video.read()
    assert image is not None
    red, green, blue = image.reshape(-1, 3).mean(axis=0)
    assert red > 230
    assert max(green, blue) < 25
    assert video.read() is not None
    assert video.read() is not None
    assert video.read() is None
    video.close()


def test_clip_loops_with_the_same_frames(tmp_path: Path) -> None:
    path = tmp_path / "steps.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for step in range(4):
        writer.write(np.full((48, 64, 3), step * 60, np.uint8))
    writer.release()
    video = ClipSource(path, loop=True)
    means = [round(float(image.mean()) / 60) for _ in range(9) if (image := video.read()) is not None]
    video.close()
    assert means == [0, 1, 2, 3, 0, 1, 2, 3, 0]


def test_pattern_moves_and_repeats_itself() -> None:
    first, second = opened("pattern"), opened("pattern")
    frames = [first.read() for _ in range(3)]  # type: ignore[attr-defined]
    assert frames[0].shape == (480, 640, 3)
    assert not np.array_equal(frames[0], frames[1])
    for frame in frames:
        np.testing.assert_array_equal(frame, second.read())  # type: ignore[attr-defined]


def test_folder_by_name_and_unreadable_photos_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number, name in enumerate(["b.png", "a.jpg", "c.bmp"]):
        cv2.imwrite(str(tmp_path / name), np.full((10 + number, 12, 3), 50 * number, np.uint8))
    (tmp_path / "aa.jpg").touch()
    (tmp_path / "ab.png").write_text("nonsense")
    (tmp_path / "notes.txt").write_text("not a photo")
    (tmp_path / "d.jpg").mkdir()
    folder = FolderSource(tmp_path, loop=True)
    heights = [image.shape[0] for _ in range(7) if (image := folder.read()) is not None]
    assert heights == [11, 10, 12, 11, 10, 12, 11]
    complaints = [record.message for record in caplog.records]
    assert len(complaints) == 2
    assert "aa.jpg: the file is empty" in complaints[0]
    assert "ab.png: not an image" in complaints[1]


@pytest.mark.parametrize("kind", MADE_AND_REAL)
def test_folder_that_does_not_loop(kind: str) -> None:
    photos = PHOTOS if kind == "made" else SHARED_DATA / "photos"
    folder = opened(f"dir://{photos}", loop=False)
    assert isinstance(folder, FolderSource)
    count = 0
    while (image := folder.read()) is not None:
        assert image.ndim == 3
        count += 1
    assert count == len([path for path in photos.iterdir() if path.suffix in {".jpg", ".bmp"}]) > 1


def test_folder_without_photos(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="holds no photo"):
        opened(f"dir://{tmp_path}")
    (tmp_path / "bad.jpg").touch()
    folder = FolderSource(tmp_path, loop=True)
    with pytest.raises(CameraError, match=r"no photo in the folder .* can be read"):
        folder.read()
