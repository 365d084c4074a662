"""Rank installed networks as what to retrain from.

Examples:
  edged sources rank --images photos/
"""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING

from edged.cli.options import add_album, add_config, add_workers
from edged.terminal.registry import Commands

if TYPE_CHECKING:
    from edged.lab.sources import Ranking
    from edged.settings import Settings


def register(commands: Commands) -> None:
    """Add `sources` and its subcommand."""
    family = commands.family("sources", __doc__)
    parser = family.add("rank", run)
    add_album(parser)
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--evidence", action="store_true", help="by LogME on each network's own bottlenecks")
    way.add_argument("--exact", action="store_true", help="train a head on each network and measure it")
    add_workers(parser)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the parts of --exact (%(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Rank the installed networks for labeled images.

    By an estimate from one pass of the images through one network, with --evidence by one pass through each, or with
    --exact by a head trained on each. Images of the test side are not looked at.

    Examples:
      edged sources rank --images photos/
      edged sources rank --images photos/ --exact --json
    """
    from edged.cli.state import open_device
    from edged.process import limit_threads

    limit_threads()
    configuration = open_device(args.config, changes=True, reads={"--images": args.images}).settings
    ranking = _rank(args, configuration)
    if args.json:
        print(json.dumps(ranking.report().to_json(), ensure_ascii=False))
    else:
        _print(ranking)
    return 0


def _rank(args: argparse.Namespace, configuration: Settings) -> Ranking:
    from edged.errors import ModelError
    from edged.images import open_images
    from edged.lab.sources import Ranker
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
        store.scan()
        with progress("sources", unit="items") as tell:
            ranker = Ranker(
                store,
                select(store.labeled()),
                installed.installed(),
                current=current,
                runtime=configuration.model.runtime,
                workers=args.workers if args.workers > 0 else os.cpu_count() or 1,
                tell=lambda name, done, of: tell(done, of, f"bottlenecks of {name}", stage=name),
            )
            if args.exact:
                return ranker.measure(args.seed)
            return ranker.evidence() if args.evidence else ranker.estimate()
    finally:
        store.close()


def _print(ranking: Ranking) -> None:
    from edged.terminal.tables import console, plain_table

    columns = ["network", "trained on", "images"]
    columns += ["accuracy", "seconds"] if ranking.exact else ["divergence", "score"]
    table = plain_table(*columns, "", left=("network", "trained on", ""), folded=("",))
    for one in ranking.standings:
        cells = [one.bundle.name]
        cells += ["unknown", ""] if one.source is None else [one.source.dataset, f"{one.source.images:,}"]
        if one.measured is not None:
            cells += [f"{one.measured.accuracy:.1%} ±{one.measured.error:.1%}", f"{one.seconds:.1f}"]
        elif one.score is not None:
            cells += ["" if one.divergence is None else f"{one.divergence:.3f}", f"{one.score:.3f}"]
        else:
            cells += ["", ""]
        table.add_row(*cells, one.warning or "")
    screen = console(plain_width=160)
    screen.print(table)
    screen.print(f"start from {ranking.best.name}: {ranking.reason} ({ranking.seconds:.1f} s)", soft_wrap=True)
