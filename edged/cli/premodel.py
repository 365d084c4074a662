"""Fit which network answers which frame, and show what that reaches.

Chooses among several networks by frame: fitted to labeled photos, shown as a measured table.

Examples:
  edged premodel train --images photos/
  edged premodel report
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.cli.options import add_config, write_drawing
from edged.errors import ConfigError
from edged.terminal.options import seed
from edged.terminal.registry import Commands

if TYPE_CHECKING:
    from edged.lab.selection import Measurements, Progress
    from edged.selection.pool import Member
    from edged.settings import Settings
    from edged.store import Bundle, Store
    from edged.terminal.progress import Tell


_PLAIN_WIDTH = 180
"""Columns where there is no terminal."""


def register(commands: Commands) -> None:
    """Add `premodel` and its subcommands."""
    family = commands.family("premodel", __doc__, add_common=_add_common)
    train = family.add("train", _train)
    train.add_argument("--images", type=Path, required=True, metavar="DIR", help="the photos")
    train.add_argument("--folds", type=int, default=10, metavar="K", help="of the cross-validation (%(default)s)")
    train.add_argument("--seed", type=seed, default=0, metavar="N", help="of the folds (%(default)s)")
    report = family.add("report", _report)
    report.add_argument(
        "--images", type=Path, metavar="DIR", help="measure on these photos (default: cross-validated on the training)"
    )
    report.add_argument("--json", action="store_true", help="one JSON object")


def _add_common(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--name", metavar="NAME", help="of the premodel (default: selection.premodel)")
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="CSV",
        help="columns file, class_index, label (default: labels.csv in the folder)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="for one inference (default: model.threads)")
    parser.add_argument("--curve", type=Path, metavar="FILE.svg", help="draw the accuracy/cost curve there too")


def _train(args: argparse.Namespace) -> int:
    """Fit every strategy to labeled photos.

    Examples:
      edged premodel train --images photos/ --labels photos/labels.csv --curve curve.svg
    """
    from edged.lab.photos import labeled_photos_of_pool
    from edged.lab.selection import compose, cross_validate, fit, operating_points, require_fitting
    from edged.selection.files import Fitted, save
    from edged.selection.pool import common_labels, find_bundles, fingerprint, member_names
    from edged.terminal.progress import progress

    configuration, store = _open(args, changes=True)
    if not 2 <= args.folds <= 50:
        raise ConfigError(f"--folds {args.folds}: use 2 to 50")
    require_fitting()
    bundles, left_out = find_bundles(store, configuration.selection.pool, configuration.model.name)
    for bundle in left_out:
        _say(f"{bundle.name} ({bundle.id}) is left out: it names other classes")
    photos = labeled_photos_of_pool(args.images, args.labels, common_labels(bundles[0].labels))
    members = _load(bundles, member_names(bundles), configuration)
    with progress("premodel") as tell:
        told = _by_stage(tell)
        measured = _measure(members, photos, told)
        told("fitting", 0.0)
        fitted = fit(measured, args.seed)
        told("fitting", 1.0)
        held_out, outcomes = cross_validate(measured, fitted.decisions_ms, told, parts=args.folds, seed=args.seed)
    name = args.name or configuration.selection.premodel
    report, picture = compose(
        held_out,
        fitted,
        outcomes,
        how=f"{args.folds}-fold cross-validation on {len(measured)} photos",
        name=name,
        threads=configuration.model.threads,
    )
    by_name = {member.name: member.bundle.id for member in members}
    kept = Fitted(
        name=name,
        networks=measured.networks,
        ids=tuple(by_name[network] for network in measured.networks),
        labels=fingerprint(bundles[0].labels),
        strategies=fitted.strategies,
        chosen=report["chosen"],
        decisions_ms=fitted.decisions_ms,
        feature_ms=measured.feature_ms,
        points=operating_points(measured, fitted, report),
    )
    path = save(kept, report, picture, configuration.storage.state_dir)
    if args.curve is not None:
        write_drawing("--curve", args.curve, picture)
    _print(report)
    print(f"premodel {name} fitted: {path}")
    return 0


def _report(args: argparse.Namespace) -> int:
    """Print the table of every network, strategy and the oracle.

    Examples:
      edged premodel report
      edged premodel report --images photos/ --json
    """
    from edged.lab.photos import labeled_photos_of_pool
    from edged.lab.selection import Fit, compose, on_photos
    from edged.selection.files import CURVE, folder_of, load, load_report
    from edged.selection.pool import common_labels
    from edged.terminal.progress import progress

    configuration, store = _open(args, changes=False)
    name, state_dir = args.name or configuration.selection.premodel, configuration.storage.state_dir
    kept = load(state_dir, name)
    bundles = kept.bundles(store)
    if args.images is None:
        if args.labels is not None:
            raise ConfigError("--labels needs --images: the folder that its files are in")
        report = load_report(state_dir, name)
        picture = (folder_of(state_dir, name) / CURVE).read_text(encoding="utf-8")
    else:
        photos = labeled_photos_of_pool(args.images, args.labels, common_labels(bundles[0].labels))
        members = _load(bundles, list(kept.networks), configuration)
        with progress("premodel") as tell:
            told = _by_stage(tell)
            measured = _measure(members, photos, told, order=kept.networks)
        fitted = Fit(kept.strategies, {}, kept.decisions_ms)
        report, picture = compose(
            measured,
            fitted,
            on_photos(fitted, measured),
            how=f"fitted before, measured on {len(measured)} photos of {args.images}",
            name=name,
            threads=configuration.model.threads,
        )
    if args.curve is not None:
        write_drawing("--curve", args.curve, picture)
    if args.json:
        print(json.dumps(report, ensure_ascii=False))
    else:
        _print(report)
    return 0


def _open(args: argparse.Namespace, *, changes: bool) -> tuple[Settings, Store]:
    from edged.cli.state import open_device
    from edged.settings import check_name
    from edged.store import Store

    flags = {} if args.threads is None else {"model": {"threads": args.threads}}
    if args.name is not None:
        check_name("--name", args.name)
    device = open_device(
        args.config,
        flags,
        changes=changes,
        reads={"--images": args.images, "--labels": args.labels},
        writes={"--curve": args.curve},
    )
    return device.settings, Store(device.state_dir)


def _load(bundles: list[Bundle], names: list[str], configuration: Settings) -> list[Member]:
    import numpy as np

    from edged.selection.pool import open_member
    from edged.vision.preprocess import stay_on_one_thread

    stay_on_one_thread()  # as the daemon does
    grey = np.full((64, 64, 3), 127, np.uint8)
    members = zip(bundles, names, strict=True)
    return [open_member(bundle, name, configuration.model, grey) for bundle, name in members]


def _measure(
    members: list[Member], photos: list[Any], progress: Progress, order: tuple[str, ...] | None = None
) -> Measurements:
    from edged.lab.selection import measure
    from edged.sensors import open_sensors

    sensors = open_sensors()
    try:
        return measure(members, photos, sensors=sensors, progress=progress, on_unreadable=_say, order=order)
    finally:
        sensors.close()


def _say(line: str) -> None:
    from edged.terminal.text import note

    note("edged", line)


def _by_stage(tell: Tell) -> Progress:
    return lambda stage, share: tell(share, text=stage)


def _print(report: dict[str, Any]) -> None:
    from edged.terminal.tables import console, plain_table

    energy = any("energy_mj" in row for row in report["rows"])
    measured = ("top-1", "beside best", "top-5", "mean ms", "p95 ms", *(["mJ", "mJ per right"] if energy else []), "MB")
    words = ("", "who answers")
    table = plain_table("", *measured, "who answers", left=words, folded=("who answers",), title=report["how"])
    for row in report["rows"]:
        mix = (
            ""
            if row["kind"] == "single"
            else ", ".join(f"{name} {share:.0%}" for name, share in row["mix"].items() if share >= 0.005)
        )
        beside = f"{100 * row['beside_best']['difference']:+.1f}" if "beside_best" in row else ""
        measures = [f"{row['top1']:.1%}", beside, f"{row['top5']:.1%}", f"{row['mean_ms']:.1f}", f"{row['p95_ms']:.1f}"]
        measures += [f"{row['energy_mj']:.0f}", f"{row['energy_per_right_mj']:.0f}"] if energy else []
        table.add_row(row["name"], *measures, f"{row['memory_mb']:.0f}", mix)
    screen = console(plain_width=_PLAIN_WIDTH)
    screen.print(table)
    if not energy:
        screen.print("energy: this machine has no power sensor that can be read")
    screen.print(report["verdict"], soft_wrap=True)
