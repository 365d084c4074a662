"""JSON Schemas and the AsyncAPI document: as they stand in `configs/schema`, and as other programs read them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edged.cli import main
from edged.contract.commands import COMMANDS
from edged.errors import ConfigError
from edged.schema import files, names, schema
from edged.settings import load
from tests.conftest import REPOSITORY
from tests.schema.checking import asyncapi, check_jsonschema, check_messages

KEPT = REPOSITORY / "configs" / "schema"
CONFIGURATION = REPOSITORY / "configs" / "edged.toml"
GOLDEN = REPOSITORY / "tests" / "contract" / "golden"
FITS = {
    "result": ["result", "result_of_a_region"],
    "label": ["label"],
    "telemetry": ["telemetry", "telemetry_without_sensors"],
    "info": ["info"],
    "model": ["model"],
    "alert": ["alert"],
    "ack": ["ack"],
    "job": ["job"],
    "cmd/set": ["command"],
    "report/retrain": ["training"],
    "report/profile": ["profile"],
    "report/finetune": ["finetuning"],
}
"""Schema → golden messages of tests/contract."""
RESULT: dict[str, Any] = json.loads((GOLDEN / "result.json").read_text())
COMMAND: dict[str, Any] = json.loads((GOLDEN / "command.json").read_text())


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    return files()


def test_the_files_are_what_the_models_say_now(generated: dict[str, str]) -> None:
    kept = {str(path.relative_to(KEPT)): path.read_text(encoding="utf-8") for path in KEPT.rglob("*") if path.is_file()}
    assert kept == generated, "edged schema --into configs/schema writes them"


def test_they_are_json_schemas() -> None:
    done = check_jsonschema("--check-metaschema", *(KEPT / f"{name}.json" for name in names()))
    assert done.returncode == 0, done.stdout


def test_golden_messages_fit(tmp_path: Path) -> None:
    messages = {
        name: [json.loads((GOLDEN / f"{golden}.json").read_text()) for golden in goldens]
        for name, goldens in FITS.items()
    }
    assert {golden for some in FITS.values() for golden in some} == {path.stem for path in GOLDEN.iterdir()}
    left_out = {"cmd/retrain": [{"id": "a1", "args": {"lr": None, "backbone": None}}, {"id": "a1"}]}
    done = check_messages(tmp_path, messages | left_out)
    assert done.returncode == 0, done.stdout


def test_what_is_wrong_does_not_fit(tmp_path: Path) -> None:
    wrong: dict[str, list[Any]] = {
        "result": [
            {key: value for key, value in RESULT.items() if key != "seq"},
            {**RESULT, "v": 2},
            {**RESULT, "familiarity": None},
            {**RESULT, "top": [{"label": "tabby"}]},
        ],
        "cmd/set": [
            {**COMMAND, "args": {"fps": -1}},
            {**COMMAND, "args": {"speed": 1}},
            {**COMMAND, "id": "a/b"},
            {**COMMAND, "more": 1},
        ],
        "cmd/image": [{"id": "a1", "args": {"label": "mug", "sha256": "short"}}, {"id": "a1"}],
        "cmd/retrain": [{"id": "a1", "args": {"lr": 0}}],
        "report/retrain": [{"splits": {"train": "many"}}],
    }
    done = check_messages(tmp_path, wrong)
    assert done.returncode == 1
    for name, documents in wrong.items():
        for place in range(len(documents)):
            found = f"$.{name}[{place}]" if "/" not in name else f"[{name!r}][{place}]"
            assert found in done.stdout or found.replace("'", '"') in done.stdout, (found, done.stdout)


def every_key() -> str:
    """The configuration that edged comes with, and every key in it set as it is shown."""
    return re.sub(r"^#(?=[a-z_0-9]+ = |\[)", "", CONFIGURATION.read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_the_configuration_fits_as_it_comes_and_with_every_key(tmp_path: Path) -> None:
    full = tmp_path / "edged.toml"
    full.write_text(every_key(), encoding="utf-8")
    load(full)
    done = check_jsonschema("--schemafile", KEPT / "edged.toml.json", CONFIGURATION, full)
    assert done.returncode == 0, done.stdout


def test_a_configuration_that_edged_refuses_does_not_fit(tmp_path: Path) -> None:
    wrong = [
        '[device]\nid = "all"',
        '[device]\nid = "a/b"',
        "[cameras.main]\nfsp = 1",
        '[cameras."a b"]\nfps = 1',
        "[cameras]",
        '[mqtt]\nurl = "http://localhost"',
        "[mqtt]\nurl = []",
        '[mqtt]\nurl = ["mqtt://a", "b"]',
        "[retrain]\nmomentum = 1",
        '[security]\ntrusted_keys = ["ssh-rsa AAAA"]',
        "[storage]\nstate_dir = 1",
        "[nonsense]",
    ]
    paths = [tmp_path / f"wrong{number}.toml" for number in range(len(wrong))]
    for path, text in zip(paths, wrong, strict=True):
        path.write_text(text)
        with pytest.raises(ConfigError, match=path.name):
            load(path)
    done = check_jsonschema("--schemafile", KEPT / "edged.toml.json", *paths)
    assert done.returncode == 1
    assert [text for path, text in zip(paths, wrong, strict=True) if path.name not in done.stdout] == []


def test_an_editor_with_taplo_finds_the_schema(tmp_path: Path) -> None:
    if (taplo := shutil.which("taplo")) is None:
        pytest.skip("needs taplo (tools/test --all installs it)")
    (tmp_path / "edged.schema.json").write_text((KEPT / "edged.toml.json").read_text())
    (tmp_path / "edged.toml").write_text(f"#:schema ./edged.schema.json\n{every_key()}")
    (tmp_path / "wrong.toml").write_text("#:schema ./edged.schema.json\n[cameras.main]\nfsp = 1\n")
    fits, wrong = (
        subprocess.run([taplo, "lint", name], cwd=tmp_path, capture_output=True, text=True, check=False)
        for name in ("edged.toml", "wrong.toml")
    )
    assert fits.returncode == 0, fits.stderr
    assert "'fsp' was unexpected" in wrong.stderr


def test_every_key_of_the_configuration_is_described() -> None:
    definitions = schema("edged.toml")["$defs"]
    bare = [
        f"{name}.{key}"
        for name, section in definitions.items()
        for key, value in section["properties"].items()
        if not value.get("description")
    ]
    assert bare == []
    assert definitions["MqttSettings"]["properties"]["prefix"]["description"] == "First level of every topic."
    assert "\n" in definitions["CameraSettings"]["properties"]["source"]["description"], "a list stays one"


def test_descriptions_are_those_of_the_models() -> None:
    report = schema("report/retrain")["$defs"]
    assert report["Decision"]["properties"]["high"]["description"].startswith("Its interval, each end passed by chance")
    assert report["Decision"]["description"] == "Whether the new model may answer, and why."
    assert schema("result")["properties"]["boot"]["description"].startswith("Names that start, 8 hex digits")
    assert schema("cmd/retrain")["$defs"]["RetrainArgs"]["properties"]["batch"]["description"] == "images per step"


def test_the_asyncapi_document_is_one(tmp_path: Path) -> None:
    done = asyncapi(tmp_path, "validate", KEPT / "asyncapi.json", "--fail-severity", "warn")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 errors, 0 warnings" in done.stdout


def test_the_asyncapi_document_has_each_command_and_where_its_answer_goes(generated: dict[str, str]) -> None:
    document = json.loads(generated["asyncapi.json"])
    received = {name: one for name, one in document["operations"].items() if one["action"] == "receive"}
    assert received.keys() == {f"receive_{name}" for name in COMMANDS}
    addresses = {one["address"] for one in document["channels"].values()}
    assert {"{prefix}/{device}/cmd/set", "{prefix}/{device}/result/{camera}", "{prefix}/{device}/job"} <= addresses
    assert document["operations"]["send_telemetry"]["bindings"]["mqtt"]["qos"] == 0
    assert document["operations"]["send_info"]["bindings"]["mqtt"]["retain"] is True
    assert document["components"]["messages"]["image"]["contentType"] == "image/jpeg"
    assert document["components"]["messages"]["cmd_image"]["bindings"]["mqtt"]["responseTopic"]["maxLength"] == 256


def test_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path, generated: dict[str, str]) -> None:
    def said(*words: str) -> str:
        assert main(["schema", *words]) == 0
        return capsys.readouterr().out

    kept = generated
    assert said("result") == kept["result.json"]
    assert said("--asyncapi") == kept["asyncapi.json"]
    assert said("--list").split() == names()
    assert json.loads(said())["$defs"].keys() == set(names())
    assert said("--into", str(tmp_path / "new")) == f"{len(kept)} files in {tmp_path / 'new'}\n"
    written = {str(path.relative_to(tmp_path / "new")) for path in (tmp_path / "new").rglob("*.json")}
    assert written == kept.keys()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("nonsense",), "edged: 'nonsense': there is no such schema; there are info, model, result, "),
        (("result", "--asyncapi"), "edged: NAME and --asyncapi: give one of them"),
        (("--into", "/proc/nowhere"), "edged: --into /proc/nowhere: "),
    ],
)
def test_what_cannot_be_printed_is_one_line(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], error: str
) -> None:
    assert main(["schema", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(error)
    assert err.count("\n") == 1
