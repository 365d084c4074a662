"""`edged retrain`: a new final layer from a folder of labeled images, without a daemon."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.cli.options import add_album, add_config, add_workers, check_album
from edged.terminal.options import add_accept, add_hyperparameters, add_limits, given_hyperparameters
from edged.terminal.registry import Commands

if TYPE_CHECKING:
    from edged.learning import Progress
    from edged.settings import Settings
    from edged.store import Store


def register(commands: Commands) -> None:
    """Add `retrain`."""
    parser = commands.add("retrain", run)
    add_album(parser)
    add_hyperparameters(parser)
    parser.add_argument("--backbone", metavar="NAME", help="an installed model, or auto (default: that of what runs)")
    add_accept(parser)
    add_limits(parser, ", with --backbone auto")
    add_workers(parser)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write the bundle there (default: a new version)")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON line")
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Train a new final layer on a folder of labeled images.

    No daemon is needed. The new model is a bundle: an ordinary quantized .tflite with labels and a manifest. If it is
    better than the current one, or shown to be no more than the tolerance worse, it becomes current, and answers when
    the daemon starts; a daemon that runs goes on with its own. With --out it is compared with none, and nothing else
    changes.

    Examples:
      edged retrain --images photos/ --lr 0.1
      edged retrain --images photos/ --backbone auto --within 20
      edged retrain --images photos/ --out flowers --json
    """
    from edged.cli.state import open_device
    from edged.errors import ConfigError
    from edged.process import limit_threads

    if args.backbone != "auto" and (args.within or args.memory):
        raise ConfigError("--within and --memory choose among networks: they need --backbone auto")
    check_album(args.images)

    limit_threads()
    flags = given_hyperparameters(args)
    device = open_device(
        args.config,
        {"retrain": flags} if flags else None,
        changes=True,
        reads={"--images": args.images},
        writes={"--out": args.out},
    )
    configuration = device.settings

    from edged.errors import RefusedError
    from edged.lab.trainer import choose
    from edged.learning import Limits, Outcome, TrainingRequest, candidates, choose_backbone
    from edged.learning.trainer import run_here
    from edged.store import Store
    from edged.terminal.progress import progress
    from edged.terminal.text import note
    from edged.terminal.training import describe, report_tables

    store = Store(configuration.storage.state_dir)
    try:
        current = store.current(configuration.model.name)
        request = TrainingRequest(
            state_dir=configuration.storage.state_dir,
            backbone=choose_backbone(store, current, args.backbone).path,
            candidates=candidates(store, args.backbone),
            current=current.path if args.out is None else None,
            limits=Limits(args.within, args.memory, configuration.model.threads),
            run=time.strftime("retrain-%Y%m%dT%H%M%S"),
            images=args.images,
            hyperparameters=configuration.retrain.hyperparameters,
            runtime=configuration.model.engine,
            workers=max(args.workers, 0),
            accept=args.accept,
            out=args.out,
        )
    except RefusedError as error:
        outcome = Outcome("rejected", error=str(error))
    else:
        with progress("retrain") as tell:

            def told(now: Progress) -> None:
                tell(now.fraction, text=describe(now.stage, now.detail), stage=now.stage)

            outcome = run_here(request, told, choose)
    promoted, answer = False, None
    if outcome.status == "succeeded" and outcome.bundle is not None and args.out is None:
        promoted, answer = _promote(configuration, store, outcome.bundle)
    if args.json:
        line: dict[str, Any] = {"status": outcome.status, "report": outcome.report.to_json()}
        if outcome.bundle is not None:
            line |= {"bundle": str(outcome.bundle), "promoted": promoted}
        if outcome.error is not None:
            line["error"] = outcome.error
        print(json.dumps(line, ensure_ascii=False))
    elif outcome.report.accuracy is not None:
        from edged.terminal.tables import console

        console().print(*report_tables(outcome.report), sep="\n")
        if outcome.bundle is not None:
            print(f"{outcome.report.model}: {outcome.bundle}")
    if answer is not None:
        print(answer, file=sys.stderr if args.json or not promoted else sys.stdout)
    if outcome.error is not None:
        note("edged", outcome.error)
    return 0 if outcome.status == "succeeded" else 1


def _promote(configuration: Settings, store: Store, folder: Path) -> tuple[bool, str]:
    """Let the new version answer, if no daemon runs; return whether it does, and what to say."""
    from edged.cli.promotion import describe_current, make_current, without_daemon
    from edged.errors import EdgedError
    from edged.store import read_bundle

    bundle = read_bundle(folder)
    try:
        with without_daemon(configuration, f"edgectl models use {bundle.id}"):
            return True, describe_current(make_current(configuration, store, bundle))
    except EdgedError as error:
        return False, f"edged: {bundle.id} is kept and not promoted: {error}"
