"""The heads that `edgectl learn` has made, as this workstation keeps them: a bundle, and what each device said of it.

They lie in `$XDG_STATE_HOME/edgectl/learn/<name>/<network>/`, so that a device that joins later can get the head
without another training. A new head lies in `<network>.new/` until a device takes it: one that every device refuses
does not stand in place of one that answers.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edged.ctl.claim import claim
from edged.errors import ConfigError

_FILE = "devices.json"
_BUNDLE = "bundle"
_NEW = ".new"


def folder_of(name: str) -> Path:
    """Return where the heads of this name lie, one folder a network."""
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "edgectl" / "learn" / name


def claimed(name: str) -> contextlib.AbstractContextManager[None]:
    """Keep other edgectls of this workstation from the heads of a name until the block ends: there is one draft.

    Raises:
        ConfigError: The folder cannot be written.
        CommandError: Another one is at them.
    """
    return claim(folder_of(name) / ".lock", f"learn: the heads called {name}")


@dataclass(slots=True)
class Head:
    """One head.

    Attributes:
        folder: Its folder.
        model: Id of its bundle.
        backbone: Name of the network below it.
        devices: Device → what it has said: a `Judgement` as JSON, or {"error": why}.
    """

    folder: Path
    model: str
    backbone: str
    devices: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def bundle(self) -> Path:
        """Folder of the bundle."""
        return self.folder / _BUNDLE

    @classmethod
    def keep(cls, name: str, backbone: tuple[str, str], model: str, bundle: Path) -> Head:
        """Take a new bundle's folder over; until a device takes it, the head before it stays.

        Args:
            name: Of the heads.
            backbone: Name of the network, and the hash of its file.
            model: Id of the bundle.
            bundle: Its folder; it is moved.

        Raises:
            ConfigError: It cannot be written.
        """
        head = cls(folder_of(name) / f"{backbone[1][:12]}{_NEW}", model, backbone[0])
        try:
            if head.folder.exists():
                shutil.rmtree(head.folder)
            head.folder.mkdir(parents=True)
            shutil.move(bundle, head.bundle)
        except OSError as error:
            raise ConfigError(f"{head.folder}: cannot be written: {error.strerror or error}") from error
        head.write()
        return head

    @classmethod
    def read(cls, name: str) -> list[Head]:
        """Return the heads of this name that a device has taken; those of no use are left out."""
        heads = []
        for path in sorted(folder_of(name).glob(f"*/{_FILE}")):
            if path.parent.suffix == _NEW:
                continue
            try:
                told = json.loads(path.read_bytes())
                heads.append(cls(path.parent, str(told["model"]), str(told["backbone"]), dict(told["devices"])))
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return [head for head in heads if head.bundle.is_dir()]

    @classmethod
    def draft(cls, name: str) -> Path:
        """Return a new folder beside the heads, where a bundle is made."""
        folder = folder_of(name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
        except OSError as error:
            raise ConfigError(f"{folder}: cannot be written: {error.strerror or error}") from error

    def said(self, device: str, judgement: dict[str, Any]) -> None:
        """Note what a device has said."""
        self.devices[device] = judgement
        self.write()

    def establish(self) -> None:
        """Put a new head that a device has taken in place of the one before; nobody may be reading its files now.

        Raises:
            ConfigError: It cannot be written.
        """
        if self.folder.suffix != _NEW or not any(said.get("answers") for said in self.devices.values()):
            return
        place = self.folder.with_suffix("")
        try:
            if place.exists():
                shutil.rmtree(place)
            self.folder = self.folder.rename(place)
        except OSError as error:
            raise ConfigError(f"{place}: cannot be written: {error.strerror or error}") from error

    def write(self) -> None:
        """Write what devices have said."""
        path = self.folder / _FILE
        draft = path.with_suffix(".draft")
        told = {"model": self.model, "backbone": self.backbone, "devices": self.devices}
        try:
            draft.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            draft.replace(path)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from error

    @property
    def trusted(self) -> bool:
        """Whether a device without images may take it: of those with some, more have taken than refused it."""
        judged = [said for said in self.devices.values() if said.get("images")]
        taken = sum(bool(said.get("answers")) for said in judged)
        refused = sum((said.get("decision") or {}).get("verdict") == "refused" for said in judged)
        return bool(taken > refused)
