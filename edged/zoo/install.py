"""From a .tflite file, brought or pulled, to an installed bundle that is known to run."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from edged.contract.topics import TopicLevel
from edged.errors import ConfigError, ModelError, NotInstalledError, first_mistake
from edged.store import FAMILIARITY
from edged.vision.detector_file import POSTPROCESS
from edged.vision.familiarity import Familiarity
from edged.zoo.archive import extract
from edged.zoo.catalogue import Entry, read_catalogue
from edged.zoo.examination import Examined, examine
from edged.zoo.fetch import Progress, fetch
from edged.zoo.known import known_familiarity

if TYPE_CHECKING:
    from edged.store import Bundle, Store
    from edged.types import Image
    from edged.vision.network import Runtime

log = logging.getLogger(__name__)


def install(
    store: Store,
    model: bytes,
    labels: Sequence[str],
    *,
    name: str,
    origin: str,
    crop: float = 0.875,
    source: str | None = None,
    licence: str | None = None,
    lineage: Mapping[str, Any] | None = None,
    familiarity: bytes | None = None,
    signature: str | None = None,
    replace: bool = False,
) -> Bundle:
    """Install a model after it has classified one image and its labels have been counted.

    Args:
        store: Where to.
        model: Content of a .tflite file.
        labels: One per output.
        name: One level of an MQTT topic.
        origin: What messages call the file.
        crop, source, licence, lineage, familiarity, signature, replace: See `Store.add`.

    Raises:
        ConfigError: The name or crop cannot be used, or the name is taken.
        ModelError: Not a quantized classifier, the runtime refuses it, labels and outputs do not match, disk full.
    """
    name = checked_name(name)
    if not 0 < crop <= 1:
        raise ConfigError(f"crop = {crop}: use a fraction above 0 and at most 1, e.g. 0.875")
    try:
        examined = examine(model, crop=crop)
    except NotInstalledError:
        raise
    except ModelError as error:
        hint = "; it looks like a detector, which --detector installs" if POSTPROCESS in model else ""
        raise ModelError(f"{origin}: {error}{hint}") from error
    _count_labels(origin, examined.classes, len(labels))
    if familiarity is not None:
        try:
            Familiarity.decode(familiarity, examined.features)
        except ModelError as error:
            raise ModelError(f"{origin}: {FAMILIARITY}: {error}") from error
    return store.add(
        model,
        labels,
        name=name,
        width=examined.width,
        height=examined.height,
        crop=crop,
        source=source,
        licence=licence,
        lineage={**(lineage or {}), "outputs": examined.outputs},
        familiarity=known_familiarity(model) if familiarity is None else familiarity,
        signature=signature,
        replace=replace,
    )


def pull(name: str, store: Store, progress: Progress | None = None, catalogue: Path | None = None) -> Bundle:
    """Download a model of the catalogue and install it; what is installed already is left as it is.

    Args:
        name: A key of the catalogue.
        store: Where to.
        progress: Told the bytes received so far and their total where known; starts again at 0 with each source.
        catalogue: Another file than the shipped `configs/zoo.toml`.

    Raises:
        ConfigError: There is no such entry, or another model of this name is installed.
        ModelError: No source delivered it, each with its reason; or it could not be installed. Nothing is left behind.
    """
    entries = read_catalogue(catalogue)
    if name not in entries:
        raise ConfigError(f"no model {name!r} can be pulled; there are: {', '.join(entries) or 'none'}")
    entry = entries[name]
    for bundle in store.installed():
        if bundle.path.name == name:
            if bundle.manifest.sha256 == entry.sha256:
                return bundle
            raise ConfigError(f"another model named {name} is installed; `edged models remove {name}` first")
    labels = entry.read_labels(catalogue)
    model, source = _download(name, entry, progress or (lambda _received, _total: None))
    return install(store, model, labels, name=name, origin=name, crop=entry.crop, source=source, licence=entry.licence)


def verify(bundle: Bundle, runtime: Runtime = "auto", frames: Sequence[Image] = ()) -> Examined:
    """Recompute a bundle's hash, let a child process classify images with it, count labels.

    Args:
        bundle: Which.
        runtime: On which interpreter.
        frames: RGB images of any size, beside a grey one and one of noise.

    Returns:
        What the child has seen of it.

    Raises:
        ModelError: One line that names the bundle and what is wrong.
    """
    bundle.read_model()  # its errors name the file
    told = bundle.manifest.input
    try:
        examined = examine(bundle.file, runtime=runtime, crop=told.crop, frames=frames)
    except ModelError as error:
        raise ModelError(f"{bundle.path}: {error}") from error
    _count_labels(str(bundle.path), examined.classes, len(bundle.labels))
    if (told.width, told.height) != (examined.width, examined.height):
        raise ModelError(
            f"{bundle.path}: the manifest says {told.width}×{told.height} pixels, the model "
            f"{examined.width}×{examined.height}"
        )
    return examined


def check_familiarity(bundle: Bundle, features: int) -> None:
    """Read what tells unknown things, where the bundle has it: a network runs without, and calls nothing unknown.

    Raises:
        ModelError: One line that names the file and what is wrong.
    """
    data = bundle.read_familiarity()
    if data is None:
        return
    try:
        Familiarity.decode(data, features)
    except ModelError as error:
        raise ModelError(f"{bundle.path / FAMILIARITY}: {error}; nothing will be called unknown") from error


def name_from_file(path: Path) -> str:
    """Return the name that a model gets from its file: the stem, with what a topic level cannot hold as `_`."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem).lstrip("_.-")[:64] or "model"


def checked_name(name: str) -> str:
    """Return a name that a model may have. Raises ConfigError for any other."""
    try:
        return TypeAdapter(TopicLevel).validate_python(name)
    except ValidationError as error:
        raise ConfigError(f"name {name!r}: {first_mistake(error).text}") from error


def _count_labels(origin: str, outputs: int, labels: int) -> None:
    if labels == outputs:
        return
    hint = ""
    if labels == outputs - 1:
        hint = "; one is missing: where output 0 is the background, put a line `background` first"
    elif labels == outputs + 1:
        hint = "; one is too many: where the first line is the background and the model has none, remove that line"
    raise ModelError(f"{origin}: {labels} labels for a model with {outputs} outputs{hint}")


def _download(name: str, entry: Entry, progress: Progress) -> tuple[bytes, str]:
    """Return the model's bytes and the source that delivered them."""
    failures = []
    for source in entry.sources:
        progress(0, None)
        try:
            with tempfile.TemporaryDirectory(prefix="edged-pull-", ignore_cleanup_errors=True) as folder:
                archive = fetch(source, Path(folder), progress)
                return extract(archive, entry.sha256, entry.bytes), str(source)
        except ModelError as error:
            failures.append(f"{source}: {error}")
        except OSError as error:  # the temporary folder itself
            failures.append(f"{source}: {error.strerror or error}")
        if source is not entry.sources[-1]:
            log.warning("%s: trying the next source: %s", name, failures[-1])
    raise ModelError(f"{name} cannot be pulled: {'; '.join(failures)}")
