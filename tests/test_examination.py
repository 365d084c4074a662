"""Opening a model in a child process: what harms that process is told in one line, and harms nobody else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edged.errors import ModelError
from edged.zoo import examination, examiner
from edged.zoo.examination import ExaminationRequest, examine
from tests.crafted import CRAFTED, hungry, shipped_model, unpooled
from tests.networks import SHIPPED


def test_a_sound_model_is_described() -> None:
    seen = examine(SHIPPED / "model.tflite")
    assert (seen.width, seen.height, seen.classes, seen.features) == (224, 224, 1000, 1280)
    assert seen.outputs == ("scores", "bottleneck")
    assert seen.invoke_ms > 0
    assert examine(shipped_model(), outputs=("scores", "bottleneck")).outputs == ("scores", "bottleneck")


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_model_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        examine(CRAFTED[name]())
    assert "\n" not in str(caught.value)


def test_scores_without_a_label_are_refused() -> None:
    """The daemon looked for the best one's label, and ended."""
    with pytest.raises(ModelError, match="gives 49000 scores of 1000 classes and a bottleneck of 62720"):
        examine(unpooled())


def test_how_the_process_ended_is_told() -> None:
    with pytest.raises(
        ModelError, match=r"ends the process that runs it: the examination was killed by signal \d+ \(SIG"
    ):
        examine(CRAFTED["negative scale"]())


def test_memory_is_limited_while_images_are_classified() -> None:
    bright = np.full((224, 224, 3), 255, np.uint8)
    with pytest.raises(ModelError, match=r"FILL|memory"):
        examine(hungry(10**12), frames=[bright], count=3)


def test_memory_that_is_there_may_be_taken() -> None:
    assert examine(hungry(20_000_000)).classes == 1000


def test_given_frames_are_classified(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, so that what the child does can be seen."""
    seen: list[tuple[int, ...]] = []
    classify = examiner._classify

    def watched(network: object, image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> float:
        seen.append((*image.shape, int(image[0, 0, 0])))
        return classify(network, image)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(examiner, "_classify", watched)
    monkeypatch.setattr(examiner.process, "limit_memory", lambda _: None)
    monkeypatch.setattr(examiner.process, "keep_frame_memory", lambda: None)
    frames = []
    for number in (1, 2):
        pixels = np.full((4, 5, 3), number, np.uint8)
        frames.append((4, 5, examination.base64.b64encode(pixels.tobytes()).decode()))
    request = ExaminationRequest(str(SHIPPED / "model.tflite"), "auto", 1, 0.875, None, frames, 6, 10**9)
    examiner.examine(request, lambda _: None)
    assert [image[:2] for image in seen] == [(224, 224), (224, 224), (4, 5), (4, 5), (224, 224), (224, 224)]
    assert [image[3] for image in seen[2:4]] == [1, 2]
    assert seen[0] == seen[4]


@pytest.mark.parametrize(
    ("limit", "text"),
    [("OPEN_S", r"takes [\d.]+ s of a processor core to open"), ("FRAME_S", r"takes [\d.]+ s for one image")],
)
def test_time_is_limited(limit: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examiner, limit, 0.0)
    monkeypatch.setattr(examiner.process, "limit_memory", lambda _: None)
    monkeypatch.setattr(examiner.process, "keep_frame_memory", lambda: None)
    request = ExaminationRequest(str(SHIPPED / "model.tflite"), "auto", 1, 0.875, None, [], 2, 10**9)
    with pytest.raises(ModelError, match=text):
        examiner.examine(request, lambda _: None)


def test_a_child_that_does_not_come_to_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "TIMEOUT_S", 0.01)
    with pytest.raises(ModelError, match=r"has not classified 2 images after 0\.01 s"):
        examine(shipped_model())


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        examine(tmp_path / "none.tflite")


def test_nothing_is_left_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    examine(shipped_model())
    with pytest.raises(ModelError):
        examine(b"no model at all")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
