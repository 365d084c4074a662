"""The command line itself: what it costs, where options may stand, what mistakes say."""

from __future__ import annotations

import argparse
import subprocess
import sys
from functools import partial

import pytest

from edged.ctl.cli import build_parser, main
from edged.ctl.options import add_common
from edged.terminal.registry import Commands, Parser
from tests.ctl.conftest import environment
from tests.waiting import PATIENCE_S

HEAVY = ("cv2", "numpy", "ai_edge_litert", "tflite_runtime", "tensorflow", "paho", "rich", "pydantic", "shtab")


@pytest.mark.parametrize("arguments", [["--help"], ["watch", "--help"], ["snapshot", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom edged.ctl import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    assert end.code == 0, end.code\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\nassert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "examples" in done.stdout or "act on a device:" in done.stdout


@pytest.mark.parametrize("command", ["status", "watch", "telemetry", "snapshot", "set"])
def test_common_options_stand_before_or_after_the_command(command: str) -> None:
    options = ["--broker", "mqtt://h:1", "--device", "d", "--json", "--timeout", "3"]
    before = build_parser().parse_args([*options, command])
    after = build_parser().parse_args([command, *options])
    assert vars(before) == vars(after)
    assert (before.broker, before.device, before.json, before.timeout) == ("mqtt://h:1", "d", True, 3.0)


def test_environment_gives_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECTL_BROKER", "mqtt://elsewhere")
    monkeypatch.setenv("EDGECTL_DEVICE", "tx2-07")
    args = build_parser().parse_args(["status"])
    assert (args.broker, args.device) == ("mqtt://elsewhere", "tx2-07")
    assert build_parser().parse_args(["status", "--device", "all"]).device == "all"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--broker", "http://x", "status"], ["--broker", "mqtt://HOST"]),
        (["--broker", "mqtt://x:99999", "status"], ["mqtt://x:99999", "65535"]),
        (["--device", "a/b", "status"], ["--device", "'a/b'", "letters"]),
        (["--prefix", "#", "status"], ["--prefix", "letters"]),
        (["--password-file", "/nowhere/p", "--username", "u", "status"], ["--password-file", "/nowhere/p"]),
        (["--broker", "mqtts://x", "--ca-file", "/nowhere/ca", "status"], ["--ca-file", "/nowhere/ca"]),
        (["set"], ["--fps", "--top"]),
        (["snapshot", "--quality", "0"], ["--quality", "1 to 100"]),
        (["snapshot", "-o", "/nowhere/at/all.jpg"], ["/nowhere/at"]),
    ],
)
def test_wrong_configuration_is_one_line_and_2(
    arguments: list[str], named: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert printed.err.startswith("edgectl: ")
    assert all(part in printed.err for part in named), printed.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["dance"], "dance"),
        (["watch", "--count", "0"], "--count"),
        (["set", "--fps", "fast"], "--fps"),
        (["--timeout", "nan", "status"], "--timeout"),
        (["--timeout", "1e12", "status"], "'1e12' is not a number of seconds above 0, at most 86400"),
    ],
)
def test_wrong_usage_is_one_line_and_2(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert error.startswith("edgectl: ")
    assert named in error
    assert "--help" in error


def test_a_family_of_commands(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="edgectl")
    add_common(parser, top=True)
    commands = Commands(parser, partial(add_common, top=False))

    def use(_: argparse.Namespace) -> int:
        """Switch to a model.

        It answers from the next frame on.

        Examples:
          edgectl models use m
        """
        return 7

    models = commands.family("models", "Models of a device.\n\nExamples:\n  edgectl models use m\n")
    models.add("use", use).add_argument("name")
    args = parser.parse_args(["--device", "d", "models", "--timeout", "3", "use", "m", "--json"])
    assert (args.run(args), args.device, args.timeout, args.json, args.name) == (7, "d", 3.0, True, "m")
    args = parser.parse_args(["models"])
    assert args.run(args) == 2
    page = capsys.readouterr().err
    assert "Models of a device.\n\ncommands:\n  use  switch to a model\n" in page
    assert page.endswith("examples:\n  edgectl models use m\n")
    with pytest.raises(SystemExit):
        parser.parse_args(["models", "use", "--help"])
    page = capsys.readouterr().out
    assert "Switch to a model.\n\nIt answers from the next frame on.\n\n" in page
    assert page.endswith("examples:\n  edgectl models use m\n")


def test_no_command_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "snapshot" in capsys.readouterr().err


def test_nobody_at_the_address_is_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--broker", "mqtt://127.0.0.1:1", "--timeout", "5", "status"]) == 3
    error = capsys.readouterr().err
    assert error.startswith("edgectl: cannot reach mqtt://127.0.0.1:1: connection refused")
    assert len(error.splitlines()) == 1
