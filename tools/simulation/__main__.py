"""Simulated devices: the real link, ledger, outbox and contract of edged, with a script in place of camera and network.

    tools/fleet 20                            twenty of them, on a Mosquitto of their own, until Ctrl-C
    tools/fleet 20 --broker mqtt://10.0.0.5   on a broker that is there
    tools/fleet --measure 10 100 1000         what a fleet costs, as a table

They answer `status` and `set` and take models; what needs a camera or a network is rejected.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.live import Broker
from edged.terminal.program import INTERRUPTED
from simulation.fleet import Fleet, folder_for_state
from simulation.measuring import measure, pushes_table, table


def main() -> int:
    """Run what the command line asks for."""
    head, _, tail = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="tools/fleet", description=head, epilog=tail, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("devices", metavar="N", nargs="?", type=int, help="how many")
    parser.add_argument("--measure", metavar="N", nargs="+", type=int, help="measure fleets of so many devices")
    parser.add_argument("--broker", metavar="URL", help="else a Mosquitto is started; several with commas between")
    parser.add_argument("--rate", type=float, default=1.0, help="results of each device a second (1)")
    parser.add_argument("--telemetry", metavar="S", type=float, default=5.0, help="seconds between telemetry (5)")
    parser.add_argument("--seconds", type=float, help="end after so many; with --measure: of each fleet (30)")
    parser.add_argument("--json", action="store_true", help="with --measure: the numbers")
    parser.add_argument("--into", type=Path, metavar="FILE", help="with --measure: put the numbers there too")
    args = parser.parse_args()
    if (args.devices is None) == (args.measure is None):
        parser.error("either N, or --measure N …")
    if min(args.measure or [args.devices]) < 1:
        parser.error("at least one device")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # ten files and sockets a device
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what was started is to be ended
    try:
        return _measure(args) if args.measure else _run(args)
    except KeyboardInterrupt:
        return INTERRUPTED if args.measure else 0


def _measure(args: argparse.Namespace) -> int:
    """Measure fleets and print what they cost."""
    numbers = measure(args.measure, rate=args.rate, telemetry_s=args.telemetry, seconds=args.seconds or 30.0)
    if args.into:
        args.into.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(numbers) if args.json else "\n".join([*table(numbers), "", *pushes_table(numbers)]))
    return 0


def _run(args: argparse.Namespace) -> int:
    """Run devices until Ctrl-C, telling how they are."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder_for_state())))
        url = args.broker
        if url is None:
            broker = Broker(folder)
            stack.callback(broker.close)
            url = f"mqtt://127.0.0.1:{broker.port}"
        end = time.monotonic() + args.seconds if args.seconds else float("inf")
        with Fleet(args.devices, url.split(","), folder, rate=args.rate, telemetry_s=args.telemetry) as fleet:
            print(f"{args.devices} devices on {url}: edgectl --broker {url} status", file=sys.stderr)
            while time.monotonic() < end:
                time.sleep(min(5.0, max(0.0, end - time.monotonic())))
                told = fleet.told()
                print(
                    f"{told.connected} connected, {told.results} results, {told.backlog} waiting",
                    file=sys.stderr, flush=True,
                )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
