"""A scripted device with photos, some with a label and some without: what the labeling page asks for."""

from __future__ import annotations

from typing import Any

import numpy as np

from edged.codec import encode_jpeg
from edged.contract.commands import CommandMessage
from edged.contract.messages import Ack
from tests.ctl.device import ScriptedDevice

LABELED = {"cat": 3, "dog": 2}
UNLABELED = 8


class Album(ScriptedDevice):
    """One that keeps photos; `photos` has their labels, `refused` commands that it turns down."""

    def __init__(self, port: int, device: str = "door") -> None:
        super().__init__(port, device)
        names = [label for label, number in LABELED.items() for _ in range(number)] + [None] * UNLABELED
        self.photos: dict[str, str | None] = {f"{at:016x}": name for at, name in enumerate(names)}
        self.refused: set[str] = set()

    def unlabeled(self) -> list[str]:
        return [id_ for id_, label in self.photos.items() if label is None]

    def told(self, name: str) -> list[dict[str, Any]]:
        """Return the arguments of each such command."""
        return [command.args for one, command in self.commands if one == name]

    def _accepts(self, name: str, command: CommandMessage) -> bool:
        if name not in self.refused:
            return super()._accepts(name, command)
        self._answer("ack", command, Ack(id=command.id, status="rejected", error=f"{name}: the disk is full"))
        return False

    def _done(self, command: CommandMessage, name: str, **report: Any) -> None:
        self._job(command, "succeeded", name, progress=1, report=report)

    def _do_images_list(self, command: CommandMessage) -> None:
        labels = [label for label in self.photos.values() if label]
        images = [{"id": id_, "label": label, "split": "train"} for id_, label in self.photos.items()]
        counts = {label: labels.count(label) for label in sorted(set(labels))}
        told = images[: command.args.get("limit", 100)]
        self._done(command, "images_list", images=told, counts=counts, unlabeled=len(self.unlabeled()))

    def _do_images_suggest(self, command: CommandMessage) -> None:
        self._done(command, "images_suggest", images=[{"id": id_, "why": "stranger"} for id_ in self.unlabeled()])

    def _do_images_groups(self, command: CommandMessage) -> None:
        ids = self.unlabeled()
        groups = [{"id": ids[0], "size": len(ids), "images": ids}] if ids else []
        self._done(command, "images_groups", groups=groups)

    def _do_images_doubtful(self, command: CommandMessage) -> None:
        cats = [id_ for id_, label in self.photos.items() if label == "cat"]
        images = [{"id": id_, "label": "cat", "looks_like": "dog", "confidence": 0.9} for id_ in cats]
        self._done(command, "images_doubtful", images=images)

    def _do_images_label(self, command: CommandMessage) -> None:
        self.photos[command.args["id"]] = command.args["label"]
        self._done(command, "images_label")

    def _do_images_unlabel(self, command: CommandMessage) -> None:
        self.photos[command.args["id"]] = None
        self._done(command, "images_unlabel")

    def _do_images_remove(self, command: CommandMessage) -> None:
        del self.photos[command.args["id"]]
        self._done(command, "images_remove")

    def _do_image(self, command: CommandMessage) -> None:
        self.photos[command.args["sha256"][:16]] = command.args["label"]
        self._done(command, "image")

    def _do_images_get(self, command: CommandMessage) -> None:
        shade = int(command.args["id"], 16) * 20 % 255
        self._answer("image", command, encode_jpeg(np.full((60, 80, 3), shade, np.uint8)))
        self._done(command, "images_get")
