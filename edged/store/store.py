"""The store: which models are installed, which versions exist, and which one runs.

<shipped>/<name>/              models that came with the package, never written
<state_dir>/models/<name>/     models that were added or pulled; these win over shipped ones of the same name
<state_dir>/detectors/<name>/  networks that find regions, see `detectors`
<state_dir>/versions/<id>/     what was trained or promoted
<state_dir>/current            link to versions/<id>: what runs
<state_dir>/history.json       what ran before
<state_dir>/trial.json         whether what runs has proved itself
<state_dir>/fallback.json      which version failed, so that an older one runs
<state_dir>/store.lock         one writer at a time
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edged import resources
from edged.contract.model_file import MODEL, ONNX_MODEL
from edged.contract.signed_bundle import SIGNATURE
from edged.errors import ConfigError, ModelError
from edged.store import durable
from edged.store.bundle import Bundle, Manifest, bundle_files, bundle_id, read_bundle
from edged.store.detectors import Detectors
from edged.store.history import History
from edged.store.library import Library
from edged.store.lock import Lock, aside
from edged.store.trial import Fallback, Trial

log = logging.getLogger(__name__)


class Store:
    """Bundles on disk. Any number of processes may read; one at a time writes, the others wait for it.

    Args:
        state_dir: Where the device keeps its state; made by the first change, not by looking.
        shipped: Folder of the models that came with the package.
    """

    def __init__(self, state_dir: Path, shipped: Path | None = None) -> None:
        self.path = state_dir
        self._shipped = resources.shipped("models") if shipped is None else shipped
        self._models = state_dir / "models"
        self._versions = state_dir / "versions"
        self._current = state_dir / "current"
        self._history = state_dir / "history.json"
        self._trial = state_dir / "trial.json"
        self._fallback = state_dir / "fallback.json"
        detectors = state_dir / "detectors"
        self._library = Library(self._shipped, self._models, self._versions, detectors)
        self._lock = Lock(state_dir, (self._models, self._versions, detectors))
        self._untold: Fallback | None = None
        """What `fallback` tells where the disk does not take it."""
        self.detectors = Detectors(detectors, self._lock, (self._models, self._shipped))
        if self._lock.interrupted() and self._lock.is_ours():
            with suppress(ModelError), self._lock.writing():  # who may only read, reads around what is left
                pass

    def installed(self) -> list[Bundle]:
        """Return the installed bundles by name; one that cannot be read is left out and told in the log."""
        with self._lock.reading():
            return self._library.installed()

    def shipped(self, name: str) -> Bundle:
        """Return the bundle of this name that came with the package, whatever was installed over it.

        Raises:
            ModelError: There is none, or it cannot be read.
        """
        return read_bundle(self._shipped / name)

    def find(self, name_or_id: str) -> Bundle:
        """Return an installed bundle by name or id, or a version by id, or the newest version of that name.

        Raises:
            ModelError: There is none (the text lists what is installed), it is a detector, or it cannot be read.
        """
        with self._lock.reading():
            return self._library.find(name_or_id)

    def versions(self) -> list[Bundle]:
        """Return trained and promoted versions, the most recently written or promoted first."""
        with self._lock.reading():
            return self._library.versions()

    def folders(self) -> list[Path]:
        """Return the folders of all installed bundles and versions, readable or not."""
        with self._lock.reading():
            return [*self._library.installed_folders().values(), *self._library.version_folders()]

    def add(
        self,
        model: bytes,
        labels: Sequence[str],
        *,
        name: str,
        width: int,
        height: int,
        crop: float = 0.875,
        source: str | None = None,
        licence: str | None = None,
        accuracy: dict[str, Any] | None = None,
        lineage: Mapping[str, Any] | None = None,
        familiarity: bytes | None = None,
        signature: str | None = None,
        replace: bool = False,
    ) -> Bundle:
        """Install a model under a name: wholly or not at all. The caller has made sure that labels and model fit.

        Args:
            model: Content of the .tflite file.
            labels: One per output.
            name: One level of an MQTT topic; checked by the caller.
            width, height: Of the input, pixels.
            crop: Part of a frame's shorter side that the centre crop keeps.
            source: Where it comes from.
            licence: Of the weights.
            accuracy: Where known; see `Manifest`.
            lineage: More of the `Manifest`: backbone, parent, training and the like; the other arguments win.
            familiarity: Content of familiarity.npz; None: there is none.
            signature: Content of the bundle's file `signature`; None: there is none.
            replace: Take the place of an installed model of this name.

        Raises:
            ConfigError: The name is taken.
            ModelError: It cannot be written (disk full, no permission).
        """
        said = {"source": source, "licence": licence, "accuracy": accuracy}
        manifest = Manifest.model_validate(
            {
                **(lineage or {}),
                "name": name,
                "sha256": hashlib.sha256(model).hexdigest(),
                "input": {"width": width, "height": height, "crop": crop},
                **{key: value for key, value in said.items() if value is not None},
            }
        )
        files = bundle_files(model, labels, manifest, familiarity=familiarity)
        if signature is not None:
            files[SIGNATURE] = signature.encode()
        path = self._models / name
        with self._lock.writing():
            if name in self.detectors.names():
                raise ConfigError(f"a detector named {name} is installed already; choose another name")
            if not replace and (path.exists() or (self._shipped / name).exists()):
                raise ConfigError(f"a model named {name} is installed already; choose another name, or replace it")
            durable.write_folder(path, files, aside=aside(path))
        return read_bundle(path)

    def remove(self, name: str) -> None:
        """Remove a model that was added or pulled. Versions, and with them what runs, stay.

        Raises:
            ModelError: There is none, it is a shipped one, or it cannot be removed.
        """
        path = self._models / name
        with self._lock.writing():
            if not path.is_dir():
                shipped = (self._shipped / name).is_dir()
                raise ModelError(f"{name}: came with edged and stays" if shipped else self._library.unknown(name))
            durable.remove_folder(path)

    def write_version(
        self,
        model: bytes,
        labels: Sequence[str],
        manifest: Manifest,
        taught: Mapping[str, str] | None = None,
        familiarity: bytes | None = None,
        left_out: bytes | None = None,
    ) -> Bundle:
        """Keep a newly trained model as `versions/<id>`; it does not run before it is promoted.

        Args:
            model: Content of the .tflite file.
            labels: One per output.
            manifest: What is told of it.
            taught: Id → label of the images that it was made of; None: not known.
            familiarity: Content of familiarity.npz; None: there is none.
            left_out: Content of left_out.json; None: not known.

        Raises:
            ModelError: `manifest.sha256` is not the model's, or it cannot be written.
        """
        if hashlib.sha256(model).hexdigest() != manifest.sha256:
            raise ModelError(f"{manifest.name}: the manifest's sha256 is not that of the model")
        with self._lock.writing():
            return self._write_version(bundle_files(model, labels, manifest, taught, familiarity, left_out))

    def current(self, configured: str) -> Bundle:
        """Return the bundle that runs.

        Args:
            configured: `settings.model.name`. Where another model was configured when the current version was promoted,
                the user has chosen anew: the installed model of this name runs.

        Returns:
            The promoted version; where it is damaged, the newest intact one before it; else the installed model.

        Raises:
            ModelError: There is no such installed model either.
        """
        with self._lock.reading():
            return self._read_current(configured)

    def previous(self, configured: str) -> Bundle | None:
        """Return what `rollback` would go back to, None where there is nothing."""
        with self._lock.reading():
            history = self._read_history(configured)
            place = self._previous(history, self._current_place(history))
            return None if history is None or place is None else self._library.version(history.ids[place])

    def promote(self, bundle: Bundle, configured: str, *, answers: bool = False) -> Bundle:
        """Make a bundle the current one, on trial. An installed one is copied: it outlives upgrades and removals.

        Args:
            bundle: Which.
            configured: `settings.model.name`.
            answers: A daemon lets it answer at once: a start that finds it still on trial goes back. False: the next
                start tries it.

        Returns:
            The version that runs from now on.

        Raises:
            ModelError: The bundle is damaged, or it cannot be written.
        """
        with self._lock.writing():
            history = self._read_history(configured)
            if history is None:
                with suppress(ModelError):  # the configured model is not installed: nothing to go back to
                    history = History(configured, (self._keep(self._library.find(configured)).id,))
            version = self._keep(bundle)
            if history is None:
                history = History(configured, ())
            if version.id not in history.ids[-1:]:  # what runs already has proved itself, or is on trial
                self._put_on_trial(version.id, answers)
            durable.write_file(self._history, history.promoted(version.id).encode())
            durable.link(self._current, f"versions/{version.id}")
            durable.remove_file(self._fallback)
        self._untold = None
        log.info("model %s (%s) is current", version.name, version.id)
        return version

    def rollback(self, configured: str, *, answers: bool = False) -> Bundle:
        """Make the version before the current one current again; the arguments are those of `promote`.

        Raises:
            ModelError: There is none, or the link cannot be written.
        """
        with self._lock.writing():
            history = self._read_history(configured)
            place = self._previous(history, self._current_place(history))
            if history is None or place is None:
                raise ModelError(self._nothing_before(history, configured))
            previous = self._library.version(history.ids[place])
            self._put_on_trial(previous.id, answers)
            self._go_back(history, place)
            durable.remove_file(self._fallback)
        self._untold = None
        log.info("model rolled back to %s (%s)", previous.name, previous.id)
        return previous

    # -- the trial of a version ----------------------------------------------------------------------------------------

    def begin(self, configured: str) -> list[str]:
        """Let a daemon start: give up a version whose trial is lost, and count this start where one is on trial.

        A disk that cannot be written keeps nobody from starting. But a version whose trial cannot be counted is not
        tried: if it ended the device, it would do so again and again.

        Returns:
            Ids of the versions to try, the best first; after them comes the installed model.
        """
        self._untold = None
        with self._lock.reading():
            history = self._read_history(configured)
            trial = self._read_trial()
        ids = [*dict.fromkeys(reversed(history.ids))] if history is not None else []
        if history is None or trial is None or trial.id != history.ids[-1]:
            return ids
        try:
            if trial.lost:
                self.give_up(trial.id, ids[1:], configured, trial.verdict)
                return ids[1:]
            with self._lock.writing():
                self._write_trial(trial.model_copy(update={"starts": trial.starts + 1}))
        except ModelError as error:
            reason = trial.verdict if trial.lost else f"it is on trial, and no start can be counted: {error}"
            self._untold = Fallback(id=trial.id, reason=reason, since=datetime.now(timezone.utc))
            log.warning("%s is on trial, which cannot be kept: %s; what was before it answers", trial.id, error)
            return ids[1:]
        return ids

    def version(self, id_: str) -> Bundle:
        """Read a version and compare it with its hash.

        Raises:
            ModelError: It is not there, or damaged.
        """
        with self._lock.reading():
            return self._library.version(id_)

    def give_up(self, failed: str, instead: Sequence[str], configured: str, reason: str) -> None:
        """Let an older version be current because one has failed; `fallback` tells of it until the next change.

        Args:
            failed: Id of the version that failed.
            instead: Ids of the versions that may take its place, the best first; the first intact one does. None is:
                the installed model runs, and no version is current.
            configured: `settings.model.name`.
            reason: One line for people.

        Raises:
            ModelError: It cannot be written.
        """
        told = self._untold = Fallback(id=failed, reason=reason, since=datetime.now(timezone.utc))
        with self._lock.writing():
            history = self._read_history(configured)
            if history is None or history.ids[-1] != failed:
                self._untold = None
                return  # something else is current by now
            kept = next(filter(self._library.is_intact, instead), None)
            durable.write_file(self._fallback, told.encode())
            if kept is None:
                durable.remove_file(self._history)
                durable.remove_file(self._current)
                durable.sync_folder(self.path)
            else:
                before = [place for place, id_ in enumerate(history.ids) if id_ == kept]
                history = history if before else History(configured, (*history.ids[:-1], kept))
                self._go_back(history, before[-1] if before else len(history.ids) - 1)
            durable.remove_file(self._trial)
        self._untold = None
        log.error("model %s is given up: %s; %s runs", failed, reason, kept or f"{configured} as it was installed")

    def proved(self, version: str) -> None:
        """Note that a version on trial has classified live frames.

        Raises:
            ModelError: It cannot be written.
        """
        self._change_trial(version, {"proven": True})

    def paused(self, version: str | None = None) -> None:
        """Note that the daemon ends in order: nothing can be held against the version that is on trial.

        Args:
            version: Which one answers; None: the one on trial. One that was given up, on a disk that did not take it,
                is not acquitted by the one before it.

        Raises:
            ModelError: It cannot be written.
        """
        self._change_trial(version, {"starts": 0})

    def settled(self, version: str) -> None:
        """End the trial of a version that has answered for long.

        Raises:
            ModelError: It cannot be written.
        """
        self._change_trial(version, None)

    @property
    def fallback(self) -> Fallback | None:
        """Which version has failed, so that an older one runs; None: none has since the last change."""
        if self._untold is not None:
            return self._untold
        try:
            return Fallback.model_validate_json(self._fallback.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            self._library.tell_once(f"{self._fallback}: damaged; which version has failed is not known")
            return None

    def discard(self, version: str) -> None:
        """Remove a version that nobody wants; the current one, and the one that a rollback would take, stay.

        Raises:
            ModelError: It cannot be removed.
        """
        path = self._versions / version
        with self._lock.writing():
            if path in self._library.version_folders() and version not in self._needed():
                durable.remove_folder(path)

    def remove_version(self, version: str, *, previous: bool = False) -> None:
        """Remove a version that a person wants gone, intact or not.

        Args:
            version: Its id.
            previous: Even if it is the one that a rollback would take.

        Raises:
            ModelError: There is none, it is the current one, it is the previous one, or it cannot be removed.
        """
        path = self._versions / version
        with self._lock.writing():
            if path not in self._library.version_folders():
                raise ModelError(f"there is no version {version}")
            kept = self._needed()
            if version in kept[:1]:
                raise ModelError(f"version {version} is current and stays; let another model answer first")
            if version in kept and not previous:
                raise ModelError(
                    f"version {version} is what a rollback goes back to; `previous` removes it all the same"
                )
            durable.remove_folder(path)

    def prune(self, keep: int = 5) -> list[str]:
        """Remove the oldest versions beyond `keep`; never the current one nor the one that a rollback would take.

        Returns:
            Ids of the removed ones; one that cannot be removed stays and is told in the log.

        Raises:
            ModelError: The store cannot be changed at all.
        """
        removed = []
        with self._lock.writing():
            protected = self._needed()
            newest_first = sorted(self._library.version_folders(), key=lambda path: path.name not in protected)
            doomed = [path for path in newest_first[max(keep, 0) :] if path.name not in protected]
            for path in doomed:
                try:
                    durable.remove_folder(path)
                except OSError as error:
                    log.warning("version %s stays: %s cannot be removed: %s", path.name, path, error.strerror)
                else:
                    removed.append(path.name)
        return removed

    # What follows is called with the lock held.

    def _write_version(self, files: Mapping[str, bytes]) -> Bundle:
        model = ONNX_MODEL if ONNX_MODEL in files else MODEL
        path = self._versions / bundle_id(hashlib.sha256(files[model]).hexdigest())
        if self._library.is_intact(path.name):
            # The same network with, say, corrected labels: file by file, because the folder may be running.
            for name in files.keys() - {model}:
                if not (path / name).is_file() or (path / name).read_bytes() != files[name]:
                    durable.write_file(path / name, files[name])
            if SIGNATURE not in files:  # it was of other labels, or of another manifest
                durable.delete(path / SIGNATURE)
        else:
            durable.write_folder(path, files, aside=aside(path))
        return read_bundle(path)

    def _keep(self, bundle: Bundle) -> Bundle:
        """Make sure that the bundle stands, intact, among the versions, with the signature that it came with."""
        model = bundle.read_model()
        if bundle.path == self._versions / bundle.id:
            version = bundle
        else:
            files = bundle_files(
                model,
                bundle.labels,
                bundle.manifest,
                bundle.read_taught(),
                bundle.read_familiarity(),
                bundle.read_left_out(),
            )
            if (signature := bundle.read_signature()) is not None:
                files[SIGNATURE] = signature.encode()
            version = self._write_version(files)
        self._mark_newest(version.path)
        return version

    def _mark_newest(self, folder: Path) -> None:
        """Let a version that is promoted now be the newest: it is listed first, and pruned last.

        Two that are written within one tick of the kernel's clock have the same time, and a clock may be set back.
        """
        others = [path.stat().st_mtime_ns for path in self._library.version_folders() if path != folder]
        now = max(time.time_ns(), max(others, default=0) + 1)
        os.utime(folder, ns=(now, now))

    def _read_history(self, configured: str | None) -> History | None:
        """History up to the current version; None where none was promoted under this setting (None: any)."""
        current = self._current.readlink().name if self._current.is_symlink() else None
        try:
            history = History.read(self._history.read_bytes(), current)
        except (OSError, ValueError) as error:
            if current is None and isinstance(error, FileNotFoundError):
                return None
            if current is None:
                self._library.tell_once(f"{self._history}: damaged, and {self._current} is gone; what ran is not known")
                return None
            self._library.tell_once(
                f"{self._history}: damaged; what ran before {current} is taken from the times of the versions"
            )
            return History(configured or "", (*self._promoted_before(current), current))
        if current is None:
            self._library.tell_once(
                f"{self._current}: is no link any more; {history.ids[-1]}, promoted last, is current"
            )
        return history if configured in (None, history.configured) else None

    def _promoted_before(self, current: str) -> list[str]:
        """Return the versions that may have run before the current one, the one that was promoted last at the end.

        What is newer was rolled back, or never promoted; and what was given up is no version to go back to.
        """
        folders, failed = self._library.version_folders(), self.fallback
        left_out = (current, None if failed is None else failed.id)
        latest = next((path.stat().st_mtime_ns for path in folders if path.name == current), None)
        return [
            path.name
            for path in reversed(folders)
            if path.name not in left_out and (latest is None or path.stat().st_mtime_ns <= latest)
        ]

    def _nothing_before(self, history: History | None, configured: str) -> str:
        """Say why there is nothing to roll back to, and which versions there are all the same."""
        place = self._current_place(history)
        if history is None or place is None:
            runs, why = None, f"{configured} runs as it was installed"
        else:
            runs = history.ids[place]
            why = f"{runs} has no version before it"
        others = [path.name for path in self._library.version_folders() if path.name != runs]
        more = f"; another version answers after `models use ID`: {', '.join(others)}" if others else ""
        return f"nothing to roll back to: {why}{more}"

    def _read_current(self, configured: str) -> Bundle:
        history = self._read_history(configured)
        for version in reversed(history.ids if history is not None else ()):
            try:
                return self._library.version(version)
            except ModelError as error:
                self._library.tell_once(f"{error}; falling back to the model before it")
        return self._library.find(configured)

    def _current_place(self, history: History | None) -> int | None:
        """Return the index in the history of the version that runs: the newest undamaged one; None: none."""
        places = range(len(history.ids)) if history is not None else range(0)
        return next((at for at in reversed(places) if history and self._library.is_intact(history.ids[at])), None)

    def _previous(self, history: History | None, current: int | None) -> int | None:
        """Return the index in the history of what a rollback takes: undamaged, and another than runs; None: none.

        Args:
            history: What ran.
            current: `_current_place`.
        """
        if history is None or current is None:
            return None
        older = (at for at in reversed(range(current)) if history.ids[at] != history.ids[current])
        return next((at for at in older if self._library.is_intact(history.ids[at])), None)

    def _needed(self) -> list[str]:
        """Return the ids of what runs and of what a rollback would take."""
        history = self._read_history(None)
        current = self._current_place(history)
        places = [current, self._previous(history, current)]
        return [history.ids[at] for at in places if history is not None and at is not None]

    def _go_back(self, history: History, place: int) -> None:
        durable.link(self._current, f"versions/{history.ids[place]}")
        durable.write_file(self._history, history.back_to(place).encode())

    def _put_on_trial(self, version: str, answers: bool) -> None:
        durable.write_file(self._trial, Trial(id=version, starts=int(answers)).encode())

    def _read_trial(self) -> Trial | None:
        try:
            return Trial.model_validate_json(self._trial.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            self._library.tell_once(f"{self._trial}: damaged; the current version counts as proven")
            return None

    def _change_trial(self, version: str | None, values: Mapping[str, Any] | None) -> None:
        """Change what is kept of the trial of this version (None: of any); with no values, end the trial."""
        if not self._trial.exists():
            return
        with self._lock.writing():
            trial = self._read_trial()
            if trial is None or version not in (None, trial.id):
                return
            if values is None:
                durable.remove_file(self._trial)
            else:
                self._write_trial(trial.model_copy(update=dict(values)))

    def _write_trial(self, trial: Trial) -> None:
        """Change what is kept of the trial; on a full disk in place, for there too a version may end the device."""
        try:
            durable.write_file(self._trial, trial.encode())
        except OSError:
            durable.overwrite(self._trial, trial.encode())
