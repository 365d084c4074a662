"""What of the contract fits into the limits of hosted brokers: as they are documented, see tools/reports/brokers.md.

Nobody here has tried these brokers. What edged sends is computed from its own code, with the longest names that it
allows.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

import pytest

from edged.contract import messages as m
from edged.contract.commands import COMMANDS
from edged.contract.labels import MAX_BYTES
from edged.contract.reports import TrainingReport
from edged.ctl import client, connect, each, fleet
from edged.ctl.upload import Upload
from edged.learning import report
from edged.mqtt import connection
from edged.settings import MqttSettings
from tests.conftest import REPOSITORY

LEVEL = "a" * 64
"""The longest prefix, device, camera or command id (`contract.topics`, `contract.commands`)."""
PAGE = (REPOSITORY / "tools" / "reports" / "brokers.md").read_text(encoding="utf-8")
PICTURES = {"image", "models_chunk", "models_add"}
"""Commands that carry files or a model's report. Nothing else is larger than any broker takes."""


@dataclass(frozen=True)
class Limits:
    """Of one broker; bytes and seconds. Where nothing was read of a limit it is as strict as with the other broker."""

    topic: int
    slashes: int
    payload: int
    retained: int
    keepalive: tuple[int, int]
    client_id: int = 128
    unacknowledged: int = 100
    filters: int = 8
    subscriptions: int = 50


BROKERS = {
    "AWS IoT Core": Limits(topic=256, slashes=7, payload=131_072, retained=131_072, keepalive=(30, 1200)),
    "Azure Event Grid": Limits(topic=256, slashes=7, payload=524_288, retained=65_536, keepalive=(1, 1160)),
}


@pytest.fixture(params=BROKERS)
def limits(request: pytest.FixtureRequest) -> Limits:
    return BROKERS[request.param]


def topics() -> list[str]:
    """Every topic of README's table, with the longest names."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8").partition("## Topics")[2].partition("\n**")[0]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    found = [name for row in rows for name in re.findall(r"`([a-z/<>]+)`", row)]
    assert {"state", "result/<camera>", "cmd/<name>", "image/<id>"} <= set(found)
    names = {"<camera>": LEVEL, "<id>": LEVEL, "<name>": max(COMMANDS, key=len), "edged/all": f"{LEVEL}/{LEVEL}"}
    for short, long in names.items():
        found = [name.replace(short, long) for name in found]
    return [name if name.startswith(LEVEL) else f"{LEVEL}/{LEVEL}/{name}" for name in found]


def test_topics_and_client_ids_fit(limits: Limits) -> None:
    for topic in topics():
        assert len(topic.encode()) <= limits.topic, topic
        assert topic.count("/") <= limits.slashes, topic
    assert len(f"edged-{LEVEL}") <= limits.client_id
    assert MqttSettings(prefix=LEVEL).prefix == LEVEL
    with pytest.raises(ValueError, match="1 to 64"):
        MqttSettings(prefix=f"{LEVEL}a")


def test_a_connection_keeps_to_what_is_allowed(limits: Limits) -> None:
    least, most = limits.keepalive
    for keepalive_s in (connection.KEEPALIVE_S, connect.KEEPALIVE_S):
        assert least <= keepalive_s <= most
    assert limits.unacknowledged >= connection.WINDOW
    assert limits.filters >= client._FILTERS_AT_ONCE
    assert len(fleet._TOPICS) * fleet._EXACT + 2 <= limits.subscriptions, "edgectl status of devices that are named"
    # Known not to fit, and said so: commands to many devices at a time have four subscriptions for each.
    assert limits.subscriptions < 4 * each.AT_A_TIME
    assert "at a time" in PAGE


def test_which_messages_can_be_too_large_is_known_and_said(limits: Limits) -> None:
    assert {name for name, args in COMMANDS.items() if args.max_bytes > limits.payload} == PICTURES
    for name in PICTURES:
        assert f"`{name}`" in PAGE, f"tools/reports/brokers.md does not name {name}"
    assert limits.payload >= 16_384, "the least that mqtt.max_bytes may be"


def test_what_is_kept_fits_with_a_thousand_labels(limits: Limits) -> None:
    labels = (REPOSITORY / "configs" / "imagenet_labels.txt").read_text(encoding="utf-8").splitlines()
    assert len(labels) >= 1000
    model = m.ModelInfo(id="0" * 12, name=LEVEL, backbone=LEVEL, labels=labels, accuracy=0.8, previous="0" * 12)
    cameras = {f"{LEVEL}{n}": m.CameraInfo(source="x" * 200, state="degraded", error="x" * 200) for n in range(8)}
    info = m.Info(
        device=LEVEL, state="degraded", versions={"x" * 20: "x" * 20}, cameras=cameras, runtime="x" * 100,
        sensors="x" * 100, commands=list(COMMANDS), degraded=["x" * 300] * 10,
    )  # fmt: skip
    for message in (model, info):
        assert len(message.encode()) <= limits.retained


def test_a_result_fits_with_as_many_labels_as_may_be_listed(limits: Limits) -> None:
    latency = m.ResultLatency(capture=1000.123, preprocess=1000.123, invoke=1000.123, total=1000.123)
    top = [m.Score(label="x" * 64, score=0.123456)] * 1000  # `model.top` is 1000 at most
    result = m.Result(
        seq=10**9, boot="0" * 8, camera=LEVEL, model="0" * 12, label="x" * 64, score=0.5, top=top, latency_ms=latency
    )
    assert len(result.encode()) <= limits.payload


def test_a_list_of_images_fits_as_it_is_asked_for_by_default(limits: Limits) -> None:
    image = {
        "id": "0" * 16, "label": "x" * 40, "split": "train", "width": 1920, "height": 1080, "bytes": 10**6,
        "added": "2026-01-31T12:00:00.000Z", "labeled": "2026-01-31T12:00:00.000Z", "by": "person",
        "reason": "uncertain", "predicted": "x" * 40, "score": 0.1234,
    }  # fmt: skip
    listed = m.Job(id=LEVEL, cmd="images_list", status="succeeded", report={"images": [image] * 100, "unlabeled": 9})
    assert len(listed.encode()) <= limits.payload


def test_the_report_of_a_training_fits_with_as_many_labels_as_its_matrix_has(limits: Limits) -> None:
    labels = [f"{n:02}" + "x" * 98 for n in range(report.MOST_LABELS)]
    assert len(labels[0]) == MAX_BYTES
    share, loss = 0.1234, 12.3456
    images = [{"id": "0" * 16, "file": "x" * 64, "label": labels[0]}] * report.WORST
    epochs = report.MOST_EPOCHS + 1
    told = TrainingReport.model_validate(
        {
            "run": LEVEL,
            "hyperparameters": {f"{'x' * 20}{n}": share for n in range(12)},
            "backbone": LEVEL,
            "counts": dict.fromkeys(labels, 10**6),
            "training": {
                "epochs": 10**4, "best_epoch": 10**4, "loss": loss, "validation_loss": loss,
                "history": {"epoch": [10**4] * epochs}
                | dict.fromkeys(
                    ("loss", "accuracy", "validation_loss", "validation_accuracy"), [loss / 100] * epochs
                ),
            },
            "classes": {name: {"images": 10**5, "precision": share, "recall": share} for name in labels},
            "confused": [{"label": labels[0], "predicted": labels[1], "count": 10**5}] * report.MOST_CONFUSED,
            "confusion": {"labels": labels, "counts": [[10**5] * len(labels)] * len(labels)},
            "worst": [{**one, "predicted": labels[1], "score": share} for one in images],
            "doubtful": {
                "images": [
                    {"id": "0" * 16, "file": "x" * 64, "label": labels[0], "looks_like": labels[1], "confidence": share,
                     "near": [{"id": "0" * 16, "label": labels[1]}] * 3}
                ] * report.MOST_DOUBTFUL
            },
            "learning_curve": {
                "points": [{"images": 10**6, "accuracy": share}] * 4,
                "classes": {name: {"recall": [share] * 4, "gain_per_100": share} for name in labels},
            },
        }
    )  # fmt: skip
    job = m.Job(id=LEVEL, cmd="retrain", status="succeeded", progress=1, report=told.to_json())
    assert len(job.encode()) <= min(limits.payload, limits.retained)


class Told:
    """A client that was given `--max-bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes


def test_a_part_of_a_file_fits_where_the_limit_is_given(limits: Limits) -> None:
    part_bytes = Upload(Told(limits.payload), LEVEL, b"", "a file").part_bytes  # type: ignore[arg-type]  # all it reads
    part = {"sha256": "0" * 64, "size": 2**29, "offset": 2**29, "data": base64.b64encode(bytes(part_bytes)).decode()}
    assert len(client.command_json("0" * 32, part, 600)) <= limits.payload
