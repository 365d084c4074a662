"""Fitted selections on disk: `<state_dir>/premodels/<name>/` with JSON, plain arrays and the report; never a pickle."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edged.errors import ConfigError, ModelError
from edged.selection.cascade import Cascade, Stage
from edged.selection.pool import fingerprint
from edged.selection.premodels import KINDS, Premodel
from edged.selection.strategy import ByCascade, ByPremodel
from edged.store import durable, read_bundle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.selection.strategy import Strategy
    from edged.settings import Settings
    from edged.store import Bundle, Store

    Arrays = dict[str, NDArray[Any]]

MANIFEST, ARRAYS, REPORT, CURVE = "manifest.json", "arrays.npz", "report.json", "curve.svg"
_DAMAGE = (
    OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError, RuntimeError,
    SyntaxError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What JSON, zipfile and numpy raise for files in which anything may stand."""
_VERSION = 2
"""1: cascades with a logistic regression and a threshold for each stage."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted selection.

    Attributes:
        name: Of its folder.
        networks: Names of the pool, cheapest first.
        ids: Their bundles' ids.
        labels: Fingerprint of the common labels.
        strategies: By name.
        chosen: "premodel", "cascade" or "learned" → name of the strategy that stands for it.
        decisions_ms: By name.
        feature_ms: By feature.
        points: By name: per operating point {"top1", "mean_ms"}.
    """

    name: str
    networks: tuple[str, ...]
    ids: tuple[str, ...]
    labels: str
    strategies: dict[str, Strategy]
    chosen: dict[str, str]
    decisions_ms: dict[str, float]
    feature_ms: dict[str, float]
    points: dict[str, list[dict[str, float]]]

    def bundles(self, store: Store) -> list[Bundle]:
        """Find the pool's networks.

        Raises:
            ConfigError: One is no longer installed, or another network has its name now.
            ModelError: One is damaged.
        """
        by_id = {bundle.id: bundle for bundle in [*store.versions(), *store.installed()]}
        for name, id_ in zip(self.networks, self.ids, strict=True):
            if id_ not in by_id:
                for folder in store.folders():
                    if folder.name in (name, id_):
                        read_bundle(folder)  # raises what is wrong with it
                raise ConfigError(
                    f"premodel {self.name} was fitted for {name} ({id_}), which is not installed any more; "
                    "install it again, or fit anew with `edged premodel train`"
                )
        return [by_id[id_] for id_ in self.ids]


def witnesses(settings: Settings, store: Store, current: Bundle) -> list[Bundle]:
    """Return the networks that tell whether a frame shows something unknown: where one is blind, so is the device.

    The first network of a cascade sees every frame; other strategies ask one or another.

    Args:
        settings: The whole configuration.
        store: Where the networks are.
        current: The model that answers where no strategy does.

    Raises:
        ConfigError: Nothing is fitted, or a network is gone.
        ModelError: What was fitted is damaged.
    """
    wanted = settings.selection
    if wanted.strategy == "none":
        return [current]
    fitted = load(settings.storage.state_dir, wanted.premodel)
    if fingerprint(current.labels) != fitted.labels:
        return [current]
    strategy, bundles = fitted.strategies[fitted.chosen[wanted.strategy]], fitted.bundles(store)
    asked = strategy.networks[:1] if isinstance(strategy, ByCascade) else strategy.networks
    return [bundles[index] for index in asked]


def folder_of(state_dir: Path, name: str) -> Path:
    """Return where a selection lies."""
    return state_dir / "premodels" / name


def save(fitted: Fitted, report: Mapping[str, Any], curve: str, state_dir: Path) -> Path:
    """Write a fitted selection in place of an older one of its name: wholly or not at all.

    Raises:
        ModelError: It cannot be written.
    """
    arrays: dict[str, Any] = {}  # Arrays; numpy 2's stubs could take one for its own keyword, which is no array
    strategies = {name: _encode(name, strategy, arrays) for name, strategy in fitted.strategies.items()}
    plain = {field.name: getattr(fitted, field.name) for field in dataclasses.fields(fitted)}
    manifest = {"v": _VERSION, **plain, "strategies": strategies}
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    path = folder_of(state_dir, fitted.name)
    files = {
        MANIFEST: _json({**manifest, "sha256": _digest(manifest, packed.getvalue())}),
        ARRAYS: packed.getvalue(),
        REPORT: _json(report),
        CURVE: curve.encode(),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.clear(path.parent)
        durable.write_folder(path, files, aside=_aside(path))
    except OSError as error:
        raise ModelError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def load(state_dir: Path, name: str) -> Fitted:
    """Read a fitted selection.

    Raises:
        ConfigError: There is none of this name.
        ModelError: It is damaged.
    """
    path = _existing(state_dir, name)
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        if manifest["v"] != _VERSION:
            raise ModelError(f"{path}: of another version of edged; fit it again with `edged premodel train`")
        packed = (path / ARRAYS).read_bytes()  # read here: numpy leaves a file that is no archive open
        # One of an older edged has none. A number that has changed would be found out by a frame, or by nobody.
        if (written := manifest.pop("sha256", None)) is not None and written != _digest(manifest, packed):
            raise ValueError("not what was written")
        del manifest["v"]
        with np.load(io.BytesIO(packed), allow_pickle=False) as file:
            arrays = dict(file)
        strategies = {each: _decode(each, tree, arrays) for each, tree in manifest.pop("strategies").items()}
        manifest["networks"], manifest["ids"] = tuple(manifest["networks"]), tuple(manifest["ids"])
        return Fitted(strategies=strategies, **manifest)
    except _DAMAGE as error:
        raise ModelError(
            f"{path}: damaged ({type(error).__name__}); fit it again with `edged premodel train`"
        ) from error


def load_report(state_dir: Path, name: str) -> dict[str, Any]:
    """Read the report that was made when it was fitted. Raises as `load`."""
    path = _existing(state_dir, name) / REPORT
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: damaged; fit it again with `edged premodel train`") from error


def _existing(state_dir: Path, name: str) -> Path:
    path = folder_of(state_dir, name)
    if _aside(path).is_dir() and not path.is_dir():  # a replacement was cut off between its two renames
        path = _aside(path)
    if not path.is_dir():
        raise ConfigError(
            f"no premodel {name!r} is fitted here; run `edged premodel train --images DIR --labels CSV` first"
        )
    return path


def _aside(path: Path) -> Path:
    return path.with_name(f".old.{path.name}")


def _json(tree: Mapping[str, Any]) -> bytes:
    return (json.dumps(tree, indent=1, ensure_ascii=False) + "\n").encode()


def _digest(manifest: Mapping[str, Any], packed: bytes) -> str:
    """Return the sha256 of what is written, by which one changed bit is found: of the JSON's values, and the arrays."""
    plain = json.dumps(json.loads(_json(manifest)), sort_keys=True)
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass") + b"\0" + packed).hexdigest()


def _encode(name: str, strategy: Strategy, arrays: Arrays) -> dict[str, Any]:
    if isinstance(strategy, ByPremodel):
        premodel = strategy.premodel
        arrays[f"{name}/low"], arrays[f"{name}/span"] = premodel.low, premodel.span
        for field in dataclasses.fields(KINDS[premodel.kind]):
            arrays[f"{name}/{field.name}"] = getattr(premodel.classifier, field.name)
        return {"premodel": premodel.kind, "names": list(premodel.names), "pool": list(premodel.pool)}
    if not isinstance(strategy, ByCascade):
        raise TypeError(f"{name}: not a fitted strategy")
    cascade = strategy.cascade
    return {
        "stages": [dataclasses.asdict(stage) for stage in cascade.stages],
        # JSON knows no infinity: null stands for "never ask the next network".
        "thresholds": [each if np.isfinite(each) else None for each in cascade.thresholds],
        "default": cascade.default,
        "accurate": cascade.accurate,
        "efforts": list(cascade.efforts),
        "doubts": list(cascade.doubts),
        "understated": list(cascade.understated),
    }


def _decode(name: str, tree: Mapping[str, Any], arrays: Arrays) -> Strategy:
    if "premodel" in tree:
        kind = KINDS[tree["premodel"]]
        classifier = kind(**{field.name: arrays[f"{name}/{field.name}"] for field in dataclasses.fields(kind)})
        low, span = arrays[f"{name}/low"], arrays[f"{name}/span"]
        return ByPremodel(Premodel(tree["premodel"], tuple(tree["names"]), low, span, tuple(tree["pool"]), classifier))
    return ByCascade(
        Cascade(
            tuple(Stage(stage["network"], tuple(stage["weights"]), stage["next_cost"]) for stage in tree["stages"]),
            tuple(np.inf if each is None else each for each in tree["thresholds"]),
            tree["default"],
            tree["accurate"],
            tuple(tree["efforts"]),
            tuple(tree["doubts"]),
            tuple(tree["understated"]),
        )
    )
