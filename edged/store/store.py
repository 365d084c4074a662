"""The store: which models are installed, which versions exist, and which one runs.

<shipped>/<name>/              models that came with the package, never written
<state_dir>/models/<name>/     models that were added or pulled; these win over shipped ones of the same name
<state_dir>/versions/<id>/     what was trained or promoted
<state_dir>/current            link to versions/<id>: what runs
<state_dir>/history.json       what ran before
<state_dir>/store.lock         one writer at a time
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edged import resources
from edged.errors import ConfigError, ModelError
from edged.store import durable
from edged.store.bundle import (
    LABELS,
    MANIFEST,
    MODEL,
    Bundle,
    Manifest,
    bundle_id,
    encode_labels,
    read_bundle,
)
from edged.store.history import History

log = logging.getLogger(__name__)

_ASIDE = ".old."


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
        self._told: set[str] = set()
        if self._interrupted():
            with suppress(ModelError), self._changes():  # who may only read, reads around them
                log.info("%s: cleared what an interrupted change had left", state_dir)

    def installed(self) -> list[Bundle]:
        """Return the installed bundles by name; one that cannot be read is left out and told in the log."""
        with self._lock(fcntl.LOCK_SH):
            return list(self._installed().values())

    def find(self, name_or_id: str) -> Bundle:
        """Return an installed bundle by name or id, or a version by id, or the newest version of that name.

        Raises:
            ModelError: There is none (the text lists what is installed), or it cannot be read.
        """
        with self._lock(fcntl.LOCK_SH):
            return self._find(name_or_id)

    def versions(self) -> list[Bundle]:
        """Return trained and promoted versions, the most recently written or promoted first."""
        with self._lock(fcntl.LOCK_SH):
            return self._read_versions()

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
            replace: Take the place of an installed model of this name.

        Raises:
            ConfigError: The name is taken.
            ModelError: It cannot be written (disk full, no permission).
        """
        manifest = Manifest.model_validate(
            {
                "name": name,
                "sha256": hashlib.sha256(model).hexdigest(),
                "input": {"width": width, "height": height, "crop": crop},
                "source": source,
                "licence": licence,
                "accuracy": accuracy,
            }
        )
        files = _files(model, labels, manifest)
        path = self._models / name
        with self._changes():
            if not replace and (path.exists() or (self._shipped / name).exists()):
                raise ConfigError(f"a model named {name} is installed already; choose another name, or replace it")
            durable.write_folder(path, files, aside=self._models / f"{_ASIDE}{name}")
        return read_bundle(path)

    def remove(self, name: str) -> None:
        """Remove a model that was added or pulled. Versions, and with them what runs, stay.

        Raises:
            ModelError: There is none, it is a shipped one, or it cannot be removed.
        """
        path = self._models / name
        with self._changes():
            if not path.is_dir():
                shipped = (self._shipped / name).is_dir()
                raise ModelError(f"{name}: came with edged and stays" if shipped else self._unknown(name))
            durable.remove_folder(path)

    def write_version(self, model: bytes, labels: Sequence[str], manifest: Manifest) -> Bundle:
        """Keep a newly trained model as `versions/<id>`; it does not run before it is promoted.

        Raises:
            ModelError: `manifest.sha256` is not the model's, or it cannot be written.
        """
        if hashlib.sha256(model).hexdigest() != manifest.sha256:
            raise ModelError(f"{manifest.name}: the manifest's sha256 is not that of the model")
        with self._changes():
            return self._write_version(model, labels, manifest)

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
        with self._lock(fcntl.LOCK_SH):
            return self._read_current(configured)

    def previous(self, configured: str) -> Bundle | None:
        """Return what `rollback` would go back to, None where there is nothing."""
        with self._lock(fcntl.LOCK_SH):
            return self._read_previous(configured)

    def promote(self, bundle: Bundle, configured: str) -> Bundle:
        """Make a bundle the current one. An installed bundle is copied, so that it outlives upgrades and removals.

        Returns:
            The version that runs from now on.

        Raises:
            ModelError: The bundle is damaged, or it cannot be written.
        """
        with self._changes():
            history = self._read_history(configured)
            if history is None:
                with suppress(ModelError):  # the configured model is not installed: nothing to go back to
                    history = History(configured, (self._keep(self._find(configured)).id,))
            version = self._keep(bundle)
            if history is None:
                history = History(configured, ())
            after = history.promoted(version.id)
            durable.write_file(self._history, history.encode(then=version.id))
            durable.link(self._current, f"versions/{version.id}")
            durable.write_file(self._history, after.encode())
        log.info("model %s (%s) is current", version.name, version.id)
        return version

    def rollback(self, configured: str) -> Bundle:
        """Make the version before the current one current again.

        Raises:
            ModelError: There is none, or the link cannot be written.
        """
        with self._changes():
            previous = self._read_previous(configured)
            if previous is None:
                raise ModelError(f"nothing to roll back to: {configured} runs as it was installed")
            durable.link(self._current, f"versions/{previous.id}")
        log.info("model rolled back to %s (%s)", previous.name, previous.id)
        return previous

    def prune(self, keep: int = 5) -> list[str]:
        """Remove the oldest versions beyond `keep`; never the current one nor the one that a rollback would take.

        Returns:
            Ids of the removed ones.

        Raises:
            ModelError: They cannot be removed.
        """
        with self._changes():
            protected = self._protected()
            newest_first = sorted(self._version_folders(), key=lambda path: path.name not in protected)
            doomed = [path for path in newest_first[max(keep, 0) :] if path.name not in protected]
            for path in doomed:
                durable.remove_folder(path)
        return [path.name for path in doomed]

    # What follows is called with the lock held.

    def _installed(self) -> dict[str, Bundle]:
        names = {path.name: path for root in (self._shipped, self._models) for path in _folders(root)}
        bundles = {}
        for name, path in sorted(names.items()):
            try:
                bundles[name] = read_bundle(path)
            except ModelError as error:
                self._tell_once(str(error))
        return bundles

    def _find(self, name_or_id: str) -> Bundle:
        for root in (self._models, self._shipped):
            if name_or_id in {path.name for path in _folders(root)}:
                return read_bundle(root / name_or_id)
        for bundle in [*self._installed().values(), *self._read_versions()]:
            if name_or_id in (bundle.id, bundle.name):
                return bundle
        raise ModelError(self._unknown(name_or_id))

    def _unknown(self, name: str) -> str:
        installed = ", ".join(self._installed()) or "none"
        return f"no model {name!r} is installed; installed: {installed}; `edged models list` shows what can be pulled"

    def _version_folders(self) -> list[Path]:
        return sorted(_folders(self._versions), key=lambda path: path.stat().st_mtime_ns, reverse=True)

    def _read_versions(self) -> list[Bundle]:
        bundles = []
        for path in self._version_folders():
            try:
                bundles.append(read_bundle(path))
            except ModelError as error:
                self._tell_once(str(error))
        return bundles

    def _write_version(self, model: bytes, labels: Sequence[str], manifest: Manifest) -> Bundle:
        files = _files(model, labels, manifest)
        path = self._versions / bundle_id(manifest.sha256)
        if self._is_intact(path):
            # The same network with, say, corrected labels: file by file, because the folder may be running.
            for name in (LABELS, MANIFEST):
                if (path / name).read_bytes() != files[name]:
                    durable.write_file(path / name, files[name])
        else:
            durable.write_folder(path, files, aside=self._versions / f"{_ASIDE}{path.name}")
        return read_bundle(path)

    def _keep(self, bundle: Bundle) -> Bundle:
        """Make sure that the bundle stands, intact, among the versions."""
        model = bundle.read_model()
        version = self._write_version(model, bundle.labels, bundle.manifest)
        version.path.touch()  # promoted now: pruned last
        return version

    def _is_intact(self, path: Path) -> bool:
        try:
            read_bundle(path).read_model()
        except ModelError:
            return False
        return True

    def _linked(self) -> str | None:
        """Id that the link names, whether that version exists or not."""
        return self._current.readlink().name if self._current.is_symlink() else None

    def _read_history(self, configured: str | None) -> History | None:
        """History up to the current version; None where none was promoted under this setting (None: any)."""
        linked = self._linked()
        if linked is None or not self._history.is_file():
            return None
        try:
            history = History.read(self._history.read_bytes(), linked)
        except ValueError:
            self._tell_once(f"{self._history}: damaged; it counts as empty")
            return None
        return history if history is not None and configured in (None, history.configured) else None

    def _read_current(self, configured: str) -> Bundle:
        history = self._read_history(configured)
        if history is not None:
            for version in reversed(history.ids):
                try:
                    bundle = read_bundle(self._versions / version)
                    bundle.read_model()
                except ModelError as error:
                    self._tell_once(f"{error}; falling back to the version before it")
                else:
                    return bundle
        return self._find(configured)

    def _read_previous(self, configured: str) -> Bundle | None:
        history = self._read_history(configured)
        if history is None:
            return None
        current = self._read_current(configured).id
        if current not in history.ids:
            return None
        older = history.ids[: history.ids.index(current)]
        intact = (version for version in reversed(older) if self._is_intact(self._versions / version))
        return next((read_bundle(self._versions / version) for version in intact), None)

    def _protected(self) -> set[str]:
        history = self._read_history(None)
        if history is None:
            return set()
        intact = [version for version in reversed(history.ids) if self._is_intact(self._versions / version)]
        return set(intact[:2])

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            log.error("%s", text)

    def _interrupted(self) -> bool:
        folders = (self.path, self._models, self._versions)
        return any(durable.leftovers(folder) or list(folder.glob(f"{_ASIDE}*")) for folder in folders)

    @contextmanager
    def _lock(self, kind: int) -> Iterator[None]:
        try:
            file = (self.path / "store.lock").open("rb")
        except OSError:  # nothing was ever changed here, or it is not ours to wait for
            yield
            return
        with file:
            fcntl.flock(file, kind)  # closing the file releases it
            yield

    @contextmanager
    def _changes(self) -> Iterator[None]:
        """Take the lock, make the folders, clear what an interrupted change has left."""
        try:
            for folder in (self._models, self._versions):
                folder.mkdir(parents=True, exist_ok=True)
            (self.path / "store.lock").touch()
            with self._lock(fcntl.LOCK_EX):
                for folder in (self.path, self._models, self._versions):
                    durable.clear(folder)
                    for aside in folder.glob(f"{_ASIDE}*"):
                        durable.restore(folder / aside.name.removeprefix(_ASIDE), aside)
                yield
        except OSError as error:
            raise ModelError(f"{error.filename or self.path}: the model cannot be stored: {error.strerror}") from error


def _folders(root: Path) -> list[Path]:
    return [path for path in root.glob("[!.]*") if path.is_dir()] if root.is_dir() else []


def _files(model: bytes, labels: Sequence[str], manifest: Manifest) -> dict[str, bytes]:
    return {MODEL: model, LABELS: encode_labels(labels), MANIFEST: manifest.encode()}
