"""The commands: each is declared once, by the class of its arguments, and `COMMANDS` lists them all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveInt, model_validator

from edged.contract.hyperparameters import Hyperparameters
from edged.contract.labels import Label, OutputNames
from edged.contract.signed_bundle import MAX_CHARACTERS

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

MAX_IMAGE_BYTES = 8 * 2**20
"""Of the file of a pushed image."""
MAX_CHUNK_BYTES = 2**20
"""Of the part of a model's file that one command carries."""
_ENVELOPE_BYTES = 4096
"""More than a command needs beside the base64 text in it."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ImageId = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{1,64}$")]
"""The first digits of an image's sha256: as many as are needed to tell it from the others; lists show 16."""
JobId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""A job's id, or the first characters of it: as many as are needed to tell it from the others."""
_Deviation = Annotated[FiniteFloat, Field(gt=0)]
ProfilePart = Literal["layers", "end_to_end", "online", "batch", "threads", "runtimes", "gpu"]


class CommandMessage(BaseModel):
    """`cmd/<name>`, QoS 1, never retained; `replies` tells of a response topic and correlation data (MQTT 5)."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    v: Literal[1] = 1
    """Version of the wire contract."""
    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """The sender's; names `ack/<id>`, `job/<id>` and `image/<id>`. A command with the same id is not run again."""
    ts: datetime | None = None
    """When it was sent, RFC 3339; it expires after a day, where `expires` does not say otherwise."""
    expires: datetime | None = None
    """RFC 3339; from then on it is rejected."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Each command's own."""
    signature: str | None = None
    """The last member, where commands are signed; `contract.signature` tells of what."""


class Args(BaseModel):
    """Base of every command's arguments. A subclass is the declaration of its command: nothing else declares it.

    Attributes:
        command: The command's name, the last level of its topic `cmd/<name>`.
        max_bytes: A longer payload is refused before it is parsed.
        at_once: The command is done when its ack says accepted, and has no job. Such a command may run again after a
            crash: its effect must be the same.
        lasting: The job takes a while, and its newest state stands on the retained topic `job`.
        urgent: It passes commands that wait, whoever sent them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    command: ClassVar[str]
    max_bytes: ClassVar[int] = 64 * 1024
    at_once: ClassVar[bool] = False
    lasting: ClassVar[bool] = False
    urgent: ClassVar[bool] = False


class StatusArgs(Args):
    """`cmd/status`: publish info, model and telemetry now. The job's report repeats them."""

    command = "status"
    urgent = True


class TelemetryArgs(Args):
    """`cmd/telemetry`: publish the newest telemetry now; done when the ack says accepted, there is no job.

    For a look at a large fleet: info and model stand at the broker, and this is one message and an ack, not six.
    """

    command = "telemetry"
    at_once = True
    urgent = True


class SnapshotArgs(Args):
    """`cmd/snapshot`: the newest frame as JPEG on `image/<id>`; its prediction in the job's report."""

    command = "snapshot"

    camera: str | None = None
    quality: int = Field(default=90, ge=1, le=100)


class SetArgs(Args):
    """`cmd/set`: change a running daemon until it restarts."""

    command = "set"

    camera: str | None = None
    fps: float | None = Field(default=None, ge=0, le=1000)
    top: int | None = Field(default=None, ge=1, le=1000)
    lr: float | None = Field(default=None, gt=0, le=100, allow_inf_nan=False)
    """Learning rate of every `retrain` that names none."""


class ImageArgs(Args):
    """`cmd/image`: keep a labeled image to train on. Done, and on disk, when the ack says accepted; there is no job.

    `jpeg` is the content of a JPEG, PNG, BMP or WebP file in base64, at most 8 MiB before it; it may be left out for an
    image that the device has (`images_have`), which then gets the label.
    """

    command = "image"
    at_once = True
    max_bytes = MAX_IMAGE_BYTES * 4 // 3 + _ENVELOPE_BYTES

    label: Label
    sha256: Sha256
    jpeg: str | None = None


class ImagesHaveArgs(Args):
    """`cmd/images_have`: which of these images the device has.

    The job's report: `labels`, one per sha256: null: not there; "": there without a label.
    """

    command = "images_have"

    shas: list[Sha256] = Field(min_length=1, max_length=900)


class ImagesListArgs(Args):
    """`cmd/images_list`: newest first, of one label, the unlabeled, or all.

    The job's report: `images` [{id, label, split, width, height, bytes, added, labeled, by, reason, predicted, score}],
    `counts` {label: n} and `unlabeled`, a number; and `skipped` [{file, reason}], files that cannot be trained on.
    """

    command = "images_list"

    label: Label | None = None
    unlabeled: bool = False
    limit: int = Field(default=100, ge=0, le=500)


class ImagesGetArgs(Args):
    """`cmd/images_get`: the file on `image/<id of the command>`; what is known of it in the job's report."""

    command = "images_get"

    id: ImageId


class ImagesLabelArgs(Args):
    """`cmd/images_label`: label an image, with `last` what the camera sees now, or with `group` all frames of a group.

    Where a camera has `regions`, `last` takes the crop of a region: of `track`, or of the only one that is in view.

    The image is the job's report. Of a group: `group`, `label`, `images` [id], and `skipped`, how many are gone or have
    a label by now. A group has the members that the device named when it last answered `images_groups`.

    `confirmed`: somebody has looked at the image and found the label right, so that `images_doubtful` does not ask
    again; false takes this back; left out: it stays as it is with the same label, and is false with another one.
    """

    command = "images_label"

    id: ImageId | None = None
    last: bool = False
    group: ImageId | None = None
    label: Label
    camera: str | None = None
    track: str | None = None
    confirmed: bool | None = None


class ImagesSuggestArgs(Args):
    """`cmd/images_suggest`: the kept frames whose labels would help most, those that show something unknown first.

    The job's report: `images`, as in `images_list`, each with `why` (stranger, uncertain or typical) and `likely`
    [{label, score}], what the model that answers makes of it now; `unlabeled`, a number; `considered`: how many of
    these have a bottleneck of this model's network, the newest ones; `judging`: how many of these are never suggested,
    because a training would judge by them and not learn from them.
    """

    command = "images_suggest"

    count: int = Field(default=20, ge=1, le=200)


class ImagesGroupsArgs(Args):
    """`cmd/images_groups`: kept frames that show something unknown, in groups of the same kind, the largest first.

    The job's report: `groups` [{id, size, images [id], likely [{label, score}]}], where a group's id is that of its
    most central frame, the first of `images`, and `likely` what the model that answers makes of that one; `all`: how
    many groups there are; `strangers`: how many frames are in them; `unlabeled`: how many frames wait for a label;
    `considered`: how many of these were looked at, as in `images_suggest`.
    """

    command = "images_groups"

    limit: int = Field(default=20, ge=1, le=200)


class ImagesUnlabelArgs(Args):
    """`cmd/images_unlabel`: take a label away; the image stays, but no longer for ever."""

    command = "images_unlabel"

    id: ImageId


class ImagesRemoveArgs(Args):
    """`cmd/images_remove`: delete an image."""

    command = "images_remove"

    id: ImageId


class ImagesDoubtfulArgs(Args):
    """`cmd/images_doubtful`: labels that look wrong, judged by all other images, without a training.

    Bottlenecks that are not there yet are computed first. `limit`: so many, also those that are more likely right;
    left out: those that are more likely wrong. The job's report is a `reports.DoubtfulLabels`.
    """

    command = "images_doubtful"

    limit: int | None = Field(default=None, ge=1, le=500)


class RetrainArgs(Args, Hyperparameters):
    """`cmd/retrain`: train a new final layer on the labeled images and let it answer if it is good enough.

    What is left out, or null, has the default of the device's `[retrain]`; `accept` promotes a model, too, of which
    too few images tell whether it is worse. `within_ms` and `memory_mb` are limits for `backbone` = auto: milliseconds
    a frame, and 10^6 bytes that running the network takes, both measured there. The job's stages: scan, bottlenecks,
    training, comparison, export, evaluation, learning curve, writing, swap; while it runs its report holds numbers of
    the stage (`done` and `of`, or `epoch`, `loss`, `accuracy`), at the end the whole report.
    """

    command = "retrain"
    lasting = True

    backbone: str | None = Field(default=None, min_length=1, max_length=64)
    accept: bool = False
    within_ms: float | None = Field(default=None, gt=0, le=1e6, allow_inf_nan=False)
    memory_mb: float | None = Field(default=None, gt=0, le=1e6, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, values: Any) -> Any:
        return (
            {key: value for key, value in values.items() if value is not None} if isinstance(values, dict) else values
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Let null stand for what is left out; the defaults are the device's, and not those of `Hyperparameters`."""
        written = handler(schema)
        fields: dict[str, JsonSchemaValue] = handler.resolve_ref_schema(written)["properties"]
        for name, field in fields.items():
            field.pop("default", None)
            if {"type": "null"} not in field.get("anyOf", []):
                description = {key: field.pop(key) for key in ("description",) if key in field}
                fields[name] = {"anyOf": [field, {"type": "null"}], **description}
        return written

    def over(self, defaults: Hyperparameters) -> Hyperparameters:
        """Return `defaults` with what the command names in their place."""
        named = {name: getattr(self, name) for name in self.model_fields_set & Hyperparameters.model_fields.keys()}
        return Hyperparameters(**{**defaults.model_dump(include=set(Hyperparameters.model_fields)), **named})


class CancelArgs(Args):
    """`cmd/cancel`: end a training or a profile; without `job` the one that runs. Report: `job` and `cmd`."""

    command = "cancel"
    urgent = True

    job: JobId | None = None


class JobsArgs(Args):
    """`cmd/jobs`: the last jobs that took a while, newest first, without their reports; with `job` that one, with it.

    Report: `jobs` [Job].
    """

    command = "jobs"

    job: JobId | None = None
    limit: int = Field(default=20, ge=1, le=200)


class RollbackArgs(Args):
    """`cmd/rollback`: let the version before the current one answer again."""

    command = "rollback"
    urgent = True


class ModelsListArgs(Args):
    """`cmd/models_list`: what is installed and which versions there are.

    Report: `models` [{name, id, backbone, classes, accuracy, kind, current, previous}]; kind: installed, version or
    detector, which has no backbone, classes and accuracy, and in `cameras` those whose regions it finds.
    """

    command = "models_list"


class ModelsUseArgs(Args):
    """`cmd/models_use`: let an installed model, by name, or a version, by id, answer from now on."""

    command = "models_use"

    model: str = Field(min_length=1, max_length=64)


class ModelsRemoveArgs(Args):
    """`cmd/models_remove`: delete an installed model, by name, or a trained version, by the first digits of its id.

    Never what runs or came with edged, nor a detector that a camera uses; the version that a rollback would take only
    with `previous`. Report: `removed` (name or id), `kind` (installed, version or detector) and `bytes`.
    """

    command = "models_remove"

    model: str = Field(min_length=1, max_length=64)
    previous: bool = False


class ModelsChunkArgs(Args):
    """`cmd/models_chunk`: a part of a file for `models_add`, in base64; written when the ack says accepted. Any order.

    Rejected where the whole file would take more than a quarter of the memory that is available, or half of the free
    disk, and where it begins as an .onnx file and the device has no ONNX Runtime. Two files are kept, and go on after a
    restart; a third one takes the place of the older.
    """

    command = "models_chunk"
    at_once = True
    max_bytes = MAX_CHUNK_BYTES * 4 // 3 + _ENVELOPE_BYTES

    sha256: Sha256
    size: int = Field(ge=1, le=512 * 2**20)
    offset: int = Field(ge=0)
    data: str


class Normalisation(BaseModel):
    """How RGB becomes a network's input: (value / 255 − mean) / std, for each of the three channels.

    `mean`, `std`: shares of full scale, in the order R, G, B. `bgr`: the network wants blue first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    mean: tuple[FiniteFloat, FiniteFloat, FiniteFloat]
    std: tuple[_Deviation, _Deviation, _Deviation]
    bgr: bool = False


class ModelsAddArgs(Args):
    """`cmd/models_add`: install the model whose parts were sent, after it has classified images in a child process.

    `manifest`: what its bundle's `manifest.json` says, where it has one; backbone, parent, training and the like are
    kept. `replace`: take the place of an installed model of this name. `familiarity`: sha256 of another file that was
    sent, the bundle's familiarity.npz, without which nothing is called unknown. `patch`: sha256 of a file that was sent
    instead of the model's, see `contract.patch`: kilobytes that make the model, whose sha256 is given all the same, out
    of one that the device has. Rejected where it has none that the patch is for. `signature`: what the bundle's file of
    that name says (`contract.signed_bundle`); a device with trusted keys verifies it.

    The model is a .tflite file, or an .onnx file as training libraries export it, for a device that has ONNX Runtime.
    `normalisation`: how RGB becomes such a file's input, where its metadata does not tell. `size`: width and height of
    its input, pixels, where the file leaves them open. `weights`: sha256 of another file that was sent, in which all
    weights lie that the .onnx file says are elsewhere. Unless it is in edged's form already, the device makes another
    file of it, and the report's `id` is that one's; it may differ between devices.
    """

    command = "models_add"
    max_bytes = 2 * 2**20  # thousands of labels, and a training's report in the manifest

    sha256: Sha256
    name: str = Field(min_length=1, max_length=64)
    labels: OutputNames = Field(min_length=1)
    crop: float = Field(default=0.875, gt=0, le=1)
    source: str | None = Field(default=None, max_length=1000)
    licence: str | None = Field(default=None, max_length=1000)
    manifest: dict[str, Any] | None = None
    replace: bool = False
    familiarity: Sha256 | None = None
    patch: Sha256 | None = None
    signature: str | None = Field(default=None, max_length=MAX_CHARACTERS)
    normalisation: Normalisation | None = None
    size: tuple[PositiveInt, PositiveInt] | None = None
    weights: Sha256 | None = None


class DetectorsAddArgs(Args):
    """`cmd/detectors_add`: install the detector whose parts were sent, after it has seen images in a child process.

    A .tflite file of the SSD kind, whose outputs are boxes, classes, scores and their count. It finds the regions of
    cameras with `regions = "detector:NAME"` from the daemon's next start on. `replace`: take the place of an installed
    detector of this name, which no camera uses. Report: `name`, `id`, `width`, `height` (of its input) and `most`
    (boxes of one frame).
    """

    command = "detectors_add"

    sha256: Sha256
    name: str = Field(min_length=1, max_length=64)
    source: str | None = Field(default=None, max_length=1000)
    replace: bool = False


class BottlenecksGetArgs(Args):
    """`cmd/bottlenecks_get`: make ready what a head can be trained on elsewhere: bottlenecks and labels, no photo.

    Of all labeled images; bottlenecks that are not there yet are computed first. With `clip` and `sigma` noise hides
    what one of them says: the L2 norm of each is cut to `clip`, and to each of its numbers Gaussian noise is added with
    a standard deviation of `sigma` times `clip`. A device that has answered so answers with no other noise again.
    The job's report is a `reports.Bottlenecks`; `bottlenecks_part` sends them.
    """

    command = "bottlenecks_get"

    clip: float | None = Field(default=None, gt=0, le=1e6, allow_inf_nan=False)
    sigma: float | None = Field(default=None, gt=0, le=1e6, allow_inf_nan=False)

    @model_validator(mode="after")
    def _both_or_none(self) -> BottlenecksGetArgs:
        if (self.clip is None) != (self.sigma is None):
            raise ValueError("clip and sigma: give both or none")
        return self


class BottlenecksPartArgs(Args):
    """`cmd/bottlenecks_part`: a part of what `bottlenecks_get` has made ready, on `bottlenecks/<id of the command>`.

    `sha256` is that of the whole. A part that does not arrive is asked for again, under another command id.
    """

    command = "bottlenecks_part"

    sha256: Sha256
    offset: int = Field(ge=0)
    bytes: int = Field(ge=1, le=MAX_CHUNK_BYTES)


class ModelsJudgeArgs(Args):
    """`cmd/models_judge`: let an installed model that was made elsewhere answer, if the device's own images allow it.

    It is compared with the model that answers on the device's own images, by the gate of `retrain`. It must not have
    been made of those of the test side. `judges`: sha256 of a file that was sent (`models_chunk`) with heads like the
    model's, each made without a fifth of the images: with it every labeled image judges, else the test side alone.
    `accept`: let it answer, too, where too few images tell whether it is worse; `untested`: let it answer where the
    device has no image to judge by. The job's report is a `reports.Judgement`.
    """

    command = "models_judge"

    model: str = Field(min_length=1, max_length=64)
    judges: Sha256 | None = None
    accept: bool = False
    untested: bool = False


class ModelsCompareArgs(Args):
    """`cmd/models_compare`: how well an installed model, or a version, names the device's own test images.

    It is compared with the model that answers, which goes on answering whatever comes out. Both files judge, as they
    would run, the labeled images of the test side, which whoever made the models must have left out: edged does. The
    job's report is a `reports.SideBySide`.
    """

    command = "models_compare"

    model: str = Field(min_length=1, max_length=64)


class ProfileArgs(Args):
    """`cmd/profile`: time a model on the device, beside its live classification and behind it in priority.

    The job's report at the end: `layers` [{name, op, ms, share, macs, params, input_shape, output_shape, slowest}] and
    `layers_sum`, `end_to_end`, `online` {images: {total_ms, mean_ms, p50_ms, p95_ms, p99_ms}}, `batch` {size:
    {images_per_s, peak_mb}}, `threads`, `runtimes`, `gpu`; `only` chooses among these.
    """

    command = "profile"
    lasting = True

    model: str | None = Field(default=None, min_length=1, max_length=64)
    only: list[ProfilePart] | None = Field(default=None, min_length=1)
    online: list[Annotated[int, Field(ge=1, le=100_000)]] | None = Field(default=None, min_length=1, max_length=20)
    batches: list[Annotated[int, Field(ge=1, le=100_000)]] | None = Field(default=None, min_length=1, max_length=20)
    batch_images: int | None = Field(default=None, ge=1, le=100_000)
    seconds: float | None = Field(default=None, gt=0, le=600)
    runtime: Literal["auto", "litert", "tflite_runtime", "onnx", "tensorflow"] | None = None
    threads: int | None = Field(default=None, ge=1, le=64)


COMMANDS: dict[str, type[Args]] = {
    args.command: args
    for args in (
        StatusArgs,
        TelemetryArgs,
        SnapshotArgs,
        SetArgs,
        ImageArgs,
        ImagesHaveArgs,
        ImagesListArgs,
        ImagesGetArgs,
        ImagesLabelArgs,
        ImagesSuggestArgs,
        ImagesGroupsArgs,
        ImagesUnlabelArgs,
        ImagesRemoveArgs,
        ImagesDoubtfulArgs,
        RetrainArgs,
        ProfileArgs,
        CancelArgs,
        JobsArgs,
        RollbackArgs,
        ModelsListArgs,
        ModelsUseArgs,
        ModelsRemoveArgs,
        ModelsChunkArgs,
        ModelsAddArgs,
        DetectorsAddArgs,
        BottlenecksGetArgs,
        BottlenecksPartArgs,
        ModelsJudgeArgs,
        ModelsCompareArgs,
    )
}
"""Command name → the class that declares it."""

A_co = TypeVar("A_co", bound=Args, covariant=True)


@dataclass(frozen=True, slots=True)
class Command(Generic[A_co]):
    """A command that passed validation: known name, not too large, not retained, not expired.

    Attributes:
        id: The sender's id, 1..64 characters of [A-Za-z0-9_-]; names `ack/<id>`, `job/<id>` and `image/<id>`.
        args: The validated arguments.
    """

    id: str
    args: A_co

    @property
    def name(self) -> str:
        """The command's name."""
        return self.args.command
