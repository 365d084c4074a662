"""A detector on both real TFLite runtimes: what it finds, and which of a file's outputs is which."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from edged.errors import ModelError
from edged.regions import overlap
from edged.vision.detector import Detector, tflite_runtime
from edged.vision.detector_file import Normalization, read_detector_file
from edged.vision.flatbuffer import pack, schema, unpack
from tests.daemon.running import PHOTOS
from tests.detectors import MOST, ROLES, SIZE, TF1, TF2, Kind, make, wall

RUNTIMES = ("litert", "tflite_runtime")
PLACES = ((40, 30), (220, 90))
TRUTH = [(left / 320, top / 180, 64 / 320, 64 / 180) for left, top in PLACES]
NAMED = tuple((role, f"detection_{role}") for role in ("scores", "boxes", "count", "classes"))


def picture() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return wall(*[(PHOTOS / name, *place) for name, place in zip(("cat.jpg", "coffee.jpg"), PLACES, strict=True)])


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    "kind",
    [
        Kind(),
        Kind(quantized=False, outputs=TF2),
        Kind(quantized=False, signed=True),
        Kind(outputs=NAMED, direct=False, coarse=True),
    ],
    ids=["tf1", "tf2", "signed", "coarse"],
)
def test_both_things_are_found_and_nothing_else(runtime: str, kind: Kind) -> None:
    detector = Detector(make(kind), runtime=runtime)
    assert (detector.runtime, detector.width, detector.height, detector.most) == (runtime, SIZE, SIZE, MOST)
    found = detector.detect(picture(), 0.5)
    assert [score for score, _ in found] == sorted((score for score, _ in found), reverse=True)
    assert len(found) == 2
    for place in TRUTH:
        assert max(overlap(place, box) for _, box in found) > 0.6
    assert detector.invoke_ms > 0
    assert detector.is_finite()
    assert detector.detect(picture(), 1.0) == []
    assert len(detector.detect(picture(), 0.0)) > 2


def test_where_something_is_does_not_depend_on_the_size_of_the_frame() -> None:
    detector = Detector(make())
    first, second = (
        detector.detect(image, 0.5) for image in (picture(), picture().repeat(3, axis=0).repeat(2, axis=1))
    )
    assert len(first) == len(second) == 2
    for (_, box), (_, other) in zip(first, second, strict=True):
        assert overlap(box, other) > 0.9


def test_boxes_end_at_the_edge_of_the_frame() -> None:
    found = Detector(make(Kind(quantized=False, enlarged=3.0))).detect(picture(), 0.5)
    assert found
    for _, (x, y, width, height) in found:
        assert min(x, y, 1 - x - width, 1 - y - height) >= -1e-9
    assert any(x == 0 and width < 0.2 * 3 for _, (x, _, width, _) in found), "the cat's reaches beyond the left edge"
    assert Detector(make(Kind(quantized=False, enlarged=1e-3))).detect(picture(), 0.0) == [], "smaller than a pixel"


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("kind", [Kind(quantized=False, finite=False), Kind(quantized=False, enlarged=1e300)])
def test_values_that_are_not_finite_are_no_boxes(runtime: str, kind: Kind) -> None:
    detector = Detector(make(kind), runtime=runtime)
    assert detector.detect(picture(), 0.0) == []
    assert not detector.is_finite()


def test_pixels_are_normalised_as_the_metadata_say() -> None:
    told = Kind(quantized=False, normalization=((0.0,), (255.0,)))
    model = make(told)
    assert read_detector_file(model).normalization == Normalization((0.0,), (255.0,))
    assert read_detector_file(make(replace(told, normalization=None))).normalization == Normalization(
        (127.5,), (127.5,)
    )
    scores = [Detector(each).detect(picture(), 0.0)[0].score for each in (model, make(Kind(quantized=False)))]
    assert scores[0] < scores[1], "half the contrast"
    with pytest.raises(ModelError, match=r"its metadata says mean \[1.0\] and std \[0.0\]"):
        read_detector_file(make(Kind(quantized=False, normalization=((1.0,), (0.0,)))))


@pytest.mark.parametrize("outputs", [TF1, TF2, tuple((role, f"Identity_{at}") for at, (role, _) in enumerate(TF2))])
def test_the_operator_tells_which_output_is_which(outputs: tuple[tuple[str, str], ...]) -> None:
    assert read_detector_file(make(Kind(outputs=outputs))).outputs == tuple(role for role, _ in outputs)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_else_names_do_in_any_order(order: tuple[int, ...]) -> None:
    outputs = tuple(NAMED[at] for at in order)
    assert read_detector_file(make(Kind(outputs=outputs, direct=False))).outputs == tuple(role for role, _ in outputs)


@pytest.mark.parametrize(
    ("classes", "scores"),
    [("x", "scores"), ("category", "x"), ("classes", "class_scores"), ("x", "confidence"), ("label", "probability")],
)
def test_one_name_is_enough(classes: str, scores: str) -> None:
    names = {"boxes": "a", "count": "b", "classes": classes, "scores": scores}
    outputs = tuple((role, names[role]) for role in ROLES)
    assert read_detector_file(make(Kind(outputs=outputs, direct=False))).outputs == ROLES


def test_a_signature_names_them_too() -> None:
    model = unpack(make(Kind(outputs=tuple((role, f"Identity_{role[0]}") for role in ROLES), direct=False)))
    with pytest.raises(ModelError, match=r"it cannot be told which of its outputs are .*Identity_s \[1, 10\]"):
        read_detector_file(pack(model))
    signature = schema().SignatureDefT()
    signature.outputs = []
    for role, index in zip(ROLES, model.subgraphs[0].outputs, strict=True):
        named = schema().TensorMapT()
        named.name, named.tensorIndex = f"detection_{role}".encode(), int(index)
        signature.outputs.append(named)
    model.signatureDefs = [signature]
    assert read_detector_file(pack(model)).outputs == ROLES


@pytest.mark.parametrize("names", [("a", "b"), ("scores", "scores_2"), ("classes", "classes_2"), ("class score", "b")])
def test_where_it_cannot_be_told_the_file_is_refused_in_one_line(names: tuple[str, str]) -> None:
    outputs = (("boxes", "boxes"), ("classes", names[0]), ("scores", names[1]), ("count", "count"))
    with pytest.raises(ModelError, match="it cannot be told which of its outputs") as caught:
        read_detector_file(make(Kind(outputs=outputs, direct=False)))
    assert "\n" not in str(caught.value)


def test_what_is_no_detector_is_refused() -> None:
    with pytest.raises(ModelError, match="truncated or damaged"):
        Detector(make()[:4000])
    with pytest.raises(ModelError, match="no TFL3 mark"):
        Detector(b"no model at all, but long enough")
    with pytest.raises(ModelError, match="compiled for an Edge TPU"):
        Detector(make() + b"edgetpu-custom-op")
    model = unpack(make())
    model.subgraphs[0].outputs = model.subgraphs[0].outputs[:3]
    with pytest.raises(ModelError, match=r"has 3 output\(s\); a detector has four: boxes, classes, scores, count"):
        Detector(pack(model))
    model = unpack(make())
    model.subgraphs[0].tensors[0].shape = [1, SIZE, SIZE * 3, 1]
    with pytest.raises(ModelError):
        Detector(pack(model))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_invocation_that_fails_is_told(runtime: str) -> None:
    detector = Detector(make(Kind(options=(("nms_iou_threshold", 2.0),))), runtime=runtime)
    with pytest.raises(ModelError, match="invocation failed"):
        detector.detect(picture(), 0.5)


def test_onnx_runtime_leaves_detectors_to_another() -> None:
    assert [tflite_runtime(name) for name in ("auto", "litert", "onnx", "onnx:cuda")] == [
        "auto",
        "litert",
        "auto",
        "auto",
    ]
    assert math.isfinite(Detector(make(), runtime="onnx:cpu").detect(picture(), 0.5)[0].score)
