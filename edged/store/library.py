"""Reading the folders of the store; the caller holds its lock."""

from __future__ import annotations

import logging
from pathlib import Path

from edged.errors import ModelError
from edged.store.bundle import Bundle, read_bundle

log = logging.getLogger(__name__)


class Library:
    """The bundles that lie in the store's folders, as they are at this moment.

    Args:
        shipped: Models that came with the package.
        models: Models that were added or pulled.
        versions: What was trained or promoted.
        detectors: What is no bundle, and whose names are told apart.
    """

    def __init__(self, shipped: Path, models: Path, versions: Path, detectors: Path) -> None:
        self._shipped, self._models, self._versions, self._detectors = shipped, models, versions, detectors
        self._told: set[str] = set()

    def installed_folders(self) -> dict[str, Path]:
        """Return name → folder of the installed models; added ones win over shipped ones."""
        found = {path.name: path for root in (self._shipped, self._models) for path in _folders(root)}
        return dict(sorted(found.items()))

    def version_folders(self) -> list[Path]:
        """Return the versions' folders, the most recently written or promoted first."""
        return sorted(_folders(self._versions), key=lambda path: path.stat().st_mtime_ns, reverse=True)

    def installed(self) -> list[Bundle]:
        """Return the installed bundles that can be read."""
        return self._readable(list(self.installed_folders().values()))

    def versions(self) -> list[Bundle]:
        """Return the versions that can be read."""
        return self._readable(self.version_folders())

    def find(self, name_or_id: str) -> Bundle:
        """Return an installed bundle by name or id, or a version by id, or the newest version of that name.

        Raises:
            ModelError: There is none, or it cannot be read.
        """
        if (folder := self.installed_folders().get(name_or_id)) is not None:
            return read_bundle(folder)
        for bundle in [*self.installed(), *self.versions()]:
            if name_or_id in (bundle.id, bundle.name):
                return bundle
        raise ModelError(self.unknown(name_or_id))

    def unknown(self, name: str) -> str:
        """Say that there is no such model, and which there are."""
        if name in [path.name for path in _folders(self._detectors)]:
            return f'{name} is a detector, which names nothing: a camera with regions = "detector:{name}" uses it'
        installed = ", ".join(self.installed_folders()) or "none"
        return f"no model {name!r} is installed; installed: {installed}; `edged models list` shows what can be pulled"

    def version(self, bundle_id: str) -> Bundle:
        """Read a version and compare it with its hash.

        Raises:
            ModelError: It is not there, or damaged.
        """
        bundle = read_bundle(self._versions / bundle_id)
        bundle.read_model()
        return bundle

    def is_intact(self, bundle_id: str) -> bool:
        """Whether there is such a version, undamaged."""
        try:
            self.version(bundle_id)
        except ModelError:
            return False
        return True

    def tell_once(self, text: str) -> None:
        """Log an error that would otherwise come with every look."""
        if text not in self._told:
            self._told.add(text)
            log.error("%s", text)

    def _readable(self, folders: list[Path]) -> list[Bundle]:
        bundles = []
        for folder in folders:
            try:
                bundles.append(read_bundle(folder))
            except ModelError as error:
                self.tell_once(str(error))
        return bundles


def _folders(root: Path) -> list[Path]:
    return [path for path in root.glob("[!.]*") if path.is_dir()] if root.is_dir() else []
