"""`models_…` and `rollback`: which models a device has, and which one answers."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from edged.contract import patch
from edged.contract.commands import MAX_CHUNK_BYTES
from edged.contract.model_file import is_onnx
from edged.contract.signed_bundle import facts
from edged.daemon.uploads import Uploads, check_memory
from edged.errors import CommandError, ModelError, first_mistake
from edged.jobs.runner import Kind, RunningJob, State
from edged.mqtt.trust import Trust
from edged.store import FAMILIARITY, Manifest

if TYPE_CHECKING:
    from edged.contract.commands import (
        Command,
        DetectorsAddArgs,
        ModelsAddArgs,
        ModelsChunkArgs,
        ModelsListArgs,
        ModelsRemoveArgs,
        ModelsUseArgs,
        RollbackArgs,
    )
    from edged.contract.messages import Job
    from edged.daemon.switching import ModelSwitch
    from edged.settings import Settings
    from edged.store import Bundle, Store
    from edged.types import Image

log = logging.getLogger(__name__)

_INSTALLING = Kind("models_add", "installation", 2.0)
_INSTALLING_DETECTOR = Kind("detectors_add", "installation", 2.0)


class ModelCommands:
    """The commands about models.

    Args:
        settings: The whole configuration.
        store: Where models are.
        switch: Lets another one answer.
        tell: Takes states of a job.
        trust: Who may have signed a bundle; None: no matter.
        frames: Returns whole frames of the cameras, for a detector that was sent.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        switch: ModelSwitch,
        tell: Callable[[Job], None],
        trust: Trust | None = None,
        frames: Callable[[], list[Image]] = list,
    ) -> None:
        self._settings = settings
        self._store = store
        self._switch = switch
        self._tell = tell
        self._trust = trust or Trust()
        self._frames = frames
        self._uploads = Uploads(settings.storage.state_dir / "uploads")

    def list_(self, _: Command[ModelsListArgs]) -> dict[str, Any]:
        """Report what is installed and which versions there are."""
        running = self._switch.running
        previous = self._store.previous(self._settings.model.name)
        rows = [(bundle, "version") for bundle in self._store.versions()]
        rows += [(bundle, "installed") for bundle in self._store.installed()]
        return {
            "models": [
                {
                    **describe(bundle),
                    "kind": kind,
                    "current": bundle.path == running.path,
                    "previous": previous is not None and bundle.path == previous.path,
                }
                for bundle, kind in rows
            ]
            + [
                {
                    "name": detector.name,
                    "id": detector.id,
                    "kind": "detector",
                    "current": False,
                    "previous": False,
                    "cameras": self._cameras_of(detector.name),
                }
                for detector in self._store.detectors.installed()
            ]
        }

    def _cameras_of(self, detector: str) -> list[str]:
        return [name for name, camera in self._settings.cameras.items() if camera.detector == detector]

    def use(self, command: Command[ModelsUseArgs]) -> dict[str, Any]:
        """Let another model answer."""
        args = command.args
        return describe(self._switch.use(self._store.find(args.model)))

    def remove(self, command: Command[ModelsRemoveArgs]) -> dict[str, Any]:
        """Delete an installed model or a version, readable or not."""
        args = command.args
        folders = self._store.folders()
        running, versions = self._switch.running.path, self._settings.storage.state_dir / "versions"
        found = [path for path in folders if path.parent != versions and path.name == args.model]
        if not found and args.model in self._store.detectors.names():
            return self._remove_detector(args.model)
        found = found or [path for path in folders if path.parent == versions and path.name.startswith(args.model)]
        if not found:
            raise CommandError(f"no model or version {args.model}; `edgectl models list` shows those that there are")
        if len(found) > 1:
            raise CommandError(f"version {args.model}: more than one id begins so; give more digits")
        (path,) = found
        if path == running:
            raise CommandError(f"{path.name} answers now and stays; let another model answer first")
        freed = sum(file.stat().st_size for file in path.iterdir())
        if path.parent == versions:
            self._store.remove_version(path.name, previous=args.previous)
        elif path.name == self._settings.model.name:
            raise CommandError(f"{path.name} is what model.name says and stays")
        else:
            self._store.remove(path.name)
        log.info("model %s removed, %.1f MB", path.name, freed / 1e6)
        return {"removed": path.name, "kind": "version" if path.parent == versions else "installed", "bytes": freed}

    def _remove_detector(self, name: str) -> dict[str, Any]:
        if cameras := self._cameras_of(name):
            raise CommandError(f"{name} is what cameras.{cameras[0]}.regions says and stays")
        freed = self._store.detectors.remove(name)
        log.info("detector %s removed, %.1f MB", name, freed / 1e6)
        return {"removed": name, "kind": "detector", "bytes": freed}

    def rollback(self, _: Command[RollbackArgs]) -> dict[str, Any]:
        """Let the model before this one answer again."""
        replaced = self._switch.running
        return {**describe(self._switch.rollback()), "replaced": replaced.id}

    def receive(self, command: Command[ModelsChunkArgs]) -> None:
        """Write a part of a file; it is there when this returns.

        Raises:
            CommandError: Not base64, beyond the file's size, more than fits this device, of a kind that no library here
                runs, or the disk fails.
        """
        args = command.args
        try:
            data = base64.b64decode(args.data, validate=True)
        except (binascii.Error, ValueError) as error:
            raise CommandError("data is not base64") from error
        if len(data) > MAX_CHUNK_BYTES:
            raise CommandError(f"{len(data)} bytes; a part has at most {MAX_CHUNK_BYTES}")
        if args.offset == 0 and is_onnx(data):
            from edged.vision import onnx_runtime

            if not onnx_runtime.is_installed():  # told before 100 MB are sent
                raise CommandError(f"this device runs no .onnx file: {onnx_runtime.NOT_INSTALLED}")
        self._uploads.receive(args.sha256, args.size, args.offset, data)

    def add(self, command: Command[ModelsAddArgs]) -> dict[str, Any]:
        """Install the model that was sent; meanwhile the job says again and again that it goes on."""
        job = RunningJob(_INSTALLING, command.id, State(stage="check"), self._tell)
        with job.pulse():
            return self._add(command.args, job)

    def _add(self, args: ModelsAddArgs, job: RunningJob) -> dict[str, Any]:
        from edged.zoo.install import install  # with what downloads: a daemon seldom needs it

        self._check_signature(args)
        model = self._uploads.take(args.sha256, "model") if args.patch is None else self._patched(args, args.patch)
        familiarity = None if args.familiarity is None else self._uploads.take(args.familiarity, FAMILIARITY)
        lineage = _lineage(args)
        model, told = self._adopted(model, args, job)
        job.reach(State(stage="install", progress=0.5))
        bundle = install(
            self._store,
            model,
            args.labels,
            name=args.name,
            origin=args.name,
            crop=args.crop,
            source=args.source,
            licence=args.licence,
            lineage={**lineage, **told},
            familiarity=familiarity,
            signature=args.signature,
            replace=args.replace,
        )
        for sha256 in (args.patch or args.sha256, args.familiarity, args.weights):
            if sha256 is not None:
                self._uploads.forget(sha256)
        log.info("model %s (%s) installed", bundle.name, bundle.id)
        return describe(bundle)

    def _adopted(self, model: bytes, args: ModelsAddArgs, job: RunningJob) -> tuple[bytes, dict[str, Any]]:
        """Return the network that is installed, and what its manifest tells of how it came to be.

        Raises:
            CommandError: What was said does not belong to such a file, or it was signed and would be another one.
            ConfigError, ModelError: It cannot become a network that edged runs.
        """
        pixels = args.normalisation
        if not is_onnx(model):
            given = [name for name in ("normalisation", "size", "weights") if getattr(args, name) is not None]
            if given:
                raise CommandError(f"{given[0]} belongs to an .onnx file; a .tflite file says it itself")
            return model, {}
        from edged.zoo.sent_onnx import adopt_sent  # a daemon seldom needs it

        job.reach(State(stage="convert", progress=0.2))
        told = {} if pixels is None else pixels.model_dump(mode="json")
        weights = None if args.weights is None else self._uploads.take(args.weights, "weights")
        made = adopt_sent(model, weights, **told, size=args.size, origin=args.name)
        if made != model and args.signature is not None:
            raise CommandError(
                f"{args.name}: is signed, but not in the form that edged runs, and would become another file here; "
                "`edged models add` makes that form, sign its bundle"
            )
        return made, {"normalisation": told} if told else {}

    def add_detector(self, command: Command[DetectorsAddArgs]) -> dict[str, Any]:
        """Install the detector that was sent; cameras that want it use it from the next start on."""
        from edged.zoo.detectors import install_detector

        args, job = command.args, RunningJob(_INSTALLING_DETECTOR, command.id, State(stage="check"), self._tell)
        if cameras := self._cameras_of(args.name):
            # What is sent cannot go to work before somebody on the device says so: the configuration names it.
            raise CommandError(
                f"{args.name} is what cameras.{cameras[0]}.regions says and stays; send this one under another name"
            )
        with job.pulse():
            model = self._uploads.take(args.sha256, "detector")
            job.reach(State(stage="install", progress=0.5))
            detector = install_detector(
                self._store,
                model,
                name=args.name,
                origin=args.name,
                source=args.source,
                replace=args.replace,
                runtime=self._settings.model.engine,
                threads=self._settings.model.threads,
                frames=self._frames(),
            )
            self._uploads.forget(args.sha256)
        log.info("detector %s (%s) installed", detector.name, detector.id)
        size = detector.manifest.input
        return {
            "name": detector.name,
            "id": detector.id,
            "width": size.width,
            "height": size.height,
            "most": detector.manifest.most,
        }

    def _patched(self, args: ModelsAddArgs, sha256: str) -> bytes:
        """Return the model that a patch makes out of one that is here.

        Raises:
            CommandError: There is none that the patch is for, this or the patch is damaged, or it makes another model
                or one that is too large.
        """
        data = self._uploads.take(sha256, "patch")
        try:
            header = patch.read_header(data)
            if header.result != args.sha256:
                raise patch.PatchError(f"it makes model {header.result[:12]}, not {args.sha256[:12]}")
            check_memory(header.bytes)
            bundles = [*self._store.installed(), *self._store.versions()]
            base = next((bundle for bundle in bundles if bundle.manifest.sha256 == header.base), None)
            if base is None:
                raise patch.PatchError(f"it is for model {header.base[:12]}, which is not here")
            return patch.apply(base.read_model(), data)
        except (patch.PatchError, ModelError) as error:
            raise CommandError(f"patch {sha256[:12]}: {error}; send the whole model") from error

    def _check_signature(self, args: ModelsAddArgs) -> None:
        """Verify the bundle's signature, where it has one. Its files are those of these hashes, or are not there."""
        if args.signature is None:
            return
        found = facts(
            name=args.name,
            crop=args.crop,
            model=args.sha256,
            labels=args.labels,
            manifest=args.manifest,
            familiarity=args.familiarity,
        )
        try:
            self._trust.check_bundle(args.signature, found)
        except ValueError as error:
            raise CommandError(str(error)) from error


def _lineage(args: ModelsAddArgs) -> dict[str, Any]:
    """Return what a pushed manifest says beyond what the command itself says.

    Raises:
        CommandError: It is of another model, or is no manifest; names the key.
    """
    if args.manifest is None:
        return {}
    if (sha256 := args.manifest.get("sha256", args.sha256)) != args.sha256:
        raise CommandError(
            f"manifest: sha256 = {str(sha256)[:12]} is of another model; that sent is {args.sha256[:12]}"
        )
    # A model under another name is still its own backbone, if it was.
    own = {"name": args.name, "sha256": args.sha256}
    try:
        manifest = Manifest.model_validate({"input": {"width": 1, "height": 1}, **args.manifest, **own})
    except ValidationError as error:
        mistake = first_mistake(error)
        raise CommandError(f"manifest: {mistake.key}: {mistake.text}") from error
    lineage = manifest.model_dump(exclude_none=True, exclude={"name", "sha256", "input"})
    if manifest.backbone_sha256 == args.sha256:
        lineage.pop("backbone")
        lineage.pop("backbone_sha256")  # an .onnx file that is changed here is its own backbone too
    return lineage


def describe(bundle: Bundle) -> dict[str, Any]:
    """Return what reports say of a model; what is unknown is absent."""
    said = {
        "name": bundle.name,
        "id": bundle.id,
        "backbone": bundle.backbone,
        "classes": len(bundle.labels),
        "accuracy": bundle.accuracy,
        "parent": bundle.manifest.parent,
    }
    return {key: value for key, value in said.items() if value is not None}
