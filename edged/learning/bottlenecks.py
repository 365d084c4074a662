"""Images → bottlenecks: computed once on several threads, kept as they come, so that a kill costs a second's work."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edged.codec import decode, read_file
from edged.errors import ImageError
from edged.learning.augment import View

if TYPE_CHECKING:
    from edged.images import Embedding, ImageStore, LabeledImage
    from edged.learning.backbone import Backbone

_COMMIT_S = 1.0
_TELL_S = 0.1


@dataclass(frozen=True, slots=True)
class Task:
    """One image whose bottlenecks are wanted."""

    sha256: str
    path: Path
    views: tuple[View, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An image that has no bottleneck, and why."""

    task: Task
    reason: str


def complete(
    store: ImageStore,
    images: Sequence[LabeledImage],
    views: Callable[[LabeledImage], tuple[View, ...]],
    backbone: Backbone,
    *,
    workers: int,
    tell: Callable[[int, int], None],
) -> list[Unreadable]:
    """Compute and keep the bottlenecks that are missing.

    Args:
        store: Where they are kept.
        images: Whose.
        views: Which views of an image.
        backbone: Of which network.
        workers: Threads.
        tell: Called with how many images are done, and of how many.

    Returns:
        Images that could not be read.

    Raises:
        ModelError: The network fails.
        StorageError: The index fails.
    """
    tasks = missing(store, images, views, backbone)
    unreadable: list[Unreadable] = []
    rows: list[Embedding] = []
    committed = time.monotonic()
    done = len(images) - len(tasks)
    tell(done, len(images))
    told = 0.0
    try:
        for result in extract(tasks, backbone, workers=workers):
            done += 1
            if isinstance(result, Unreadable):
                unreadable.append(result)
            else:
                rows += result
            now = time.monotonic()
            if now - committed >= _COMMIT_S:
                rows, committed = _keep(store, rows), now
            if now - told >= _TELL_S:
                told = now
                tell(done, len(images))
    finally:
        _keep(store, rows)
    return unreadable


def missing(
    store: ImageStore,
    images: Sequence[LabeledImage],
    views: Callable[[LabeledImage], tuple[View, ...]],
    backbone: Backbone,
) -> list[Task]:
    """Return what there is to do: per image the views that were not computed yet."""
    have = {
        view: store.embedded(backbone.sha256, backbone.variant(view))
        for view in sorted({view for image in images for view in views(image)})
    }
    if "plain" in have and backbone.live_variant is not None:
        live = store.embedded(backbone.sha256, backbone.live_variant)
        have["plain"] |= {image.sha256 for image in images if image.kept and image.sha256 in live}
    wanted = (
        Task(image.sha256, image.path, tuple(view for view in views(image) if image.sha256 not in have[view]))
        for image in images
    )
    return [task for task in wanted if task.views]


def extract(tasks: Sequence[Task], backbone: Backbone, *, workers: int) -> Iterator[list[Embedding] | Unreadable]:
    """Yield the bottlenecks of every task, in the order in which they are ready.

    Decoding and invoking release the interpreter's lock, so threads are enough. Closing the generator ends them after
    the image at hand.

    Raises:
        ModelError: The network cannot be made, or fails.
    """
    todo: queue.SimpleQueue[Task] = queue.SimpleQueue()
    for task in tasks:
        todo.put(task)
    done: queue.SimpleQueue[list[Embedding] | Unreadable | BaseException | None] = queue.SimpleQueue()
    ended = threading.Event()

    def work() -> None:
        try:
            one = _Worker(backbone)
            while not ended.is_set():
                done.put(one.bottlenecks(todo.get_nowait()))
        except queue.Empty:
            done.put(None)
        except BaseException as error:  # noqa: BLE001 - the top of a thread; raised again by the consumer
            done.put(error)

    threads = [
        threading.Thread(target=work, name=f"bottlenecks-{number}", daemon=True)
        for number in range(min(workers, len(tasks)))
    ]
    for thread in threads:
        thread.start()
    try:
        running = len(threads)
        while running:
            item = done.get()
            if item is None:
                running -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                yield item
    finally:
        ended.set()
        for thread in threads:
            thread.join()


class _Worker:
    """What one thread owns."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._network = backbone.network()

    def bottlenecks(self, task: Task) -> list[Embedding] | Unreadable:
        network, backbone = self._network, self._backbone
        try:
            crop = backbone.smallest_crop(task.views)
            image = decode(read_file(task.path), (network.width, network.height), crop=crop)
        except FileNotFoundError:
            return Unreadable(task, "is gone")
        except ImageError as error:
            return Unreadable(task, str(error))
        return [
            backbone.row(task.sha256, view, network.embed(backbone.prepare(network, image, view, task.sha256)))
            for view in task.views
        ]


def _keep(store: ImageStore, rows: list[Embedding]) -> list[Embedding]:
    """Commit rows; returns an empty list to go on with."""
    if rows:
        store.put_embeddings(rows)
    return []
