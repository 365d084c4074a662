"""The scripts that shells complete with: what a real bash makes of what is typed; zsh and tcsh read theirs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edged.cli import main as edged
from edged.ctl import main as edgectl
from tests.waiting import PATIENCE_S

pytest.importorskip("shtab", reason="needs shtab (pip install shtab)")
PROGRAMS = {"edged": edged, "edgectl": edgectl}
_STUB = """#!/bin/sh
[ "$*" != "login --names" ] || exec {python} -m edged.ctl "$@"
printf 'given: '
printf '<%s>' "$@"
echo ' in all'
"""
"""Stands for a program: it tells its arguments; names of contexts are asked from the real one."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("INPUTRC", "/dev/null")
    monkeypatch.setenv("TERM", "dumb")
    for name in PROGRAMS:
        (tmp_path / name).write_text(_STUB.format(python=sys.executable))
        (tmp_path / name).chmod(0o755)
    return tmp_path


def write(program: str, shell: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    capsys.readouterr()
    assert PROGRAMS[program](["completion", shell]) == 0
    path = folder / f"{program}.{shell}"
    path.write_text(capsys.readouterr().out)
    return path


def completed(script: Path, *lines: str) -> list[str]:
    """Type lines, with a tab where the key is pressed, in an interactive bash; return what the program was given."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [bash, "--norc", "--noprofile", "-i"], stdin=theirs, stdout=theirs, stderr=theirs, cwd=script.parent,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    said = ""

    def type_and_wait(text: str, end: str) -> None:
        nonlocal said
        os.write(ours, f"{text}\n".encode())
        start = len(said)
        while not re.search(f"{end}.*typed: ", said[start:], re.DOTALL):  # the prompt: bash takes keys by now
            said += os.read(ours, 1000).decode()

    try:
        type_and_wait(f". {script}; PS1='type''d: '", "")
        for line in lines:
            type_and_wait(line, "> in all\r\n")
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        os.close(ours)
    return re.findall("^given: (<.*>) in all$", said.replace("\r", ""), re.MULTILINE)


def test_bash_completes_edgectl(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = write("edgectl", "bash", folder, capsys)
    assert completed(
        script,
        "edgectl retr\t--ep\t3",
        "edgectl --broker mqtt://10.0.0.5:1883 stat\t--tim\t3",
        "edgectl images sugg\t",
        "edgectl watch --passw\tedgectl.ba\t",
        "edgectl completion z\t",
    ) == [
        "<retrain><--epochs><3>",
        "<--broker><mqtt://10.0.0.5:1883><status><--timeout><3>",
        "<images><suggest>",
        "<watch><--password-file><edgectl.bash>",
        "<completion><zsh>",
    ]


def test_bash_completes_names_of_contexts(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    contexts = folder / "config" / "edged" / "contexts"
    contexts.mkdir(parents=True)
    (contexts / "laboratory.toml").touch()
    (contexts / "laboratory.password").touch()
    script = write("edgectl", "bash", folder, capsys)
    assert completed(script, "edgectl --context lab\tlogin --use lab\t") == [
        "<--context><laboratory><login><--use><laboratory>"
    ]


def test_bash_completes_edged(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = write("edged", "bash", folder, capsys)
    (folder / "photos").mkdir()
    assert completed(script, "edged premo\ttra\t--fol\t3", "edged retrain --im\tpho\t --epo\t1") == [
        "<premodel><train><--folds><3>",
        "<retrain><--images><photos/><--epochs><1>",
    ]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(("shell", "check"), [("zsh", ["-n"]), ("tcsh", ["-f"])])
def test_zsh_and_tcsh_read_theirs(
    program: str, shell: str, check: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = write(program, shell, folder, capsys)
    assert "epochs" in script.read_text()
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"needs {shell} (apt install {shell})")
    done = subprocess.run([found, *check, str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_another_shell_is_one_line_and_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        edgectl(["completion", "fish"])
    assert end.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_without_shtab_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert edgectl(["completion", "bash"]) == 2
    assert capsys.readouterr().err == (
        "edgectl: completion: shtab is needed, and is not installed: pip install shtab\n"
    )
