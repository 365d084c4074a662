"""The network below the head: what makes bottlenecks, and under which name they are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from edged.errors import ModelError
from edged.images import Embedding, variant
from edged.learning.augment import View, make_view
from edged.vision.graph import Graph
from edged.vision.network import Network, Runtime

if TYPE_CHECKING:
    from edged.store import Bundle
    from edged.types import Image
    from edged.vision.network import Bottlenecks
    from edged.vision.quantization import Affine

TRAINING_CROP = 1.0
"""Images are trained on up to their short side: on flower photos 0.4 points better in cross-validation than the 0.875
that ImageNet evaluation, and so most installed models, ask for. The new bundle's manifest says so to the daemon.

A frame that the device kept while an installed model answered has its bottleneck under that model's crop, and it is
taken as it is: on flower photos, a third of the training and validation images of the other crop cost 0.4 ± 0.15 points
(MobileNetV2) and 0.2 ± 0.1 (EfficientNet-Lite0) of five seeds, and nothing that shows with 300 training images."""

_NARROWEST = 0.75
"""The smallest part of an image's side that a view shows, see `augment.make_view`."""


@dataclass(frozen=True)
class Backbone:
    """A bundle, seen as a maker of bottlenecks.

    Attributes:
        bundle: Where it comes from.
        model: Content of its .tflite file, with the bottleneck as its second output.
        sha256: Of the un-retrained model with this backbone: retrained ones share their bottlenecks.
        features: Width of the bottleneck.
        affine, dtype: What its bytes mean.
        runtime: Which interpreter.
        crop: The centre crop that images, and later live frames, get.
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
        """Read the bundle's model.

        Raises:
            ModelError: It is damaged, or no quantized classifier.
        """
        try:
            graph = Graph(bundle.read_model())
            dtype: Literal["uint8", "int8"] = "uint8" if graph.bottleneck_dtype == "uint8" else "int8"
            model = graph.expose_bottleneck()
        except ModelError as error:
            raise ModelError(f"{bundle.name}: {error}") from error
        return cls(bundle, model, graph.head.features, graph.bottleneck_quantization, dtype, runtime, crop)

    @property
    def sha256(self) -> str:
        """Under which embeddings are kept."""
        return self.bundle.manifest.backbone_sha256

    def variant(self, view: View) -> str:
        """Return the name under which a view's embeddings are kept."""
        plain = variant(self.crop)
        return plain if view == "plain" else f"{plain},{view}"

    @property
    def live_variant(self) -> str | None:
        """Return the name of the plain view as live frames had it, None where that is the plain view of a training."""
        live = variant(self.bundle.manifest.input.crop)
        return None if live == self.variant("plain") else live

    def smallest_crop(self, views: tuple[View, ...]) -> float:
        """Return the smallest crop that any of the views cuts out of an image."""
        return self.crop * (_NARROWEST if "crop" in views else 1.0)

    def network(self) -> Network:
        """Make a network of one thread, for one thread."""
        return Network(self.model, runtime=self.runtime, threads=1, crop=self.crop)

    def prepare(self, network: Network, image: Image, view: View, sha256: str) -> Image:
        """Make the network's input from a view of an image; the image's hash is its seed."""
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
