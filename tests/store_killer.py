"""Kills writers of a store and looks at what they leave. Run as a program by test_store.py.

A program of its own, because it forks: the test process may have threads.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edged.store import Bundle, Manifest, Store

MODELS = {name: name.encode() * 50_000 for name in ("a", "b", "c")}
NEVER = 10**9


def manifest(name: str) -> Manifest:
    return Manifest.model_validate(
        {"name": name, "sha256": hashlib.sha256(MODELS[name]).hexdigest(), "input": {"width": 8, "height": 8}}
    )


def add(store: Store, name: str) -> Bundle:
    return store.add(MODELS[name], [name], name="main", width=8, height=8, replace=True)


def promote(store: Store, name: str) -> Bundle:
    return store.promote(store.write_version(MODELS[name], [name], manifest(name)), "main")


def content(bundle: Bundle) -> str:
    """Which of MODELS it is; fails where labels and model are not of the same one."""
    (label,) = bundle.labels
    assert bundle.read_model() == MODELS[label]
    return label


def state(root: Path) -> tuple[str, str, str | None]:
    """What is installed as `main`, what runs, and what a rollback would bring; fails when anything is half done."""
    store = Store(root, shipped=root.parent / "none")
    hidden = [str(path) for path in root.rglob(".*")]
    assert not hidden, f"left behind: {hidden}"
    previous = store.previous("main")
    current = content(store.current("main"))
    if previous is not None:
        assert previous.id != store.current("main").id
    for bundle in store.versions():
        content(bundle)
    return content(store.find("main")), current, None if previous is None else content(previous)


SCENES: dict[str, tuple[str, Callable[[Store], object]]] = {
    "replace": ("b", lambda store: add(store, "b")),
    "first promotion": ("", lambda store: promote(store, "b")),
    "promotion": ("b", lambda store: promote(store, "c")),
    "promotion of an older one": ("ba", lambda store: promote(store, "b")),
    "rollback": ("bc", lambda store: store.rollback("main")),
}
"""What was promoted before, and the change that is interrupted."""


def killed_child(store: Store, change: Callable[[Store], object], step: int) -> bool:
    """Run a change in a child that dies at a step of it; whether it was killed before its end."""
    child = os.fork()
    if child == 0:
        die_at(step)
        change(store)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def die_at(step: int) -> None:
    """Have this process killed just before its `step`-th change on disk."""
    count = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    for name in ("fsync", "mkdir", "rename", "replace", "symlink", "unlink", "rmdir", "utime", "open"):
        setattr(os, name, counted(getattr(os, name)))
    for name in ("rename", "replace", "symlink_to", "open"):
        setattr(Path, name, counted(getattr(Path, name)))


def every_step(root: Path) -> None:
    """Kill each scene at each of its steps: afterwards it is the old or the new."""
    for name, (promoted, change) in SCENES.items():
        outcomes, begun = set(), root / name
        store = Store(begun, shipped=root / "none")
        add(store, "a")
        for version in promoted:
            promote(store, version)
        before = state(begun)
        for step in range(1, 1000):
            place = root / f"{name}-{step}"
            shutil.copytree(begun, place, symlinks=True)  # making it anew would flush the disk twenty times
            killed = killed_child(Store(place, shipped=root / "none"), change, step)
            after = state(place)
            outcomes.add(after)
            if not killed:
                assert after != before, name
                assert outcomes == {before, after}, (name, outcomes)
                break
        else:
            raise AssertionError(f"{name} takes no end")
        print(f"{name}: {step} steps")


def at_random(root: Path, rounds: int) -> None:
    """Kill a writer that never stops, at any moment."""
    chance = random.Random(0)
    place = root / "random"
    add(Store(place, shipped=root / "none"), "a")
    for _ in range(rounds):
        child = os.fork()
        if child == 0:
            store = Store(place, shipped=root / "none")
            for count in range(NEVER):
                name = "abc"[count % 3]
                promote(store, name)
                add(store, name)
                store.prune(2)
        time.sleep(chance.uniform(0.001, 0.08))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        state(place)


if __name__ == "__main__":
    every_step(Path(sys.argv[1]))
    at_random(Path(sys.argv[1]), rounds=30)
