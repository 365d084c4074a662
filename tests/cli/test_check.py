"""`edged check`, and the default configuration that ships."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edged import resources, settings
from edged.cli import main
from edged.cli.check import check_source, effective
from edged.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT = resources.shipped("configs") / "edged.toml"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "edged.toml"
    path.write_text(text)
    return path


def test_the_default_configuration_is_the_defaults() -> None:
    assert settings.load(DEFAULT).model_dump() == settings.Settings().model_dump()


def test_the_default_configuration_explains_every_key_with_its_default(tmp_path: Path) -> None:
    lines = DEFAULT.read_text().splitlines()
    # The second camera is an example, not a default.
    first, second = (next(i for i, line in enumerate(lines) if line == text) for text in ("#[cameras.door]", "[model]"))
    kept = "\n".join(lines[:first] + lines[second:])
    shown = tomllib.loads(re.sub(r"^#(\w+ = )", r"\1", kept, flags=re.MULTILINE))
    defaults = settings.Settings().model_dump(mode="json")
    examples = {"device.id", "storage.state_dir", "mqtt.username"}  # these differ by machine, or have no default
    for section, values in flat(defaults).items():
        assert section in flat(shown), section
        if section not in examples and values is not None:
            told = flat(shown)[section]
            assert ([told] if section == "mqtt.url" else told) == values, section  # one address may stand alone
    assert set(flat(shown)) == set(flat(defaults))


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves


def test_every_example_in_the_default_configuration_loads(tmp_path: Path) -> None:
    text = re.sub(r"^#(\w+ = |\[)", r"\1", DEFAULT.read_text(), flags=re.MULTILINE)
    loaded = settings.load(write(tmp_path, text))
    assert set(loaded.cameras) == {"main", "door"}


def test_prints_what_is_in_effect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    password = tmp_path / "password"
    password.write_text("secret\n")
    text = (
        f'[cameras."front.1"]\nsource = "rtsp://me:hush@cam/1"\n[mqtt]\nusername = "me"\npassword_file = "{password}"\n'
    )
    assert main(["check", "--config", str(write(tmp_path, text))]) == 0
    output = capsys.readouterr().out
    assert "hush" not in output
    assert "secret" not in output
    assert "# camera front.1: RTSP stream" in output
    assert re.search(r"# model: mobilenet_v2 \([0-9a-f]{12}\), 1000 classes, on ", output)
    printed = tomllib.loads(output)
    assert printed["cameras"]["front.1"]["source"] == "rtsp://me:***@cam/1"
    assert printed["model"] == {
        "name": "mobilenet_v2", "runtime": "auto", "providers": [], "threads": 2, "top": 5, "unknown": 0.02,
    }  # fmt: skip


def test_what_is_printed_is_a_configuration(tmp_path: Path) -> None:
    camera = (
        '[cameras.a]\nsource = "dir:///a \\"b\\" ü"\nregions = { till = [0.1, 0.2, 0.3, 0.4], "a.b" = [0, 0, 1, 1] }\n'
    )
    before = settings.load(write(tmp_path, camera + '[mqtt]\nresults = "changes"\n'))
    again = settings.load(write(tmp_path, effective(before)))
    assert again.model_dump() == before.model_dump()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model]\nnmae = 'x'", "model.nmae: unknown key; allowed here: name, providers, runtime, threads, top"),
        ("[model]\nname = 'missing'", "model.name = 'missing': no model 'missing' is installed"),
        ("[cameras.a]\nsource = 'usb:0'", "cameras.a.source = 'usb:0': no such kind of source; use a V4L2 index"),
        ("[mqtt]\nusername = 'me'\npassword_file = '/no/such'", "mqtt.password_file = '/no/such': No such file"),
        ("[mqtt]\nurl = 'mqtts://host'\nca_file = '/no/such'", "mqtt.ca_file = '/no/such'"),
        ("[storage]\nstate_dir = '/dev/null/x'", "storage.state_dir = '/dev/null/x': "),
        ("[storage", "edged.toml: "),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    assert main(["check", "--config", str(write(tmp_path, text))]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_sources(tmp_path: Path) -> None:
    (tmp_path / "a clip.mp4").touch()
    for source in (
        *("0", "/dev/video0", "csi://1", "rtsp://user:pw@host:554/stream", "pattern", "gst:videotestsrc ! x"),
        *("file:///no/such.mp4", "dir://photos", str(tmp_path), str(tmp_path / "a clip.mp4")),
    ):
        assert check_source("cameras.a.source", source)
    for source in ("", "csi://", "csi://x", "rtsp://", "gst:", "http://host/x", "file://", "-1", "/no/such/file"):
        with pytest.raises(ConfigError, match=r"^cameras\.a\.source = "):
            check_source("cameras.a.source", source)


def test_where_the_metrics_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)  # it is not installed
    assert main(["check", "--config", str(write(tmp_path, ""))]) == 0
    assert "# metrics: none; metrics.listen is empty\n" in capsys.readouterr().out
    config = write(tmp_path, '[metrics]\nlisten = "[::1]:9184"')
    assert main(["check", "--config", str(config)]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "prometheus-client is not installed: pip install 'edged[metrics]'" in error

    monkeypatch.setitem(sys.modules, "prometheus_client", ModuleType("prometheus_client"))
    assert main(["check", "--config", str(config)]) == 0
    assert "# metrics: http://[::1]:9184/metrics\n" in capsys.readouterr().out


def test_whose_commands_are_carried_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = f"ed25519:{'A' * 43}="
    assert main(["check", "--config", str(write(tmp_path, ""))]) == 0
    assert "# commands: of everybody whom the broker lets publish them" in capsys.readouterr().out
    trusting = write(tmp_path, f'[security]\ntrusted_keys = ["{key} the operator", "{key}"]')
    monkeypatch.setitem(sys.modules, "nacl", None)
    monkeypatch.setitem(sys.modules, "nacl.signing", None)
    assert main(["check", "--config", str(trusting)]) == 2
    assert capsys.readouterr().err.startswith("edged: PyNaCl is needed for security.trusted_keys")
    monkeypatch.undo()
    monkeypatch.setenv("EDGED_STORAGE__STATE_DIR", str(tmp_path / "state"))
    pytest.importorskip("nacl", reason="needs PyNaCl (pip install pynacl)")
    assert main(["check", "--config", str(trusting)]) == 0
    assert f"# commands: only signed ones, by the operator, {key}" in capsys.readouterr().out
    wrong = write(tmp_path, '[security]\ntrusted_keys = ["ed25519:AAAA me"]')
    assert main(["check", "--config", str(wrong)]) == 2
    assert "security.trusted_keys" in (said := capsys.readouterr().err)
    assert "key 1: use ed25519:BASE64, as edgectl keygen prints it" in said


def found(capsys: pytest.CaptureFixture[str], config: Path, code: int) -> dict[str, Any]:
    assert main(["check", "--json", "--config", str(config)]) == code
    printed = capsys.readouterr()
    assert printed.err == ""
    (line,) = printed.out.splitlines()
    told: dict[str, Any] = json.loads(line)
    assert set(told) == {"ok", "configuration", "findings"}
    assert told["ok"] is (code == 0)
    assert told["configuration"] == str(config)
    assert all(set(one) == {"level", "key", "message"} for one in told["findings"])
    return told


def test_json_tells_all_that_the_lines_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        '[device]\nid = "line.1"\n[cameras."front.1"]\nsource = "rtsp://me:hush@cam/1"\nfps = 0.001\n'
        '[cameras.side]\nsource = "dir:///no/such"\n'
    )
    config = write(tmp_path, text)
    findings = found(capsys, config, 0)["findings"]
    levels = [(one["level"], one["key"]) for one in findings]
    assert levels == [
        ("info", "cameras.front.1.source"),
        ("warning", "cameras.side.source"),
        ("warning", "telemetry.drift_s"),
        ("note", "device.id"),
        ("note", "cameras.front.1"),
        ("info", "mqtt.url"),
        ("note", "security.trusted_keys"),
        ("info", "metrics.listen"),
        ("info", "storage.state_dir"),
        ("info", "model.name"),
    ]
    assert findings[3]["message"] == "'line.1' has a dot, which RabbitMQ takes for a slash; other brokers do not mind"
    assert main(["check", "--config", str(config)]) == 0
    comments = [line for line in capsys.readouterr().out.splitlines() if line.startswith("# ")]
    for one in findings:
        assert any(one["message"] in line for line in comments), one


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("[model]\nnmae = 'x'", ["model.nmae"]),
        (
            "[metrics]\nlisten = '127.0.0.1:99999'\n[mqtt]\nresults = 3\n[cameras.main]\nfsp = 1",
            ["cameras.main.fsp", "mqtt.results", "metrics.listen"],
        ),
        ("[storage", [""]),
        ("[model]\nname = 'missing'", ["model.name"]),
        (
            "[cameras.'a.b']\nsource = 'usb:0'\n[mqtt]\nusername = 'me'\npassword_file = '/no/such'\n"
            "[storage]\nstate_dir = '/dev/null/x'",
            ["cameras.a.b.source", "mqtt.password_file", "storage.state_dir"],
        ),
    ],
)
def test_json_tells_every_error_and_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, keys: list[str]
) -> None:
    findings = found(capsys, write(tmp_path, text), 2)["findings"]
    errors = [one for one in findings if one["level"] == "error"]
    assert [one["key"] for one in errors][: len(keys)] == keys
    assert all(one["message"] and "\n" not in one["message"] for one in errors)


def test_json_of_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (finding,) = found(capsys, tmp_path / "none.toml", 2)["findings"]
    assert (finding["level"], finding["key"]) == ("error", "")
    assert "no such configuration file" in finding["message"]
