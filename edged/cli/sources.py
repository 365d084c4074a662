"""Rank installed networks as what to retrain from.

Examples:
  edged sources rank --images photos/
"""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING

from edged.cli.options import add_album, add_config, add_workers, check_album
from edged.terminal.options import add_limits, seed
from edged.terminal.registry import Commands

if TYPE_CHECKING:
    from edged.lab.sources import Ranking, Standing
    from edged.settings import Settings


def register(commands: Commands) -> None:
    """Add `sources` and its subcommand."""
    family = commands.family("sources", __doc__)
    parser = family.add("rank", run)
    add_album(parser)
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--exact", action="store_true", help="all images through every network, heads measured on each")
    way.add_argument("--evidence", action="store_true", help="by LogME on each network's own bottlenecks")
    way.add_argument(
        "--divergence", action="store_true",
        help="by how near the images are to what each network was trained on (P2L), and by its published accuracy",
    )  # fmt: skip
    add_limits(parser)
    add_workers(parser)
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of images' order and folds (%(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Rank the installed networks for labeled images.

    By a race: all networks see some images, heads on their bottlenecks are cross-validated, the surely worse leave and
    the others see more, in about a quarter of the time that --exact takes. Images of the test side, a fifth of all, are
    not looked at; fewer than 200 others are seen by all networks, as by --exact.

    Examples:
      edged sources rank --images photos/
      edged sources rank --images photos/ --within 20 --memory 60
      edged sources rank --images photos/ --exact --json
    """
    from edged.cli.state import open_device
    from edged.process import limit_threads

    check_album(args.images)
    limit_threads()
    configuration = open_device(args.config, changes=True, reads={"--images": args.images}).settings
    ranking = _rank(args, configuration)
    if args.json:
        print(json.dumps(ranking.report().to_json(), ensure_ascii=False))
    else:
        _print(ranking)
    return 0


def _rank(args: argparse.Namespace, configuration: Settings) -> Ranking:
    from edged.errors import ConfigError, ModelError
    from edged.images import open_images
    from edged.lab.sources import Ranker, UnaffordableError
    from edged.learning import Limits
    from edged.learning.dataset import select
    from edged.store import Store
    from edged.terminal.progress import progress

    storage = configuration.storage
    installed = Store(storage.state_dir)
    try:
        current = installed.current(configuration.model.name)
    except ModelError:
        current = None
    store = open_images(storage.state_dir, args.images, storage.images_max_mb)
    try:
        store.scan_settled()
        with progress("sources", unit="items") as tell:
            ranker = Ranker(
                store,
                select(store.labeled()),
                installed.installed(),
                current=current,
                runtime=configuration.model.engine,
                workers=args.workers if args.workers > 0 else os.cpu_count() or 1,
                tell=lambda name, done, of: tell(done, of, f"bottlenecks of {name}", stage=name),
                limits=Limits(args.within, args.memory, configuration.model.threads),
            )
            if args.exact:
                return ranker.measure(args.seed)
            if args.evidence:
                return ranker.evidence()
            return ranker.estimate() if args.divergence else ranker.race(args.seed)
    except UnaffordableError as error:  # what the flags ask for
        raise ConfigError(str(error)) from error
    finally:
        store.close()


def _print(ranking: Ranking) -> None:
    from edged.terminal.tables import console, plain_table

    measured = ranking.way in ("race", "exact")
    columns = ["network", "trained on", "images"]
    columns += {
        "race": ["score", "accuracy", "of", "seconds"],
        "exact": ["accuracy", "of", "seconds"],
        "evidence": ["log evidence", "seconds"],
        "divergence": ["divergence", "score"],
        "limits": [],
    }[ranking.way]
    weighed = any(one.footprint is not None for one in ranking.standings)
    columns += ["ms a frame", "MB"] if weighed else []
    table = plain_table(*columns, "", left=("network", "trained on", ""), folded=("",))
    for one in ranking.standings:
        cells = [one.bundle.name]
        cells += ["unknown", ""] if one.source is None else [one.source.dataset, f"{one.source.images:,}"]
        if ranking.way == "race":
            cells.append("" if one.score is None else f"{one.score:.3f}")
        if measured:
            cells += _measured(one)
        elif ranking.way == "evidence":
            cells += ["", ""] if one.score is None else [f"{one.score:.3f}", f"{one.seconds:.1f}"]
        elif ranking.way == "divergence":
            cells += ["", ""] if one.score is None else [f"{one.divergence:.3f}", f"{one.score:.3f}"]
        if weighed:
            cost = one.footprint
            cells += ["", ""] if cost is None else [f"{cost.frame_ms:.1f}", f"{cost.memory_mb:.0f}"]
        table.add_row(*cells, one.warning or "")
    screen = console(plain_width=160)
    screen.print(table)
    if measured:
        screen.print("± is one standard error of the accuracy, as if images were independent", soft_wrap=True)
    if ranking.way == "race":
        screen.print("score: mean probability of the right label, with the published top-1 as a prior", soft_wrap=True)
    screen.print(f"start from {ranking.best.name}: {ranking.reason} ({ranking.seconds:.1f} s)", soft_wrap=True)


def _measured(one: Standing) -> list[str]:
    if one.measured is None:
        return ["", "", ""]
    accuracy = f"{one.measured.accuracy:.1%} ±{one.measured.error:.1%}"
    return [accuracy, str(len(one.measured.correct)), f"{one.seconds:.1f}"]
