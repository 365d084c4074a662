"""The pool: installed networks that name the same classes, ready to run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from edged.errors import ConfigError, ModelError
from edged.vision.network import Network

if TYPE_CHECKING:
    from edged.settings import ModelSettings
    from edged.store import Bundle, Store
    from edged.types import Image, Inference, Vector

BACKGROUND = "background"
"""Output 0 of networks with 1001 ImageNet classes; no frame's answer, and no part of the common classes."""


@dataclass(frozen=True, eq=False)
class Member:
    """A network of the pool.

    Attributes:
        name: The bundle's name; its id where two bundles share the name.
        bundle: Where it comes from.
        network: Ready to run.
        skipped: Outputs before the first common class.
        memory_mb: What the process grew by when it was loaded and run once.
    """

    name: str
    bundle: Bundle
    network: Network
    skipped: int
    memory_mb: float

    def common(self, inference: Inference) -> Vector:
        """Return the scores (classes,) in the pool's common order of classes."""
        return inference.scores[self.skipped :]


def common_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Return a network's labels without the background class."""
    return tuple(labels[1:] if labels and labels[0] == BACKGROUND else labels)


def fingerprint(labels: Sequence[str]) -> str:
    """Return a short name of a label set: equal for equal common labels in equal order."""
    return hashlib.sha256("\n".join(common_labels(labels)).encode()).hexdigest()[:12]


def find_bundles(store: Store, names: Sequence[str], running: str) -> tuple[list[Bundle], list[Bundle]]:
    """Return the bundles of a pool, and those that were left out because they name other classes.

    Args:
        store: What is installed.
        names: Names or ids; empty: everything that names the same classes as the model that runs.
        running: `settings.model.name`.

    Raises:
        ModelError: One of the names is not installed.
        ConfigError: Named ones differ in their labels, or there are fewer than two.
    """
    left_out: list[Bundle] = []
    if names:
        bundles = [store.find(name) for name in names]
        for other in bundles[1:]:
            if fingerprint(other.labels) != fingerprint(bundles[0].labels):
                raise ConfigError(
                    f"selection.pool: {bundles[0].name} names {len(common_labels(bundles[0].labels))} classes and "
                    f"{other.name} {len(common_labels(other.labels))} other ones; a pool must share one label set, "
                    "in one order"
                )
    else:
        wanted = fingerprint(store.current(running).labels)
        everything = {bundle.id: bundle for bundle in [*store.versions(), *store.installed()]}
        bundles = [bundle for bundle in everything.values() if fingerprint(bundle.labels) == wanted]
        left_out = [bundle for bundle in everything.values() if fingerprint(bundle.labels) != wanted]
    bundles = list({bundle.id: bundle for bundle in bundles}.values())
    if len(bundles) < 2:
        names_of = ", ".join(bundle.name for bundle in bundles) or "none"
        raise ConfigError(
            f"selection.pool: at least two networks with the same labels are needed, here is {names_of}; "
            "`edged models pull` and `edged models add` install more"
        )
    return bundles, left_out


def member_names(bundles: Sequence[Bundle]) -> list[str]:
    """Return what to call each bundle: its name, or name and id where two share the name."""
    taken = [bundle.name for bundle in bundles]
    return [b.name if taken.count(b.name) == 1 else f"{b.name}-{b.id}" for b in bundles]


def open_member(bundle: Bundle, name: str, settings: ModelSettings, warm_up: Image) -> Member:
    """Load a network and run it once.

    Raises:
        ModelError: It is damaged, no classifier, or has another number of labels than outputs.
    """
    process = psutil.Process()
    before = process.memory_info().rss
    try:
        network = Network(
            bundle.read_model(),
            runtime=settings.engine,
            threads=settings.threads,
            crop=bundle.manifest.input.crop,
        )
        network.infer(network.prepare(warm_up))
    except ModelError as error:
        raise ModelError(f"{bundle.path}: {error}") from error
    if network.classes != len(bundle.labels):
        raise ModelError(f"{bundle.path}: {len(bundle.labels)} labels for a model with {network.classes} outputs")
    grown_mb = max(0.0, (process.memory_info().rss - before) / 1e6)
    return Member(name, bundle, network, len(bundle.labels) - len(common_labels(bundle.labels)), grown_mb)
