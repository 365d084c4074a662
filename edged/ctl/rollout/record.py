"""The state of a roll-out, in a file: what was meant, and how far each device is. Written before each step.

The file is replaced by a rename, so that a power cut leaves the old one or the new one. It says what was about to be
done; whoever goes on asks the device what of it has been done.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edged.contract.messages import timestamp
from edged.ctl.claim import claim
from edged.ctl.rollout.verdict import Accuracy, Limits, Measured
from edged.errors import CommandError, ConfigError

Phase = Literal[
    "waiting",  # nothing was done there yet
    "installing",
    "installed",
    "switching",
    "switched",  # it answers with the new model, and is watched
    "held",  # it was watched, and is no worse
    "there",  # the new model answered there before: nothing to do, nothing to take back
    "going back",
    "back",  # the old model answers again
    "failed",  # the new model never answered there
]
TOUCHED: frozenset[Phase] = frozenset({"switching", "switched", "held", "going back"})
"""Phases in which a device may answer with the new model because of the roll-out."""
OPEN: frozenset[Phase] = frozenset({"waiting", "installing", "installed", "switching", "switched"})
"""Phases in which something is left to do."""
Status = Literal["running", "done", "going back", "back"]


class DeviceRecord(BaseModel):
    """How far one device is.

    Attributes:
        phase: What was begun last.
        before: Id of the model that answered before; None: not known yet.
        boot: Name of the start of the daemon before the switch.
        alerts: Alerts that stood before the switch.
        baseline: What it was like before the switch.
        after: What it was like with the new model.
        accuracy: How well both models name its own images; None: it was not asked yet.
        why: Why it is not held, or what could not be judged.
    """

    model_config = ConfigDict(extra="ignore", validate_assignment=True)

    phase: Phase = "waiting"
    before: str | None = None
    boot: str | None = None
    alerts: list[str] = Field(default_factory=list)
    baseline: Measured | None = None
    after: Measured | None = None
    accuracy: Accuracy | None = None
    why: str | None = None


class Record(BaseModel):
    """A roll-out.

    Attributes:
        id: Of the roll-out: the model's name, and a hash of what makes it this one.
        status: Whether it goes on, is done, takes everything back, or has done so.
        model: Id of the model.
        push: The arguments of `models push` that say what is sent.
        connection: The arguments that say through which broker.
        choice: `--device`, as it was given.
        canary: Whether the first wave are canaries.
        waves: Devices, wave by wave.
        limits: How much worse a device may be.
        hold_s, baseline_s: How long devices are watched with the new model, and before.
        devices: Id → how far it is.
        why: Why everything is taken back.
    """

    model_config = ConfigDict(extra="ignore", validate_assignment=True)

    v: Literal[1] = 1
    id: str
    status: Status = "running"
    begun: str = Field(default_factory=timestamp)
    changed: str = Field(default_factory=timestamp)
    model: str
    name: str
    push: dict[str, Any]
    connection: dict[str, Any]
    choice: str
    canary: bool
    waves: list[list[str]]
    limits: Limits
    hold_s: float
    baseline_s: float
    devices: dict[str, DeviceRecord]
    why: str | None = None

    def of(self, *phases: Phase) -> list[str]:
        """Return the devices in these phases, sorted."""
        return sorted(device for device, one in self.devices.items() if one.phase in phases)


def identity(model: str, name: str, choice: str, broker: str, prefix: str) -> str:
    """Return the id of the roll-out of a model to a choice of devices: the same command has the same."""
    digest = hashlib.sha256("\n".join((model, name, choice, broker, prefix)).encode()).hexdigest()
    return f"{name}-{digest[:8]}"


def folder() -> Path:
    """Where the files are: $XDG_STATE_HOME/edged/rollouts, else below ~/.local/state."""
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "edged" / "rollouts"


def records() -> list[Record]:
    """Return all roll-outs of this workstation, the newest first; files that are none are passed over."""
    found = []
    for path in sorted(folder().glob("*.json")):
        with contextlib.suppress(OSError, ValidationError):
            found.append(Record.model_validate_json(path.read_bytes()))
    return sorted(found, key=lambda record: record.begun, reverse=True)


def find(id_: str) -> Record:
    """Return a roll-out by its id, or how it begins or ends.

    Raises:
        ConfigError: There is none, or there are several.
    """
    everything = records()
    found = [one for one in everything if one.id == id_] or [
        one for one in everything if one.id.startswith(id_) or one.id.endswith(f"-{id_}")
    ]
    if len(found) == 1:
        return found[0]
    which = "several roll-outs are called so" if found else "no such roll-out"
    known = ", ".join(one.id for one in found or everything) or "none"
    raise ConfigError(f"{id_}: {which}; in {folder()} there are: {known}")


class RecordFile:
    """The file of one roll-out while it is worked on; nobody else may at the same time.

    Args:
        record: Its content, which `change` alone changes.
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self._path = folder() / f"{record.id}.json"
        self._saving = threading.Lock()

    def claimed(self) -> contextlib.AbstractContextManager[None]:
        """Keep other edgectls of this workstation from the roll-out until the block ends, or the process.

        Raises:
            ConfigError: The folder cannot be written.
            CommandError: Another one is at it.
        """
        return claim(self._path.with_suffix(".lock"), f"roll-out {self.record.id}")

    def reload(self) -> None:
        """Read what another edgectl may have changed before this one claimed it."""
        with contextlib.suppress(OSError, ValidationError):
            self.record = Record.model_validate_json(self._path.read_bytes())

    def change(self, device: str | None = None, /, **values: Any) -> None:
        """Change the record, or what it says of a device, and write it. Any thread may call it.

        Raises:
            CommandError: It cannot be written: then nothing more must be done that it does not tell of.
        """
        if device is not None:
            self.change_each({device: values})
            return
        with self._saving:
            self._change(self.record, values)
            self._write()

    def change_each(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        """As `change`, for many devices at once: the file of a large fleet takes a while to write."""
        with self._saving:
            for device, values in changes.items():
                self._change(self.record.devices[device], values)
            self._write()

    @staticmethod
    def _change(target: BaseModel, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            setattr(target, name, value)

    def _write(self) -> None:
        self.record.changed = timestamp()
        data = self.record.model_dump_json(indent=1, exclude_none=True).encode() + b"\n"
        draft = self._path.with_name(f".tmp.{secrets.token_hex(6)}")
        try:
            with draft.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.chmod(0o600)
            draft.replace(self._path)
            descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise CommandError(f"{self._path}: cannot be written: {error.strerror}; the roll-out stops") from error
        finally:
            draft.unlink(missing_ok=True)
