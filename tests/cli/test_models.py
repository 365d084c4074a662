"""`edged models` as a person types it."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from edged import resources
from edged.cli import main
from edged.vision.graph import parse_graph

SHIPPED = resources.shipped("models") / "mobilenet_v2"


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration whose state is in the test's folder."""
    path = tmp_path / "edged.toml"
    path.write_text(f'[storage]\nstate_dir = "{tmp_path / "state"}"\n')
    return path


def edged(config: Path, *words: object) -> int:
    return main(["models", str(words[0]), "--config", str(config), *map(str, words[1:])])


def rows(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    parsed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {row["name"]: row for row in parsed}


def test_list_and_show(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edged(config, "list", "--json") == 0
    listed = rows(capsys)
    assert listed["mobilenet_v2"] | {"status": "shipped", "current": True, "classes": 1000} == listed["mobilenet_v2"]
    assert listed["inception_v3"]["status"] == "available"
    assert edged(config, "list") == 0
    text = capsys.readouterr().out
    assert "shipped, runs" in text
    assert "edged models pull inception_v3" in text
    assert edged(config, "show", "mobilenet_v2", "--json") == 0
    shown = rows(capsys)["mobilenet_v2"]
    assert len(shown["labels"]) == 1000  # type: ignore[arg-type]  # JSON
    assert shown["licence"] == "Apache-2.0"
    assert edged(config, "show", "mobilenet_v2") == 0
    assert "(1000 in all)" in capsys.readouterr().out
    assert edged(config, "show", "inception_v3") == 0
    assert "npm package" in capsys.readouterr().out


def test_add_verify_remove(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "my net.tflite"
    shutil.copy(SHIPPED / "model.tflite", mine)
    add = ("add", mine, "--labels", SHIPPED / "labels.txt")
    assert edged(config, *add, "--crop", "1.0") == 0
    assert "my_net (" in capsys.readouterr().out
    assert edged(config, *add) == 2
    assert capsys.readouterr().err.startswith("edged: a model named my_net is installed already")
    assert edged(config, *add, "--replace") == 0
    assert edged(config, *add, "--name", "mobilenet_v2") == 2
    capsys.readouterr()
    assert edged(config, "verify") == 0
    assert capsys.readouterr().out.count("sound; 224×224, 1000 classes, 1280 features") == 2
    (tmp_path / "state" / "models" / "my_net" / "model.tflite").write_bytes(b"")
    assert edged(config, "verify") == 1
    output = capsys.readouterr()
    assert output.out.startswith("mobilenet_v2 ")
    assert "my_net/model.tflite: damaged" in output.err
    (tmp_path / "state" / "models" / "my_net" / "manifest.json").unlink()
    assert edged(config, "verify") == 1
    assert edged(config, "remove", "my_net") == 0
    assert edged(config, "remove", "my_net") == 1
    assert edged(config, "remove", "mobilenet_v2") == 1
    assert edged(config, "verify", "my_net") == 1


def test_verify_tells_of_a_familiarity_that_is_damaged(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add = ("add", SHIPPED / "model.tflite", "--labels", SHIPPED / "labels.txt", "--name", "mine")
    assert edged(config, *add) == 0
    known = tmp_path / "state" / "models" / "mine" / "familiarity.npz"
    known.write_bytes((SHIPPED / "familiarity.npz").read_bytes())
    assert edged(config, "verify", "mine") == 0
    known.write_bytes((SHIPPED / "familiarity.npz").read_bytes()[:9999])
    capsys.readouterr()
    assert edged(config, "verify", "mine") == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"edged: {known}: damaged: ")
    assert told.err.endswith("; nothing will be called unknown\n")


@pytest.mark.parametrize(
    ("file", "labels", "message"),
    [
        ("missing.tflite", "labels.txt", "missing.tflite: no such file"),
        ("empty.tflite", "labels.txt", "empty.tflite: is empty"),
        ("text.tflite", "labels.txt", "text.tflite: not a TensorFlow Lite model"),
        (".", "labels.txt", ": is not a file"),
        ("good.tflite", "missing.txt", "missing.txt: no such file"),
        ("good.tflite", "short.txt", "good.tflite: 2 labels for a model with 1000 outputs"),
        ("good.tflite", "latin.txt", "latin.txt: line 1 is not UTF-8"),
    ],
)
def test_bad_files_get_one_line(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, labels: str, message: str
) -> None:
    shutil.copy(SHIPPED / "model.tflite", tmp_path / "good.tflite")
    shutil.copy(SHIPPED / "labels.txt", tmp_path / "labels.txt")
    (tmp_path / "empty.tflite").touch()
    (tmp_path / "text.tflite").write_text("This is a text, no model.")
    (tmp_path / "short.txt").write_text("a\nb\n")
    (tmp_path / "latin.txt").write_bytes("Bär\n".encode("latin-1"))
    assert edged(config, "add", tmp_path / file, "--labels", tmp_path / labels, "--name", "x") == 1
    output = capsys.readouterr()
    assert message in output.err
    assert output.err.count("\n") == 1
    assert not (tmp_path / "state" / "models" / "x").exists()


def test_a_float_model_is_refused(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from flatbuffers import Builder

    from edged.vision import tflite_schema as schema

    graph = schema.ModelT.InitFromPackedBuf((SHIPPED / "model.tflite").read_bytes(), 0)
    graph.subgraphs[0].tensors[graph.subgraphs[0].inputs[0]].type = schema.TensorType.FLOAT32
    builder = Builder(1 << 20)
    builder.Finish(graph.Pack(builder), b"TFL3")
    (tmp_path / "float.tflite").write_bytes(bytes(builder.Output()))
    assert edged(config, "add", tmp_path / "float.tflite", "--labels", SHIPPED / "labels.txt") == 1
    assert "float.tflite: input is float32" in capsys.readouterr().err


needs_onnx = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="needs onnxruntime, the extra edged[onnx]")


@needs_onnx
def test_convert_installs_a_network_that_says_the_same(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edged(config, "convert", "mobilenet_v2", "--to", "onnx") == 0
    assert "mobilenet_v2-onnx (" in capsys.readouterr().out
    folder = config.parent / "state" / "models" / "mobilenet_v2-onnx"
    assert sorted(path.name for path in folder.iterdir()) == [
        "familiarity.npz",
        "labels.txt",
        "manifest.json",
        "model.onnx",
    ]
    assert edged(config, "show", "mobilenet_v2-onnx", "--json") == 0
    shown = rows(capsys)["mobilenet_v2-onnx"]
    assert shown["source"] == f"converted from mobilenet_v2 ({shown['converted_from']})"
    assert shown["outputs"] == ["scores", "bottleneck"]
    assert edged(config, "verify", "mobilenet_v2-onnx") == 0
    assert "1280 features" in (told := capsys.readouterr().out)
    assert told.rstrip().endswith("on onnx")
    assert edged(config, "convert", "mobilenet_v2", "--to", "onnx") == 2
    assert "is installed already" in capsys.readouterr().err
    assert edged(config, "convert", "mobilenet_v2-onnx", "--to", "onnx") == 2
    assert "there is nothing to convert" in capsys.readouterr().err
    (folder / "model.onnx").write_bytes(b"\x08\x08\x12")
    assert edged(config, "verify", "mobilenet_v2-onnx") == 1
    assert "model.onnx: damaged" in capsys.readouterr().err


def test_convert_writes_a_file_where_nothing_of_onnx_is_installed(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    out, source = tmp_path / "net.onnx", SHIPPED / "model.tflite"
    assert edged(config, "convert", source, "--to", "onnx", "--out", out) == 0
    assert f"{out}: {out.stat().st_size} bytes" in capsys.readouterr().out
    assert parse_graph(out.read_bytes()).head.classes == 1000
    assert edged(config, "convert", source, "--to", "onnx") == 2
    assert "name a file to write with --out" in capsys.readouterr().err
    assert edged(config, "convert", source, "--to", "onnx", "--out", tmp_path / "no" / "net.onnx") == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_pull_of_an_unknown_name(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert edged(config, "pull", "alexnet") == 2
    assert "no model 'alexnet' can be pulled; there are: inception_v3, " in capsys.readouterr().err
