"""`edgectl login` and contexts: what is kept after a real login, what is used of it, and what is refused."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edged.ctl import main
from edged.ctl.cli import build_parser
from edged.ctl.options import settle
from tests.ctl.conftest import environment
from tests.ctl.device import ScriptedDevice
from tests.mosquitto import Mosquitto, free_port
from tests.waiting import PATIENCE_S

USERS = {"me": "hush", "other": "hush"}
PATIENCE = ("--timeout", f"{PATIENCE_S:g}")
LISTEN = (*PATIENCE, "telemetry", "--seconds", "0.05")
"""Exits with 3 where the broker lets it in: nobody says anything there."""


@pytest.fixture
def contexts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a user who has none yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "edged" / "contexts"


@pytest.fixture
def guarded(mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    """A broker that lets in who has a password."""
    return mosquitto(users=USERS, allow_anonymous=False)


def password_file(folder: Path, password: str = "hush") -> str:
    path = folder / "given"
    path.write_text(f"{password}\n")
    path.chmod(0o600)
    return str(path)


def kept(contexts: Path, name: str, text: str) -> Path:
    """A context's file, as somebody may have left it."""
    contexts.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = contexts / f"{name}.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    capsys.readouterr()
    assert main(["login", "--list", "--json"]) == 0
    return {line["context"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}


def test_a_login_is_kept_and_used(
    contexts: Path, guarded: Mosquitto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = password_file(tmp_path)
    assert main([*PATIENCE, "login", "lab", "--broker", guarded.url, "--username", "me", "--password-file", given]) == 0
    assert capsys.readouterr().out.startswith(f"lab: {guarded.url} as me")
    for path in contexts.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(contexts.stat().st_mode) == 0o700
    assert main([*LISTEN]) == 3
    assert f"no telemetry messages from any device at {guarded.url}" in capsys.readouterr().err
    assert main([*PATIENCE, "login", "lab", "--device", "line-1"]) == 0
    assert listed(capsys)["lab"] == {
        "context": "lab", "current": True, "broker": guarded.url, "device": "line-1", "username": "me",
        "password_file": given,
    }  # fmt: skip


def test_nothing_is_kept_of_a_login_that_fails(
    contexts: Path, guarded: Mosquitto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = password_file(tmp_path, "wrong")
    login = [*PATIENCE, "login", "lab", "--username", "me", "--password-file", given]
    assert main([*login, "--broker", guarded.url]) == 2
    assert main([*login, "--broker", f"mqtt://127.0.0.1:{free_port()}"]) == 3
    assert main(login) == 2
    assert main(["login"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert [error.partition(" ")[0] for error in errors] == ["edgectl:"] * 4
    assert "refuses user 'me'" in errors[0]
    assert "edgectl login lab --broker mqtt://HOST" in errors[2]
    assert not contexts.exists()


def test_a_password_is_asked_for_and_kept_in_a_file_of_its_own(
    contexts: Path, guarded: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    said = typed(["login", "lab", "--broker", guarded.url, "--username", "me"], "hush")
    assert "Password of 'me' at " in said
    assert "hush" not in said, "it was shown"
    path = contexts / "lab.password"
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("hush", 0o600)
    assert sorted(one.name for one in contexts.iterdir()) == ["current", "lab.password", "lab.toml"]
    assert "hush" not in (contexts / "lab.toml").read_text()
    assert main([*LISTEN]) == 3
    assert "no telemetry messages from any device at" in capsys.readouterr().err
    guarded.set_users({"me": "changed"})
    guarded.restart()
    assert main([*LISTEN]) == 2
    assert "refuses user 'me'" in typed(["login"], "wrong", code=2)
    assert path.read_text() == "hush"
    typed(["login"], "changed")
    assert main([*LISTEN]) == 3
    typed(["login"], "")  # as before
    assert path.read_text() == "changed"
    assert main(["login", "--forget", "lab"]) == 0
    assert list(contexts.iterdir()) == []


def typed(arguments: list[str], password: str, *, code: int = 0) -> str:
    """Run edgectl on a terminal and type a password once it asks; return all that it showed."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "edged.ctl", *PATIENCE, *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment(), start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while not said.endswith(b": "):
        said += os.read(ours, 1000)
    os.write(ours, f"{password}\n".encode())
    try:
        while some := os.read(ours, 1000):
            said += some
    except OSError:  # so does Linux tell that nobody has the other end open any more
        pass
    os.close(ours)
    assert process.wait(PATIENCE_S) == code, said
    return said.decode()


def test_a_password_that_can_be_read_only_once_is_copied(contexts: Path, guarded: Mosquitto) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"hush\n")
    os.close(writing)
    given = f"/dev/fd/{reading}"
    assert main([*PATIENCE, "login", "--broker", guarded.url, "--username", "me", "--password-file", given]) == 0
    os.close(reading)
    assert (contexts / "127.0.0.1.password").read_text() == "hush"
    assert main([*LISTEN]) == 3


def test_a_flag_goes_before_the_environment_before_the_context_before_the_default(
    contexts: Path, mosquitto: Callable[..., Mosquitto], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    brokers = [mosquitto() for _ in range(3)]
    for name, broker in zip(("one", "two"), brokers, strict=False):
        assert main([*PATIENCE, "login", name, "--broker", broker.url, "--device", f"of-{name}"]) == 0

    def where(*arguments: str) -> str:
        capsys.readouterr()
        assert main([*LISTEN, *arguments]) == 3
        return capsys.readouterr().err

    assert f"from of-two at {brokers[1].url} " in where()
    assert f"from of-one at {brokers[0].url} " in where("--context", "one")
    assert f"from mine at {brokers[0].url} " in where("--context", "one", "--device", "mine")
    monkeypatch.setenv("EDGECTL_CONTEXT", "one")
    assert f"from of-one at {brokers[0].url} " in where()
    assert f"from of-two at {brokers[1].url} " in where("--context", "two")
    monkeypatch.setenv("EDGECTL_DEVICE", "env")
    assert f"from env at {brokers[0].url} " in where()
    monkeypatch.delenv("EDGECTL_DEVICE")
    monkeypatch.setenv("EDGECTL_BROKER", brokers[2].url)
    said = where()
    assert f"from any device at {brokers[2].url} " in said
    assert "nothing of context one is used" in said
    assert f"from of-one at {brokers[0].url} " in where("--broker", brokers[0].url)
    monkeypatch.delenv("EDGECTL_CONTEXT")
    (line,) = where().splitlines()
    assert f"from any device at {brokers[2].url} " in line
    monkeypatch.delenv("EDGECTL_BROKER")
    assert main(["login", "--use", "one"]) == 0
    assert f"from of-one at {brokers[0].url} " in where()
    assert main(["login", "--forget", "one"]) == 0
    args = build_parser().parse_args(["status"])
    settle(args)
    assert (args.broker, args.prefix, args.device) == ("mqtt://localhost:1883", "edged", None)


def test_no_broker_gets_the_password_of_another(
    contexts: Path, guarded: Mosquitto, mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    given = password_file(tmp_path)
    assert main([*PATIENCE, "login", "lab", "--broker", guarded.url, "--username", "me", "--password-file", given]) == 0
    other = mosquitto()
    assert main([*LISTEN, "--broker", other.url]) == 3
    assert "u'me'" not in other.log
    assert "u'me'" in guarded.log
    # Nor does it go along with another user's name, who happens to have the same.
    assert main([*LISTEN, "--username", "other"]) == 2
    assert main([*PATIENCE, "login", "lab", "--broker", other.url]) == 0
    assert "username" not in (contexts / "lab.toml").read_text()


def test_a_device_is_reached_by_what_is_kept(
    contexts: Path, broker_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    login = ["login", "hall", "--broker", f"mqtt://127.0.0.1:{broker_port}", "--prefix", "plant", "--device", "tx2-01"]
    assert main([*PATIENCE, *login]) == 0
    capsys.readouterr()
    with ScriptedDevice(broker_port, prefix="plant"):
        assert main([*PATIENCE, "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["device"] == "tx2-01"


def test_tls_and_files_by_relative_paths(
    contexts: Path, mosquitto: Callable[..., Mosquitto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = mosquitto(tls=True, client_certificates=True)
    monkeypatch.chdir(broker.folder)
    files = ["--ca-file", "ca.crt", "--cert-file", "client.crt", "--key-file", "client.key"]
    assert main([*PATIENCE, "login", "tls", "--broker", broker.url, *files]) == 0
    monkeypatch.chdir(tmp_path)
    assert main([*LISTEN]) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("broker = ", "lab.toml: is damaged: "),
        ("", "lab.toml: names no broker"),
        ('broker = ["mqtt://a"]', "lab.toml: broker = ['mqtt://a']: is damaged"),
        ('broker = "mqtt://a"\npassword = "x"', "lab.toml: 'password': unknown key"),
        ('broker = "mqtt://a"\nmax_bytes = true', "lab.toml: max_bytes = True: is damaged"),
        ("\x00" * 70_000, "lab.toml: is damaged: more than 65536 bytes"),
        ('broker = "http://a"', "--broker 'http://a': use mqtt://HOST"),
        ('broker = "mqtt://a"\nusername = "u"\npassword_file = "/none"', "--password-file = '/none': No such file or"),
    ],
)
def test_a_damaged_context_is_one_line_and_2(
    contexts: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    kept(contexts, "lab", text)
    kept(contexts, "good", 'broker = "mqtt://127.0.0.1:1"')
    assert main(["--context", "lab", "status"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert "lab" in line, "it does not say which context"
    capsys.readouterr()
    assert main(["--context", "good", "status"]) == 3


def test_a_damaged_one_is_listed_apart_and_can_be_replaced_and_forgotten(
    contexts: Path, broker_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(contexts, "lab", "broker")
    kept(contexts, "good", 'broker = "mqtt://127.0.0.1:1"')
    (contexts / "current").write_text("lab\n")
    assert main(["status"]) == 2
    assert main(["login", "--list", "--json"]) == 2
    printed = capsys.readouterr()
    assert [json.loads(line)["context"] for line in printed.out.splitlines()] == ["good"]
    assert main([*PATIENCE, "login", "lab", "--broker", f"mqtt://127.0.0.1:{broker_port}"]) == 0
    assert listed(capsys)["lab"]["current"] is True
    kept(contexts, "lab", "broker")
    assert main(["login", "--forget", "lab"]) == 0
    assert set(listed(capsys)) == {"good"}
    (contexts / "current").write_text("../lab\n")
    assert main(["status"]) == 2
    assert "holds no name of a context" in capsys.readouterr().err
    assert main(["login", "--use", "good"]) == 0
    (contexts / "good.toml").unlink()
    assert main(["status"]) == 2
    assert "no context 'good'" in capsys.readouterr().err


def test_what_others_may_have_written_is_not_used(
    contexts: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kept(contexts, "lab", 'broker = "mqtt://127.0.0.1:1"')
    path.chmod(0o620)
    assert main(["--context", "lab", "status"]) == 2
    assert capsys.readouterr().err == f"edgectl: {path}: may be written by others, and is not used: chmod 600 it\n"
    path.chmod(0o644)
    assert main(["--context", "lab", "status"]) == 3
    capsys.readouterr()
    path.unlink()
    os.mkfifo(path)
    assert main(["--context", "lab", "status"]) == 2
    assert capsys.readouterr().err == f"edgectl: {path}: is no regular file\n"
    if os.geteuid() != 0:
        pytest.skip("needs root, to give a file to another user")
    path.unlink()
    kept(contexts, "lab", 'broker = "mqtt://127.0.0.1:1"')
    os.chown(path, 65534, 65534)
    assert main(["--context", "lab", "status"]) == 2
    assert capsys.readouterr().err == f"edgectl: {path}: belongs to another user (id 65534), and is not used\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["login", "../x", "--broker", "mqtt://a"],
        ["login", "--use", "none"],
        ["login", "--forget", "none"],
        ["login", "--broker", "mqtt://[::1]"],
        ["login", "--broker", "mqtt://["],
        ["login", "x", "--broker", "http://a"],
        ["login", "x", "--broker", "mqtt://a", "--device", "/"],
        ["login", "x", "--broker", "mqtt://a", "--username", "u", "--password-file", "/none"],
        ["--context", "", "status"],
        ["--context", "none", "status"],
    ],
)
def test_a_mistake_is_one_line_and_2(contexts: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert (printed.out, len(printed.err.splitlines())) == ("", 1)


def test_who_has_no_home_folder_is_told(tmp_path: Path) -> None:
    variables = {key: value for key, value in environment().items() if key not in ("HOME", "XDG_CONFIG_HOME")}
    code = (
        "import os, pathlib, sys\n"
        "from edged.ctl import main\n"
        "import pwd; pwd.getpwuid = lambda _: (_ for _ in ()).throw(KeyError())\n"  # a container's user without a name
        "sys.exit(main(['status']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert (done.returncode, done.stderr) == (
        2,
        "edgectl: this user has no home folder: set $XDG_CONFIG_HOME or $HOME\n",
    )
