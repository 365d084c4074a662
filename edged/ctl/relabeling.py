"""A person's answers to labels that look wrong, image by image; each is carried out at once, and can be undone."""

from __future__ import annotations

import base64
import hashlib
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edged.contract.labels import check_label
from edged.ctl.jobs import ask
from edged.errors import CommandError
from edged.terminal.text import clean, note, print_line

if TYPE_CHECKING:
    from edged.contract.reports import DoubtfulImage
    from edged.ctl.client import Client

Verb = Literal["kept", "relabeled", "removed"]
_ID_SHOWN = 8
_LAST = "all are answered; Enter: done, u: undo, q: stop"
LETTERS = ("r", "d", "v", "u", "q")
"""What stands for an answer. With a / before it, it always does, as no label has one; alone only where no label is
called so."""


def read_line(prompt: str) -> str | None:
    """Ask a person; None: no more answers come."""
    sys.stdout.write(clean(prompt) + " ")
    sys.stdout.flush()
    line = sys.stdin.readline()
    return line.strip() if line else None


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was done to an image, and what undoes it."""

    verb: Verb
    content: bytes = b""


class Relabeling:
    """Asks for each doubtful image and carries the answer out.

    Args:
        client: An open client.
        device: Whose images they are.
        images: The images.
        read: Asks the person.
    """

    def __init__(
        self,
        client: Client,
        device: str,
        images: Sequence[DoubtfulImage],
        read: Callable[[str], str | None] = read_line,
    ) -> None:
        self._client, self._device = client, device
        self._images = [image for image in images if image.id and image.label]
        self._read = read
        self._answers: list[_Answer] = []

    def run(self) -> str:
        """Ask for one image after another; return a line that says what was done."""
        labels = self._labels()
        print_line("labels: " + ", ".join(f"{number} {label}" for number, label in enumerate(labels, 1)))
        if also := [letter for letter in LETTERS if letter in labels]:
            print_line(f"{', '.join(also)}: a label here; {', '.join(f'/{letter}' for letter in also)} the answer")
        try:
            self._ask_for_all(labels)
        except KeyboardInterrupt:
            print_line("\n" + self._told())  # what was answered is done
            raise
        return self._told()

    def _ask_for_all(self, labels: list[str]) -> None:
        """Ask until all are answered or the person stops."""
        while self._images:
            if len(self._answers) == len(self._images):
                if self._read(f"[{_LAST}]") not in ("u", "/u"):
                    return
                self._undo()
                continue
            image = self._images[len(self._answers)]
            near = "".join(f", shows the same as {(one.id or '')[:_ID_SHOWN]} {one.label}" for one in image.near)
            name = f"{(image.id or '')[:_ID_SHOWN]} {file_of(image)}".strip()
            print_line(
                f"{len(self._answers) + 1} of {len(self._images)}: {name}: {image.label}, looks like "
                f"{image.looks_like}{near}"
            )
            line = self._read(f"[{prompt(image, labels)}]")
            letter = None if line is None else letter_of(line, labels)
            if line is None or letter == "q":
                return
            if letter == "u":
                self._undo()
            elif letter == "v":
                self._view(image)
            elif (answer := self._carry_out(image, line, labels)) is not None:
                self._answers.append(answer)

    def _labels(self) -> list[str]:
        job = ask(self._client, self._device, "images_list", {"limit": 0})
        known = [clean(str(label)) for label in ((job and job.report) or {}).get("counts") or {}]
        return known or sorted({label for image in self._images for label in (image.label, image.looks_like) if label})

    def _carry_out(self, image: DoubtfulImage, line: str, labels: list[str]) -> _Answer | None:
        """Do what a line says; None: nothing was done, and the same image is asked for again.

        A new label is added to `labels`: from then on its name is enough.
        """
        if letter_of(line, labels) == "d":
            return self._remove(image)
        label = chosen(line, image, labels)
        if label is None:
            hint = "a label's name comes after =" if line.startswith("=") else f"={line} makes it one"
            print_line(f"{line!r} is no answer and no label; {hint}")
            return None
        if not self._label(image, label, confirmed=True):
            return None
        if label not in labels:
            labels.append(label)
            print_line(f"a new label: {len(labels)} {label}")
        return _Answer("kept" if label == image.label else "relabeled")

    def _label(self, image: DoubtfulImage, label: str | None, *, confirmed: bool) -> bool:
        try:
            given = label if label is None or label == image.label else check_label(label)
        except CommandError as error:
            note("edgectl", str(error))
            return False
        wanted = {"id": image.id, "label": given, "confirmed": confirmed}
        return ask(self._client, self._device, "images_label", wanted) is not None

    def _remove(self, image: DoubtfulImage) -> _Answer | None:
        content = self._fetch(image)
        if content is None or ask(self._client, self._device, "images_remove", {"id": image.id}) is None:
            return None
        return _Answer("removed", content)

    def _fetch(self, image: DoubtfulImage) -> bytes | None:
        job = ask(self._client, self._device, "images_get", {"id": image.id}, keep_image=True)
        if job is None:
            return None
        try:
            return self._client.image(job.id)
        finally:
            self._client.forget(job.id)

    def _view(self, image: DoubtfulImage) -> None:
        content = self._fetch(image)
        if content is not None:
            suffix = Path(image.file or "").suffix
            path = Path(tempfile.mkdtemp(prefix="edgectl-")) / f"{image.id}{suffix if suffix.isascii() else ''}"
            path.write_bytes(content)
            print_line(str(path))

    def _undo(self) -> None:
        """Take the last answer back."""
        if not self._answers:
            print_line("there is no answer to take back")
            return
        answer, image = self._answers[-1], self._images[len(self._answers) - 1]
        if answer.verb == "removed":
            sha256 = hashlib.sha256(answer.content).hexdigest()
            wanted = {"label": image.label, "sha256": sha256, "jpeg": base64.b64encode(answer.content).decode()}
            try:
                self._client.forget(self._client.command(self._device, "image", wanted).id)
            except CommandError as error:
                note("edgectl", str(error))
                return
        elif not self._label(image, image.label, confirmed=False):
            return
        self._answers.pop()

    def _told(self) -> str:
        done = Counter(answer.verb for answer in self._answers)
        parts = [f"{done[verb]} {verb}" for verb in ("relabeled", "removed", "kept") if done[verb]]
        if left := len(self._images) - len(self._answers):
            parts.append(f"{left} not answered")
        hint = "; `edgectl retrain` learns from it" if done["relabeled"] or done["removed"] else ""
        return f"{self._device}: {', '.join(parts) or 'nothing to answer'}{hint}"


def file_of(image: DoubtfulImage) -> str:
    """Return the name of an image's file where it says more than its id; a pushed image has its id for a name."""
    name = image.file or ""
    return "" if image.id and name.startswith(image.id) else name


def prompt(image: DoubtfulImage, labels: Sequence[str]) -> str:
    """Return what may be answered for an image; a letter that is a label's name is written with a /."""
    r, d, v, u, q = (f"/{letter}" if letter in labels else letter for letter in LETTERS)
    return (
        f"Enter: keep, {r}: {image.looks_like}, {d}: remove, a label or its number, {v}: fetch to look at, {u}: undo, "
        f"{q}: stop"
    )


def letter_of(line: str, labels: Sequence[str]) -> str | None:
    """Return which of `LETTERS` a line means; None: none of them, so that it may be a label."""
    letter = line.removeprefix("/")
    return letter if letter in LETTERS and (line != letter or letter not in labels) else None


def chosen(line: str, image: DoubtfulImage, labels: Sequence[str]) -> str | None:
    """Return the label that a person's line means; None: it means none.

    Args:
        line: Empty: the image's own. "r" or "/r": the one that it looks like. A label's name, which goes before its
            number in `labels`, from 1, and before a letter. "=NAME": this one, new or not.
        image: Whose label it is.
        labels: All labels of the device.
    """
    if line == "":
        return image.label
    if letter_of(line, labels) == "r":
        return image.looks_like
    if line.startswith("="):
        return line[1:].strip() or None
    if line in labels:
        return line
    number = int(line) if line.isascii() and line.isdigit() else 0
    return labels[number - 1] if 1 <= number <= len(labels) else None
