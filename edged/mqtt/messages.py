"""The wire contract, version 1. Receivers ignore unknown fields; commands forbid them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field


def timestamp(seconds: float | None = None) -> str:
    """Format seconds since the epoch (None: now) as RFC 3339, UTC, milliseconds: 2026-01-31T12:00:00.000Z."""
    moment = datetime.now(timezone.utc) if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Message(BaseModel):
    """What every message carries."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    v: Literal[1] = 1
    ts: str = Field(default_factory=timestamp)

    def encode(self) -> bytes:
        """Return UTF-8 JSON; fields that are None are left out (a value that cannot be read is absent)."""
        return self.model_dump_json(exclude_none=True).encode()


class Score(BaseModel):
    """A label and its probability, 0..1."""

    label: str
    score: float


class ResultLatency(BaseModel):
    """Milliseconds of one frame's way: read and decode, resize, network, and capture to hand-over to the broker."""

    capture: float
    preprocess: float
    invoke: float
    total: float


class Result(Message):
    """`result/<camera>`, QoS 1: one classified frame."""

    seq: int
    camera: str
    model: str
    label: str
    score: float
    top: list[Score]
    latency_ms: ResultLatency
    network: str | None = None
    """Name of the network that answered, where several take turns (`[selection]`)."""


class Latency(BaseModel):
    """Quantiles of `latency_ms.total` since the last telemetry message."""

    p50: float
    p95: float
    p99: float
    max: float


class Telemetry(Message):
    """`telemetry`, QoS 0."""

    power_mw: dict[str, int] | None = None
    temp_c: dict[str, float] | None = None
    load: dict[str, float] | None = None
    clock_mhz: dict[str, int] | None = None
    throttled: bool | None = None
    latency_ms: Latency | None = None
    fps: float
    frames: int
    dropped: int
    outbox: int
    selection: dict[str, Any] | None = None


class CameraInfo(BaseModel):
    """State of one camera on `info`."""

    source: str
    state: Literal["starting", "running", "degraded", "ended"]
    error: str | None = None
    width: int | None = None
    height: int | None = None


class Info(Message):
    """`info`, QoS 1, retained."""

    device: str
    state: Literal["running", "degraded"]
    versions: dict[str, str]
    cameras: dict[str, CameraInfo]
    runtime: str
    sensors: str
    commands: list[str]
    degraded: list[str] | None = None
    """What does not work as it should, a line each: "camera door: no frame for 5 s", "storage: …"."""


class ModelInfo(Message):
    """`model`, QoS 1, retained: the bundle that answers now."""

    id: str
    name: str
    backbone: str
    labels: list[str]
    accuracy: float | None = None
    previous: str | None = None


class Ack(Message):
    """`ack/<id>`, QoS 1."""

    id: str
    status: Literal["accepted", "rejected"]
    error: str | None = None


JobStatus = Literal["queued", "running", "succeeded", "rejected", "failed", "cancelled"]


class Job(Message):
    """`job/<id>`, QoS 1, and the newest one retained on `job`."""

    id: str
    cmd: str
    status: JobStatus
    stage: str | None = None
    progress: float = Field(default=0.0, ge=0, le=1)
    report: dict[str, Any] | None = None
    error: str | None = None


class CommandMessage(BaseModel):
    """`cmd/<name>`, QoS 1, never retained. `ts` and `expires` are RFC 3339."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    v: Literal[1] = 1
    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    ts: datetime | None = None
    expires: datetime | None = None
    args: dict[str, Any] = Field(default_factory=dict)


class Args(BaseModel):
    """Base of every command's arguments.

    Attributes:
        at_once: The command is done when its ack says accepted, and has no job. Such a command may run again after a
            crash: its effect must be the same.
        lasting: The job takes a while, and its newest state stands on the retained topic `job`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_once: ClassVar[bool] = False
    lasting: ClassVar[bool] = False


class StatusArgs(Args):
    """`cmd/status`: publish info, model and telemetry now. The job's report repeats them."""


class SnapshotArgs(Args):
    """`cmd/snapshot`: the newest frame as JPEG on `image/<id>`; its prediction in the job's report."""

    camera: str | None = None
    quality: int = Field(default=90, ge=1, le=100)


class SetArgs(Args):
    """`cmd/set`: change a running daemon until it restarts."""

    camera: str | None = None
    fps: float | None = Field(default=None, ge=0, le=1000)
    top: int | None = Field(default=None, ge=1, le=1000)


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ImageId = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{1,64}$")]
"""The first digits of an image's sha256: as many as are needed to tell it from the others; lists show 16."""


class ImageArgs(Args):
    """`cmd/image`: keep a labeled image to train on. Done, and on disk, when the ack says accepted; there is no job.

    `jpeg` is the content of a JPEG, PNG, BMP or WebP file in base64, at most 8 MiB before it; it may be left out for an
    image that the device has (`images_have`), which then gets the label.
    """

    at_once: ClassVar[bool] = True

    label: str
    sha256: Sha256
    jpeg: str | None = None


class ImagesHaveArgs(Args):
    """`cmd/images_have`: which of these images the device has.

    The job's report: `labels`, one per sha256: null: not there; "": there without a label.
    """

    shas: list[Sha256] = Field(min_length=1, max_length=900)


class ImagesListArgs(Args):
    """`cmd/images_list`: newest first, of one label, the unlabeled, or all.

    The job's report: `images` [{id, label, split, width, height, bytes, added, labeled, by, reason, predicted, score}],
    `counts` {label: n} and `unlabeled`, a number; and `skipped` [{file, reason}], files that cannot be trained on.
    """

    label: str | None = None
    unlabeled: bool = False
    limit: int = Field(default=100, ge=0, le=500)


class ImagesGetArgs(Args):
    """`cmd/images_get`: the file on `image/<id of the command>`; what is known of it in the job's report."""

    id: ImageId


class ImagesLabelArgs(Args):
    """`cmd/images_label`: label an image, or with `last` what the camera sees now; the image is the job's report."""

    id: ImageId | None = None
    last: bool = False
    label: str
    camera: str | None = None


class ImagesUnlabelArgs(Args):
    """`cmd/images_unlabel`: take a label away; the image stays, but no longer for ever."""

    id: ImageId


class ImagesRemoveArgs(Args):
    """`cmd/images_remove`: delete an image."""

    id: ImageId


class RetrainArgs(Args):
    """`cmd/retrain`: train a new final layer on the labeled images and let it answer if it is good enough.

    What is left out has the default of the device's `[retrain]`. The job's stages: scan, bottlenecks, training, export,
    evaluation, learning curve, writing, swap; while it runs its report holds numbers of the stage (`done` and `of`, or
    `epoch`, `loss`, `accuracy`), at the end the whole report.
    """

    lasting: ClassVar[bool] = True

    lr: float | None = Field(default=None, gt=0, le=100, allow_inf_nan=False)
    epochs: int | None = Field(default=None, ge=1, le=10000)
    batch: int | None = Field(default=None, ge=1, le=4096)
    backbone: str | None = Field(default=None, min_length=1, max_length=64)
    seed: int | None = Field(default=None, ge=0, le=2**63 - 1)
    augment: bool | None = None
    min_accuracy: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)


JobId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""A job's id, or the first characters of it: as many as are needed to tell it from the others."""


class CancelArgs(Args):
    """`cmd/cancel`: end a training or a profile; without `job` the one that runs. Report: `job` and `cmd`."""

    job: JobId | None = None


class JobsArgs(Args):
    """`cmd/jobs`: the last jobs that took a while, newest first, without their reports; with `job` that one, with it.

    Report: `jobs` [Job].
    """

    job: JobId | None = None
    limit: int = Field(default=20, ge=1, le=200)


class RollbackArgs(Args):
    """`cmd/rollback`: let the version before the current one answer again."""


class ModelsListArgs(Args):
    """`cmd/models_list`: what is installed and which versions there are.

    Report: `models` [{name, id, backbone, classes, accuracy, kind, current, previous}]; kind: installed or version.
    """


class ModelsUseArgs(Args):
    """`cmd/models_use`: let an installed model, by name, or a version, by id, answer from now on."""

    model: str = Field(min_length=1, max_length=64)


class ModelsRemoveArgs(Args):
    """`cmd/models_remove`: delete an installed model, by name, or a trained version, by the first digits of its id.

    Never what runs or came with edged; the version that a rollback would take only with `previous`.
    Report: `removed` (name or id), `kind` (installed or version) and `bytes`.
    """

    model: str = Field(min_length=1, max_length=64)
    previous: bool = False


class ModelsChunkArgs(Args):
    """`cmd/models_chunk`: a part of a model's file, in base64; on disk when the ack says accepted. Any order."""

    at_once: ClassVar[bool] = True

    sha256: Sha256
    size: int = Field(ge=1, le=512 * 2**20)
    offset: int = Field(ge=0)
    data: str


class ModelsAddArgs(Args):
    """`cmd/models_add`: install the model whose parts were sent, after it has classified one image.

    `manifest`: what its bundle's `manifest.json` says, where it has one; backbone, parent, training and the like are
    kept. `replace`: take the place of an installed model of this name.
    """

    sha256: Sha256
    name: str = Field(min_length=1, max_length=64)
    labels: list[str] = Field(min_length=1)
    crop: float = Field(default=0.875, gt=0, le=1)
    source: str | None = Field(default=None, max_length=1000)
    licence: str | None = Field(default=None, max_length=1000)
    manifest: dict[str, Any] | None = None
    replace: bool = False


ProfilePart = Literal["layers", "end_to_end", "online", "batch", "threads", "runtimes", "gpu"]


class ProfileArgs(Args):
    """`cmd/profile`: time a model on the device, beside its live classification and behind it in priority.

    The job's report at the end: `layers` [{name, op, ms, share, macs, params, input_shape, output_shape, slowest}] and
    `layers_sum`, `end_to_end`, `online` {images: {total_ms, mean_ms, p50_ms, p95_ms, p99_ms}}, `batch` {size:
    {images_per_s, peak_mb}}, `threads`, `runtimes`, `gpu`; `only` chooses among these.
    """

    lasting: ClassVar[bool] = True

    model: str | None = Field(default=None, min_length=1, max_length=64)
    only: list[ProfilePart] | None = Field(default=None, min_length=1)
    online: list[Annotated[int, Field(ge=1, le=100_000)]] | None = Field(default=None, min_length=1, max_length=20)
    batches: list[Annotated[int, Field(ge=1, le=100_000)]] | None = Field(default=None, min_length=1, max_length=20)
    batch_images: int | None = Field(default=None, ge=1, le=100_000)
    seconds: float | None = Field(default=None, gt=0, le=600)
    runtime: Literal["auto", "litert", "tflite_runtime", "tensorflow"] | None = None
    threads: int | None = Field(default=None, ge=1, le=64)


COMMANDS: dict[str, type[Args]] = {
    "status": StatusArgs,
    "snapshot": SnapshotArgs,
    "set": SetArgs,
    "image": ImageArgs,
    "images_have": ImagesHaveArgs,
    "images_list": ImagesListArgs,
    "images_get": ImagesGetArgs,
    "images_label": ImagesLabelArgs,
    "images_unlabel": ImagesUnlabelArgs,
    "images_remove": ImagesRemoveArgs,
    "retrain": RetrainArgs,
    "profile": ProfileArgs,
    "cancel": CancelArgs,
    "jobs": JobsArgs,
    "rollback": RollbackArgs,
    "models_list": ModelsListArgs,
    "models_use": ModelsUseArgs,
    "models_remove": ModelsRemoveArgs,
    "models_chunk": ModelsChunkArgs,
    "models_add": ModelsAddArgs,
}
"""Command name → its arguments. Rooms above register theirs here before the link starts."""
