"""`edged profile`: where the time goes, per layer, online, in batches; and models side by side."""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from edged.cli.bundles import find_model
from edged.cli.options import add_config, write_drawing
from edged.errors import ConfigError, EdgedError, ModelError
from edged.terminal.options import add_profile_options
from edged.terminal.registry import Commands

if TYPE_CHECKING:
    from edged.contract.reports import ProfileReport
    from edged.jobs.requests import ProfileRequest
    from edged.lab.profiling import Candidate
    from edged.settings import Settings

_PLAIN_WIDTH = 120
"""Columns where there is no terminal."""


def register(commands: Commands) -> None:
    """Add `profile`."""
    parser = commands.add("profile", run)
    parser.add_argument(
        "models", nargs="*", metavar="MODEL", help="name or id, a bundle's folder, or a .tflite file (what runs)"
    )
    add_profile_options(parser)
    parser.set_defaults(threads=1)
    parser.add_argument("--json", action="store_true", help="one JSON object per model and line")
    parser.add_argument("--images", type=Path, metavar="DIR", help="photos (default: those that edged ships)")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the layers (of one model)")
    parser.add_argument("--source", metavar="S", help="camera, clip or folder of the end-to-end part (--images)")
    parser.add_argument("--no-publish", action="store_true", help="leave the broker out of the end-to-end part")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="trace the end-to-end part, for ui.perfetto.dev")
    add_config(parser)
    group = parser.add_argument_group("models in one table")
    group.add_argument("--compare", action="store_true", help="accuracy, ms, mJ, MB, MACs and accuracy per ms")
    group.add_argument(
        "--labels", type=Path, metavar="CSV", help="file,class_index|label (default: a folder per label)"
    )
    group.add_argument("--limit", type=int, default=0, metavar="N", help="so many photos, evenly spread (all)")


def run(args: argparse.Namespace) -> int:
    """Where a model's time goes: per layer, online, in batches; models side by side.

    Times models on this machine: per layer; one inference end to end; 10, 100 and 1,000 images one after another; in
    batches; on 1 to all threads; on each runtime installed; on a GPU where LiteRT finds one. With --compare, puts
    models in one table.

    Examples:
      edged profile
      edged profile inception_v3 --only layers,batch --svg layers.svg
      edged profile --compare mobilenet_v2 inception_v3 --images photos/
    """
    from edged import tracing
    from edged.cli.state import look_at_device

    configuration = look_at_device(args.config)
    if args.compare and args.trace:
        raise ConfigError("--trace belongs to the profile of a model, not to --compare")
    if args.compare:
        return _compare(args, configuration)
    if args.labels or args.limit:
        raise ConfigError("--labels and --limit belong to --compare")
    if args.svg and len(args.models) > 1:
        raise ConfigError(f"--svg draws one model; {len(args.models)} are named")
    if args.trace:
        tracing.start(args.trace)
    try:
        return _profile_all(args, configuration)
    finally:
        tracing.stop()


def _profile_all(args: argparse.Namespace, configuration: Settings) -> int:
    from edged.contract.reports import NotMeasured
    from edged.lab.profiling import draw_layers, profile
    from edged.terminal.progress import progress
    from edged.terminal.text import note

    worst = 0
    for wanted in args.models or [None]:
        try:
            request = _request(wanted, args, configuration)
            with progress(request.name, quiet=args.json) as tell:
                report = profile(request, lambda stage, share: tell(share, text=stage))
        except ConfigError:
            raise
        except EdgedError as error:
            note("edged", str(error))
            worst = 1
            continue
        if args.svg and report.layers is not None:
            write_drawing("--svg", args.svg, draw_layers(report))
        if args.json:
            print(json.dumps(report.to_json(), ensure_ascii=False), flush=True)
        else:
            _print(report, args.top)
        if args.batches:  # asked for by size: one that cannot be had is a failure
            for entry in (report.batch or {}).values():
                if isinstance(entry, NotMeasured):
                    worst = 1
                    if args.json:
                        note("edged", f"{request.name}: {entry.error}")
    return worst


def _request(wanted: str | None, args: argparse.Namespace, configuration: Settings) -> ProfileRequest:
    from edged.jobs.requests import ProfileRequest

    model = find_model(wanted, configuration)
    given = {
        "parts": args.only if args.only is not None else ["end_to_end"] if args.trace else None,
        "runtime": configuration.model.engine_of(args.runtime),
        "online": args.online,
        "batches": args.batches,
        "batch_images": args.batch_images,
        "seconds": args.seconds,
        "images": args.images,
        "source": args.source,
        "mqtt": None if args.no_publish else configuration.mqtt,
    }
    chosen = {key: value for key, value in given.items() if value is not None}
    return ProfileRequest(
        name=model.name,
        id=model.id,
        model=model.file,
        crop=model.crop,
        threads=args.threads,
        device=configuration.device.id,
        **chosen,
    )


def _compare(args: argparse.Namespace, configuration: Settings) -> int:
    from edged.lab.photos import labeled_photos, spread
    from edged.lab.profiling import compare, describe_machine
    from edged.resources import shipped_photos
    from edged.sensors import open_sensors
    from edged.terminal.progress import progress
    from edged.terminal.text import note

    if args.labels and not args.images:
        raise ConfigError("--labels needs --images, the folder that its files are in")
    photos = spread(labeled_photos(args.images or shipped_photos(), args.labels), args.limit)
    candidates: list[Candidate] = []
    for wanted in args.models or [None]:
        try:
            candidates.append(_candidate(wanted, args, configuration))
        except ModelError as error:
            note("edged", str(error))
    if not candidates:
        return 1
    machine = describe_machine()
    with progress("compare", quiet=args.json) as tell, closing(open_sensors()) as sensors:
        rows = compare(candidates, photos, lambda stage, share: tell(share, text=stage), sensors)
    if args.json:
        told = {"v": 1, "images": str(args.images or shipped_photos()), "machine": machine.to_json()}
        print(json.dumps({**told, "compare": [row.to_json() for row in rows]}, ensure_ascii=False))
    else:
        from edged.terminal.profile import print_comparison
        from edged.terminal.tables import console

        print_comparison(console(plain_width=_PLAIN_WIDTH), rows, machine)
    return 0 if len(candidates) == len(args.models or [None]) else 1


def _candidate(wanted: str | None, args: argparse.Namespace, configuration: Settings) -> Candidate:
    from edged.lab.profiling import Candidate
    from edged.vision.network import Network

    found = find_model(wanted, configuration)
    runtime = configuration.model.engine_of(args.runtime)
    if runtime.partition(":")[0] not in ("auto", "litert", "tflite_runtime", "onnx"):
        raise ConfigError(f"--runtime {runtime}: models are compared on auto, litert, tflite_runtime or onnx")
    try:
        network = Network(found.content, runtime=runtime, threads=args.threads, crop=found.crop)
    except ModelError as error:
        raise ModelError(f"{found.file}: {error}") from error
    return Candidate(found.name, found.content, network, found.labels)


def _print(report: ProfileReport, top: int) -> None:
    from edged.terminal.profile import print_profile
    from edged.terminal.tables import console

    screen = console(plain_width=_PLAIN_WIDTH)
    print_profile(screen, report, top=max(top, 0))
    screen.print()
