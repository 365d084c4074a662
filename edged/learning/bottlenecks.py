"""Images → bottlenecks: what the network below the head makes of an image, computed once and kept in the image store.

`Backbone` is that network, and names what is kept of it. `make_view` varies a training image (`--augment`). `complete`
computes what is missing, on several threads, and keeps it as it comes, so that a kill costs a second's work.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from edged.codec import decode, read_file
from edged.errors import ImageError, ModelError
from edged.images import Embedding, variant
from edged.vision.graph import read_graph
from edged.vision.network import Network, Runtime

if TYPE_CHECKING:
    from edged.images import ImageStore, LabeledImage
    from edged.store import Bundle
    from edged.types import Image
    from edged.vision.network import Bottlenecks
    from edged.vision.quantization import Affine

TRAINING_CROP = 1.0
"""Share of an image's shorter side that a training looks at: all of it. On flower photos this is 0.4 points better in
cross-validation than the 0.875 that ImageNet evaluation, and so most installed models, ask for. The new bundle's
manifest says so to the daemon.

A frame that the device kept while an installed model answered has its bottleneck under that model's crop, and it is
taken as it is: on flower photos, a third of the training and validation images of the other crop cost 0.4 ± 0.15 points
(MobileNetV2) and 0.2 ± 0.1 (EfficientNet-Lite0) of five seeds, and nothing that shows with 300 training images."""

_COMMIT_S = 1.0
"""How often bottlenecks are committed."""
_TELL_S = 0.1
"""How often progress is told."""

# -- views of a training image -----------------------------------------------------------------------------------------

View = Literal["plain", "flip", "crop", "brightness"]
AUGMENTED: tuple[View, ...] = ("plain", "flip", "crop", "brightness")
"""The views of `--augment`; images that judge are always looked at in the first one."""
_LEAST_SIDE = 0.75
"""The smallest part of an image's side that a view shows."""
_LEAST_GAIN, _GREATEST_GAIN = 0.6, 1.5
"""How much darker and brighter a view may be."""


def make_view(image: Image, view: View, seed: int) -> Image:
    """Return one view of an image, to be prepared for the network like the image itself.

    Args:
        image: RGB, (height, width, 3) uint8.
        view: "plain" returns the image; "flip" mirrors left and right; "crop" cuts out a window with 75..95 % of each
            side, anywhere, mirrored every other time; "brightness" multiplies by 0.6..1.5 and saturates.
        seed: Seed of the random choices, e.g. from the image's hash: the same seed gives the same view.

    Returns:
        RGB uint8, contiguous; of the same size but for "crop".
    """
    random = np.random.default_rng([seed, AUGMENTED.index(view)])
    if view == "flip":
        return np.ascontiguousarray(image[:, ::-1])
    if view == "crop":
        rows, columns = image.shape[:2]
        side = random.uniform(_LEAST_SIDE, 0.95)
        height, width = max(1, round(rows * side)), max(1, round(columns * side))
        top, left = int(random.integers(rows - height + 1)), int(random.integers(columns - width + 1))
        window = image[top : top + height, left : left + width]
        return np.ascontiguousarray(window[:, ::-1] if random.random() < 0.5 else window)
    if view == "brightness":
        gain = np.exp(random.uniform(np.log(_LEAST_GAIN), np.log(_GREATEST_GAIN)))
        # A table of 256 values: no float copy of the image.
        table = np.clip(np.rint(np.arange(256) * gain), 0, 255).astype(np.uint8)
        return np.asarray(table[image], np.uint8)
    return image


# -- the network -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Backbone:
    """The network below the head of a bundle's model: makes bottlenecks.

    Attributes:
        bundle: The bundle.
        model: Content of its .tflite file, with the bottleneck as its second output.
        features: Width of the bottleneck.
        affine: Scale and zero point of the bottleneck's bytes.
        dtype: Type of the bottleneck's bytes.
        runtime: The interpreter that runs it.
        crop: Share of the shorter side that the network sees of an image, and later of live frames.
    """

    bundle: Bundle
    model: bytes
    features: int
    affine: Affine
    dtype: Literal["uint8", "int8"]
    runtime: Runtime
    crop: float

    @classmethod
    def of(cls, bundle: Bundle, runtime: Runtime, *, crop: float = TRAINING_CROP) -> Backbone:
        """Read the bundle's model and give it the bottleneck as a second output.

        Args:
            bundle: The bundle whose model is read.
            runtime: The interpreter that shall run it.
            crop: Share of the shorter side that the network shall see of an image.

        Raises:
            ModelError: It is damaged, or no quantized classifier.
        """
        try:
            graph = read_graph(bundle.read_model())
            dtype: Literal["uint8", "int8"] = "uint8" if graph.bottleneck_dtype == "uint8" else "int8"
            model = graph.expose_bottleneck()
        except ModelError as error:
            raise ModelError(f"{bundle.name}: {error}") from error
        return cls(bundle, model, graph.head.features, graph.bottleneck_quantization, dtype, runtime, crop)

    @property
    def sha256(self) -> str:
        """Hash of the model that was installed with this backbone: all that are retrained from it share bottlenecks."""
        return self.bundle.manifest.backbone_sha256

    def variant(self, view: View) -> str:
        """Return the name under which the image store keeps a view's bottlenecks, e.g. "crop=1,flip"."""
        plain = variant(self.crop)
        return plain if view == "plain" else f"{plain},{view}"

    @property
    def live_variant(self) -> str | None:
        """Return the name of the plain view as live frames had it, None where that is the plain view of a training."""
        live = variant(self.bundle.manifest.input.crop)
        return None if live == self.variant("plain") else live

    def smallest_crop(self, views: tuple[View, ...]) -> float:
        """Return the smallest crop that any of the views cuts out of an image."""
        return self.crop * (_LEAST_SIDE if "crop" in views else 1.0)

    def network(self) -> Network:
        """Make a network of one thread, for one thread."""
        return Network(self.model, runtime=self.runtime, threads=1, crop=self.crop)

    def prepare(self, network: Network, image: Image, view: View, sha256: str) -> Image:
        """Make the network's input from a view of an image, with the image's hash as the view's seed."""
        if view == "plain":
            return network.prepare(image)
        return network.prepare(make_view(image, view, int(sha256[:8], 16)))

    def row(self, sha256: str, view: View, bottleneck: Bottlenecks) -> Embedding:
        """Return a bottleneck as the image store keeps it."""
        scale, zero_point = self.affine
        return Embedding(
            sha256, self.sha256, self.variant(view), bottleneck.tobytes(), self.dtype, float(scale), int(zero_point)
        )

    def array(self, rows: list[bytes]) -> Bottlenecks:
        """Return kept bottlenecks as (n, features) of the bottleneck's type."""
        joined = b"".join(rows)
        if self.dtype == "uint8":
            return np.frombuffer(joined, np.uint8).reshape(len(rows), self.features)
        return np.frombuffer(joined, np.int8).reshape(len(rows), self.features)


# -- computing and keeping ---------------------------------------------------------------------------------------------


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
    idle: list[Network] | None = None,
) -> list[Unreadable]:
    """Compute and keep the bottlenecks that are missing.

    Args:
        store: Where bottlenecks are kept.
        images: The images whose bottlenecks are wanted.
        views: Returns the views of an image that are wanted.
        backbone: The network that makes the bottlenecks.
        workers: Number of threads.
        tell: Called with the number of images that are done, and of all.
        idle: Networks of this backbone that are open; more are opened as needed, and all of them are there afterwards.

    Returns:
        Images that could not be read.

    Raises:
        ModelError: The network fails.
        StorageError: The index of the image store fails.
    """
    tasks = missing(store, images, views, backbone)
    unreadable: list[Unreadable] = []
    rows: list[Embedding] = []
    committed = time.monotonic()
    done = len(images) - len(tasks)
    tell(done, len(images))
    told = 0.0
    try:
        for result in extract(tasks, backbone, workers=workers, idle=idle):
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
    """Return what there is to do: for each image the views whose bottlenecks are not kept yet; see `complete`."""
    each = [views(image) for image in images]
    have = {
        view: store.embedded(backbone.sha256, backbone.variant(view))
        for view in sorted({view for some in set(each) for view in some})
    }
    if "plain" in have and backbone.live_variant is not None:
        live = store.embedded(backbone.sha256, backbone.live_variant)
        have["plain"] |= {image.sha256 for image in images if image.kept and image.sha256 in live}
    return [
        Task(image.sha256, image.path, tuple(view for view in some if image.sha256 not in have[view]))
        for image, some in zip(images, each, strict=True)
        if not all(image.sha256 in have[view] for view in some)
    ]


def extract(
    tasks: Sequence[Task], backbone: Backbone, *, workers: int, idle: list[Network] | None = None
) -> Iterator[list[Embedding] | Unreadable]:
    """Yield the bottlenecks of every task, in the order in which they are ready.

    Decoding and invoking release the interpreter's lock, so threads are enough. Closing the generator ends them after
    the image at hand. `idle` is that of `complete`.

    Raises:
        ModelError: The network cannot be made, or fails.
    """
    todo: queue.SimpleQueue[Task] = queue.SimpleQueue()
    for task in tasks:
        todo.put(task)
    done: queue.SimpleQueue[list[Embedding] | Unreadable | BaseException | None] = queue.SimpleQueue()
    ended = threading.Event()

    def work() -> None:
        one = None
        try:
            one = _Worker(backbone, idle)
            while not ended.is_set() and (some := _take(todo, one.network.batch)):
                for result in one.bottlenecks(some):
                    done.put(result)
            done.put(None)
        except BaseException as error:  # noqa: BLE001 - the top of a thread; raised again by the consumer
            done.put(error)
        finally:
            if idle is not None and one is not None:
                idle.append(one.network)

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
    """A thread and the network that is its own meanwhile."""

    def __init__(self, backbone: Backbone, idle: list[Network] | None) -> None:
        self._backbone = backbone
        try:
            self.network = (idle or []).pop()  # a list's own pop: two threads never get the same one
        except IndexError:
            self.network = backbone.network()

    def bottlenecks(self, tasks: Sequence[Task]) -> Iterator[list[Embedding] | Unreadable]:
        """Yield what is made of each task, in their order."""
        prepared = [self._prepared(task) for task in tasks]
        views = [view for each in prepared if not isinstance(each, Unreadable) for view in each]
        made = iter(self.network.embed_all(views) if views else ())
        for task, each in zip(tasks, prepared, strict=True):
            if isinstance(each, Unreadable):
                yield each
            else:
                yield [self._backbone.row(task.sha256, view, next(made)) for view in task.views]

    def _prepared(self, task: Task) -> list[Image] | Unreadable:
        """Return the network's input from each view of an image."""
        network, backbone = self.network, self._backbone
        try:
            crop = backbone.smallest_crop(task.views)
            image = decode(read_file(task.path), (network.width, network.height), crop=crop)
        except FileNotFoundError:
            return Unreadable(task, "is gone")
        except ImageError as error:
            return Unreadable(task, str(error))
        return [backbone.prepare(network, image, view, task.sha256) for view in task.views]


def _take(todo: queue.SimpleQueue[Task], most: int) -> list[Task]:
    """Return the next tasks; fewer than `most` where no more are left."""
    taken: list[Task] = []
    with suppress(queue.Empty):
        while len(taken) < most:
            taken.append(todo.get_nowait())
    return taken


def _keep(store: ImageStore, rows: list[Embedding]) -> list[Embedding]:
    """Commit rows; return an empty list to go on with."""
    if rows:
        store.put_embeddings(rows)
    return []
