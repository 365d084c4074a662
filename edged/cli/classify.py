"""`edged classify`: what the network sees in photos."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edged.cli.bundles import find_model
from edged.cli.options import add_config
from edged.errors import EdgedError, ImageError, ModelError
from edged.terminal.registry import Commands

if TYPE_CHECKING:
    from edged.settings import Settings
    from edged.types import LabelScore
    from edged.vision.familiarity import Familiarity
    from edged.vision.network import Network

_BAR = 20
"""Characters of a full bar."""
_WIDE = 60
"""Columns from which on there is room for it."""
_NOTHING = 0.0005
"""A score below it would be shown as 0.0 %."""


def register(commands: Commands) -> None:
    """Add `classify`."""
    parser = commands.add("classify", run)
    parser.add_argument("images", nargs="+", metavar="IMAGE", type=Path, help="JPEG, PNG, BMP or WebP")
    parser.add_argument(
        "--model", metavar="M", help="name or id of a model, a bundle's folder, or a .tflite file (default: what runs)"
    )
    parser.add_argument("--labels", type=Path, metavar="FILE", help="labels for a .tflite file (default: numbers)")
    parser.add_argument("--top", type=int, metavar="K", help="how many labels (default: model.top)")
    parser.add_argument("--json", action="store_true", help="one JSON object per image and line")
    add_config(parser)
    parser.add_argument("--runtime", metavar="R", help="auto, litert, tflite_runtime or onnx (default: model.runtime)")
    parser.add_argument("--threads", type=int, metavar="N", help="for one inference (default: model.threads)")


def run(args: argparse.Namespace) -> int:
    """Classify photos.

    With the model that runs, or another one.

    Examples:
      edged classify photo.jpg
      edged classify --model inception_v3 --top 3 --json photos/*.jpg
    """
    from edged.cli.state import look_at_device
    from edged.codec import read_image
    from edged.terminal.text import note
    from edged.vision.scores import top_k

    flags = {key: value for key in ("top", "runtime", "threads") if (value := getattr(args, key)) is not None}
    configuration = look_at_device(args.config, {"model": flags} if flags else None)
    limit = configuration.model.unknown
    name, network, labels, known = _open_model(args.model, args.labels, configuration)
    failed = 0
    for path in args.images:
        shown = os.fsencode(path).decode(errors="replace")
        try:
            if path.is_dir():
                raise ImageError(f"{shown}: is a folder; name the photos in it, e.g. {shown}/*.jpg")
            times = [time.perf_counter_ns()]
            image = read_image(path, name=shown)
            times.append(time.perf_counter_ns())
            prepared = network.prepare(image)
            times.append(time.perf_counter_ns())
            inference = network.infer(prepared)
        except EdgedError as error:
            failed += 1
            note("edged", str(error))
            continue
        top = top_k(inference.scores, labels, configuration.model.top)
        familiarity = None if known is None else known.familiarity(known.score(inference.embedding))
        unknown = familiarity is not None and familiarity < limit
        if args.json:
            steps = [(after - before) / 1e6 for before, after in itertools.pairwise(times)]
            _print_json(shown, name, top, [*steps, inference.invoke_ms], familiarity, unknown)
        else:
            _print_bars(shown, top, familiarity if unknown else None, limit)
    return 1 if failed else 0


def _open_model(
    wanted: str | None, labels_file: Path | None, configuration: Settings
) -> tuple[str, Network, Sequence[str], Familiarity | None]:
    """Return what to call the model, the network, its labels, and what tells unknown things where that is wanted."""
    from edged.store import FAMILIARITY, read_labels
    from edged.terminal.text import note
    from edged.vision.familiarity import Familiarity
    from edged.vision.network import Network

    found, settings = find_model(wanted, configuration), configuration.model
    origin = found.folder or found.file
    try:
        network = Network(found.content, runtime=settings.engine, threads=settings.threads, crop=found.crop)
    except ModelError as error:
        raise ModelError(f"{origin}: {error}") from error
    labels = list(found.labels) or [str(number) for number in range(network.classes)]
    if labels_file is not None:
        labels = list(read_labels(labels_file))
    if len(labels) != network.classes:
        raise ModelError(f"{labels_file or origin}: {len(labels)} labels for a model with {network.classes} outputs")
    known = None
    if found.familiarity is not None and settings.unknown:
        try:
            known = Familiarity.decode(found.familiarity, network.features)
        except ModelError as error:
            note("edged", f"{FAMILIARITY} of {found.name}: {error}; nothing will be called unknown")
    return found.id or found.name, network, labels, known


def _print_json(
    file: str,
    model: str,
    top: Sequence[LabelScore],
    times_ms: Sequence[float],
    familiarity: float | None,
    unknown: bool,
) -> None:
    from edged.contract.messages import UNKNOWN

    capture, preprocess, invoke = times_ms
    line = {
        "file": file,
        "model": model,
        "label": UNKNOWN if unknown else top[0].label,
        "score": round(top[0].score, 6),
        **({} if familiarity is None else {"familiarity": round(familiarity, 4)}),
        "top": [{"label": each.label, "score": round(each.score, 6)} for each in top],
        "latency_ms": {
            "capture": round(capture, 3),
            "preprocess": round(preprocess, 3),
            "invoke": round(invoke, 3),
            "total": round(capture + preprocess + invoke, 3),
        },
    }
    print(json.dumps(line, ensure_ascii=False), flush=True)


def _print_bars(file: str, top: Sequence[LabelScore], strange: float | None = None, limit: float = 0.0) -> None:
    """Print a line per label, but none for those of which nothing is left after rounding; no bar where it is narrow.

    Args:
        file: What to call the photo.
        top: Best first.
        strange: The familiarity of a photo that shows nothing taught; None: it does.
        limit: A familiarity below it is strange.
    """
    print(file)
    if strange is not None:
        print(f"  unknown: familiarity {strange:.1%}, the limit is {limit:.1%}; it looks most like")
    wide = shutil.get_terminal_size().columns >= _WIDE
    for place, each in enumerate(top):
        if place and each.score < _NOTHING:
            break
        bar = f"{'█' * round(each.score * _BAR):<{_BAR}}  " if wide else ""
        print(f"  {each.score:6.1%}  {bar}{each.label}")
