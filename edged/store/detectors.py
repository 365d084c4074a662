"""Detectors on disk: networks that find regions of a frame, and name nothing. None of them is a version, or answers.

<state_dir>/detectors/<name>/    `model.tflite`, `manifest.json`, and `trial.json` until it has proved itself

A detector is on trial as a promoted version is (see `trial`), from the first start of a daemon that uses it. One whose
trial is lost stays out of use until it is installed anew: there is no other one before it to go back to.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, field_validator

from edged.contract.model_file import MODEL
from edged.contract.topics import TopicLevel
from edged.errors import ConfigError, ModelError, first_mistake
from edged.store import durable
from edged.store.bundle import MANIFEST, Sha256, bundle_id
from edged.store.lock import Lock, aside
from edged.store.trial import Trial

log = logging.getLogger(__name__)

_TRIAL = "trial.json"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pixels(_Strict):
    """What a detector takes: its input's size, and how a pixel 0..255 becomes a real number, where it takes these."""

    width: int = Field(ge=1)
    height: int = Field(ge=1)
    mean: tuple[FiniteFloat, ...] = (127.5,)
    std: tuple[FiniteFloat, ...] = (127.5,)

    @field_validator("mean", "std")
    @classmethod
    def _one_or_three(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if len(values) not in (1, 3):
            raise ValueError("one number, or three, are needed")
        return values

    @field_validator("std")
    @classmethod
    def _not_zero(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not all(values):
            raise ValueError("no number may be 0")
        return values


class DetectorManifest(_Strict):
    """What `manifest.json` tells of a detector.

    Attributes:
        kind: Tells it from a classifier's.
        name: One level of an MQTT topic.
        sha256: Of `model.tflite`.
        input: What it takes.
        outputs: What each of its outputs is, in their order.
        most: So many detections of one frame at most.
        source: Where it comes from.
    """

    v: Literal[1] = 1
    kind: Literal["detector"] = "detector"
    name: TopicLevel
    sha256: Sha256
    input: Pixels
    outputs: tuple[Literal["boxes", "classes", "scores", "count"], ...] = Field(min_length=4, max_length=4)
    most: int = Field(ge=1)
    source: str | None = None

    @field_validator("outputs")
    @classmethod
    def _each_once(cls, outputs: tuple[str, ...]) -> tuple[str, ...]:
        if len({*outputs}) != len(outputs):
            raise ValueError("each of boxes, classes, scores and count is needed once")
        return outputs

    def encode(self) -> bytes:
        """Return UTF-8 JSON for people to read too."""
        return (json.dumps(self.model_dump(exclude_none=True), indent=2, ensure_ascii=False) + "\n").encode()


@dataclass(frozen=True)
class InstalledDetector:
    """A detector that can be run: its folder and what its manifest says."""

    path: Path
    manifest: DetectorManifest

    @property
    def name(self) -> str:
        """What people call it."""
        return self.manifest.name

    @property
    def id(self) -> str:
        """The first digits of its hash."""
        return bundle_id(self.manifest.sha256)

    @property
    def file(self) -> Path:
        """Where its network lies."""
        return self.path / MODEL

    @property
    def trial(self) -> Trial | None:
        """How its trial stands; None: it has proved itself, or what was kept of that is damaged."""
        try:
            trial = Trial.model_validate_json((self.path / _TRIAL).read_bytes())
        except (OSError, ValueError):
            return None
        return trial if trial.id == self.id else None  # another one has taken its place, with a trial of its own

    def check_trial(self) -> None:
        """Make sure that a daemon that starts may use it.

        Raises:
            ModelError: Its trial is lost.
        """
        if (trial := self.trial) is not None and trial.lost:
            raise ModelError(
                f"detector {self.name} ({self.id}) was given up: {trial.verdict}; install another one, or this one anew"
            )

    def read_model(self) -> bytes:
        """Read the network's file and compare it with its hash.

        Raises:
            ModelError: It cannot be read, or its content is not what the manifest says.
        """
        try:
            model = self.file.read_bytes()
        except OSError as error:
            raise ModelError(f"{self.file}: cannot be read: {error.strerror}") from error
        if (actual := hashlib.sha256(model).hexdigest()) != self.manifest.sha256:
            raise ModelError(
                f"{self.file}: damaged: its sha256 starts with {actual[:12]}, {MANIFEST} says "
                f"{self.manifest.sha256[:12]}"
            )
        return model


class Detectors:
    """The installed detectors. As in the store, any number of processes may read, and one at a time writes.

    Args:
        folder: Where they lie.
        lock: The store's.
        classifiers: Folders whose names are taken: one name shall not mean two networks.
    """

    def __init__(self, folder: Path, lock: Lock, classifiers: tuple[Path, ...]) -> None:
        self._folder = folder
        self._lock = lock
        self._classifiers = classifiers

    def names(self) -> list[str]:
        """Return the names of all, readable or not."""
        folders = self._folder.glob("[!.]*") if self._folder.is_dir() else ()
        return sorted(path.name for path in folders if path.is_dir())

    def installed(self) -> list[InstalledDetector]:
        """Return them by name; one that cannot be read is left out and told in the log."""
        found = []
        with self._lock.reading():
            for name in self.names():
                try:
                    found.append(_read(self._folder / name))
                except ModelError as error:
                    log.error("%s", error)
        return found

    def find(self, name: str) -> InstalledDetector:
        """Return the one of this name.

        Raises:
            ModelError: There is none, it cannot be read, or the name is a classifier's.
        """
        with self._lock.reading():
            if name in self.names():
                return _read(self._folder / name)
        if any((folder / name).is_dir() for folder in self._classifiers):
            raise ModelError(f"{name} is a classifier, and no detector: it names what is in a frame, and not where")
        installed = ", ".join(self.names()) or "none"
        raise ModelError(
            f"no detector {name!r} is installed; installed: {installed}; `edged models add FILE.tflite --detector "
            f"--name {name}` installs one"
        )

    def add(self, model: bytes, manifest: Mapping[str, Any], *, replace: bool = False) -> InstalledDetector:
        """Install a detector: wholly or not at all. It is on trial, whatever was there before.

        Args:
            model: Content of the .tflite file.
            manifest: See `DetectorManifest`; `sha256` is added.
            replace: Take the place of an installed detector of this name.

        Raises:
            ConfigError: The name is taken.
            ModelError: It cannot be written (disk full, no permission).
        """
        said = DetectorManifest.model_validate({**manifest, "sha256": hashlib.sha256(model).hexdigest()})
        path = self._folder / said.name
        with self._lock.writing():
            if any((folder / said.name).exists() for folder in self._classifiers):
                raise ConfigError(f"a classifier named {said.name} is installed already; choose another name")
            if path.exists() and not replace:
                raise ConfigError(
                    f"a detector named {said.name} is installed already; choose another name, or replace it"
                )
            trial = Trial(id=bundle_id(said.sha256))
            files = {MODEL: model, MANIFEST: said.encode(), _TRIAL: trial.encode()}
            durable.write_folder(path, files, aside=aside(path))
        return _read(path)

    def remove(self, name: str) -> int:
        """Remove one, readable or not; return how many bytes that frees.

        Raises:
            ModelError: There is none, or it cannot be removed.
        """
        path = self._folder / name
        with self._lock.writing():
            if name not in self.names():
                raise ModelError(f"no detector {name!r} is installed")
            freed = sum(file.stat().st_size for file in path.iterdir())
            durable.remove_folder(path)
        return freed

    # -- the trial of a detector ---------------------------------------------------------------------------------------

    def begin(self, name: str) -> InstalledDetector:
        """Return the one of this name to a daemon that starts, and count this start where it is on trial.

        A disk that cannot be written keeps nobody from starting: then nothing is counted.

        Raises:
            ModelError: As `find`; or its trial is lost.
        """
        found = self.find(name)
        found.check_trial()
        if (trial := found.trial) is not None:
            try:
                self._change_trial(found, {"starts": trial.starts + 1})
            except ModelError as error:
                log.warning("detector %s (%s) is on trial, which cannot be kept: %s", name, found.id, error)
        return found

    def proved(self, detector: InstalledDetector) -> None:
        """Note that a detector on trial has looked at live frames.

        Raises:
            ModelError: It cannot be written.
        """
        self._change_trial(detector, {"proven": True})

    def paused(self, detector: InstalledDetector) -> None:
        """Note that the daemon ends in order, or could not open it: nothing can be held against a detector on trial.

        Raises:
            ModelError: It cannot be written.
        """
        self._change_trial(detector, {"starts": 0})

    def settled(self, detector: InstalledDetector) -> None:
        """End the trial of a detector that has worked for long.

        Raises:
            ModelError: It cannot be written.
        """
        self._change_trial(detector, None)

    def _change_trial(self, detector: InstalledDetector, values: Mapping[str, Any] | None) -> None:
        """Change what is kept of the trial, if it is on trial; with no values, end that."""
        if not (detector.path / _TRIAL).exists():
            return
        with self._lock.writing():
            if (trial := detector.trial) is None:
                return
            if values is None:
                (detector.path / _TRIAL).unlink(missing_ok=True)
            else:
                durable.write_file(detector.path / _TRIAL, trial.model_copy(update=dict(values)).encode())


def _read(path: Path) -> InstalledDetector:
    try:
        manifest = DetectorManifest.model_validate_json((path / MANIFEST).read_bytes())
    except ValidationError as error:
        mistake = first_mistake(error)
        raise ModelError(f"{path / MANIFEST}: {f'{mistake.key}: ' if mistake.key else ''}{mistake.text}") from error
    except OSError as error:
        raise ModelError(f"{path / MANIFEST}: cannot be read: {error.strerror}") from error
    if not (path / MODEL).is_file():
        raise ModelError(f"{path / MODEL}: no such file")
    return InstalledDetector(path, manifest)
