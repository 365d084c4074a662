"""What answers frames: a bundle from the store and the network made from it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edged.errors import ModelError
from edged.store import FAMILIARITY, LABELS
from edged.vision.familiarity import Familiarity
from edged.vision.network import Network

if TYPE_CHECKING:
    from edged.settings import ModelSettings
    from edged.store import Bundle
    from edged.types import Image, Inference
    from edged.vision.network import Outputs

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """A bundle, ready to classify. Only the main thread calls `invoke`; the rest may run on any.

    Attributes:
        bundle: What was opened.
        network: Runs its model.
        familiarity: Tells how alike a frame is to what it was taught; None: it does not know, or nobody wants to.
        trouble: Why this answers and not what is configured, one line; None: it is what is configured.
    """

    bundle: Bundle
    network: Network
    familiarity: Familiarity | None = None
    trouble: str | None = None

    def prepare(self, image: Image) -> Image:
        """Make the network's input from an RGB frame of any size."""
        return self.network.prepare(image)

    def prepare_region(self, image: Image) -> Image:
        """Make the network's input from what is cut out of a frame: there may be many, and they shall take no time."""
        return self.network.prepare(image, quick=True)

    def invoke(self, prepared: Image, image: Image | None = None) -> Outputs:  # noqa: ARG002 - for engines of several networks
        """Run the network; ModelError when the runtime fails. `image` is what `prepared` was made from."""
        return self.network.invoke(prepared)

    def decode(self, outputs: Outputs) -> Inference:
        """Make real numbers from what an invocation left; on the publisher's thread."""
        return self.network.decode(outputs)

    def witness(self, outputs: Outputs) -> Engine:  # noqa: ARG002 - as in `invoke`
        """Return the engine of the network whose embedding `decode` gives."""
        return self


def load_engine(bundle: Bundle, settings: ModelSettings) -> Engine:
    """Read a bundle's model and make it ready.

    Raises:
        ModelError: The bundle is damaged, no classifier, or has another number of labels than outputs.
    """
    begin = time.monotonic()
    model = bundle.read_model()
    try:
        network = Network(
            model,
            runtime=settings.engine,
            threads=settings.threads,
            crop=bundle.manifest.input.crop,
            outputs=bundle.manifest.outputs,
        )
    except ModelError as error:
        raise ModelError(f"{bundle.file}: {error}") from error
    if network.classes != len(bundle.labels):
        raise ModelError(
            f"{bundle.path / LABELS}: {len(bundle.labels)} labels for a model with {network.classes} outputs"
        )
    log.info(
        "model %s (%s) ready on %s after %.0f ms",
        bundle.name,
        bundle.id,
        network.runtime,
        (time.monotonic() - begin) * 1e3,
        extra={"MODEL": bundle.id},
    )
    return Engine(bundle, network, read_familiarity(bundle, network.features) if settings.unknown else None)


def read_familiarity(bundle: Bundle, features: int) -> Familiarity | None:
    """Return what tells how alike a frame is to what a network was taught; what is damaged is told and left out."""
    data = bundle.read_familiarity()
    if data is None:
        log.info("model %s (%s) does not know what it was taught: it calls no frame unknown", bundle.name, bundle.id)
        return None
    try:
        return Familiarity.decode(data, features)
    except ModelError as error:
        log.error("%s: %s; no frame will be called unknown", bundle.path / FAMILIARITY, error)
        return None
