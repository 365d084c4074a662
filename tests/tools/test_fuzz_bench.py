"""What `tools/bench fuzz` sends, and a share of it, with the same seeds each time, at the same doors."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edged.errors import ModelError
from edged.zoo.examination import examine
from tests.conftest import REPOSITORY
from tests.networks import made

# Python 3.12 warns of forks of a process with threads, as pytest's workers are; these forks only decode and end.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

SEED = 7


def test_a_number_is_always_the_same_mutant() -> None:
    from benchmarks.model_mutants import CannotBeWrittenError, mutant

    models = {name: made(name).model for name in ("made_v1_128", "made_signed")}
    seen = []
    for number in range(30):
        try:
            one, again = mutant(models, SEED, number), mutant(models, SEED, number)
        except CannotBeWrittenError:
            continue
        assert one == again
        seen.append(one)
    assert {one.base for one in seen} == set(models)
    assert len({one.change for one in seen}) > 20
    assert mutant(models, SEED + 1, 0) != mutant(models, SEED, 0)


def test_mutants_of_every_sort_are_made() -> None:
    from benchmarks.model_mutants import FIELDS, CannotBeWrittenError, kind, mutant

    models = {"made_v1_128": made("made_v1_128").model}
    kinds = set()
    for number in range(250):
        try:
            kinds.add(kind(mutant(models, SEED, number).change))
        except CannotBeWrittenError:
            continue
    assert kinds == {*FIELDS, "bytes"}


def end_of(model: bytes) -> str:
    try:
        examine(model)
    except ModelError as error:
        return str(error)
    return "accepted"


def test_mutants_are_refused_in_a_line_or_accepted() -> None:
    """Through the examination itself, a process for each: none of them reaches this one."""
    from benchmarks.model_mutants import CannotBeWrittenError, mutant

    models = {"made_insects": made("made_insects").model}
    ends = []
    for number in range(12):
        try:
            model = mutant(models, SEED, number).model
        except CannotBeWrittenError:
            continue
        ends.append(end_of(model))
    assert len(ends) > 8
    assert "accepted" in ends
    assert len(set(ends)) > 2
    assert not [end for end in ends if "\n" in end or "internal error" in end]


def test_payloads_are_accepted_or_rejected_in_a_line() -> None:
    from benchmarks.fuzz_commands import judge, payload

    answers = []
    for number in range(3000):
        name, data = payload(random.Random(f"{SEED}/{number}"), f"n{number}")
        answers.append(judge(name, data))
    assert 300 < answers.count("accepted") < 2000
    assert len(set(answers)) > 30


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=40),
    lambda one: st.lists(one, max_size=5) | st.dictionaries(st.text(max_size=8), one, max_size=5),
    max_leaves=12,
)
"""Whatever JSON can say, and Python's NaN and halves of characters besides."""


def fitting(schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What fits a JSON schema as pydantic writes it for the commands, or nearly."""
    if "$ref" in schema:
        return fitting(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        return st.one_of(*(fitting(one, definitions) for one in schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    known = {key: fitting(one, definitions) for key, one in schema.get("properties", {}).items()}
    required = {key: known.pop(key) for key in schema.get("required", [])}
    text = st.text(min_size=schema.get("minLength", 0), max_size=64)
    kinds: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
        "object": lambda: st.fixed_dictionaries(required, optional=known),
        "array": lambda: st.lists(fitting(schema.get("items") or {}, definitions), max_size=4),
        "integer": lambda: st.integers(schema.get("minimum"), schema.get("maximum")),
        "number": lambda: st.floats(allow_nan=False),
        "boolean": st.booleans,
        "null": st.none,
        "string": lambda: st.from_regex(schema["pattern"], fullmatch=True) if "pattern" in schema else text,
    }
    return kinds.get(schema.get("type", ""), lambda: text)()


@st.composite
def payloads(draw: st.DrawFn) -> tuple[str, bytes]:
    """A command, and a payload of its schema in which values, keys or bytes are others."""
    from edged.contract.commands import COMMANDS

    name = draw(st.sampled_from(sorted(COMMANDS)))
    schema = COMMANDS[name].model_json_schema()
    args = draw(fitting(schema, schema.get("$defs", {})))
    message: dict[str, Any] = {"id": draw(st.text("abc019-_", min_size=1, max_size=64)), "args": args}
    for where in draw(st.lists(st.sampled_from([message, args]), max_size=2)):
        where[draw(st.sampled_from([*where, "v", "ts", "expires", "more"]))] = draw(_ANYTHING)
    data = json.dumps(message, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if draw(st.booleans()):
        return name, data
    at = draw(st.integers(0, len(data)))
    return name, data[:at] + draw(st.binary(max_size=6)) + data[at + draw(st.integers(0, 6)) :]


@given(payloads())
@settings(max_examples=300)
def test_what_hypothesis_makes_of_the_schemas_is_accepted_or_rejected_in_a_line(sent: tuple[str, bytes]) -> None:
    from benchmarks.fuzz_commands import judge

    judge(*sent)  # asserts what a rejection promises


@given(payloads())
@settings(max_examples=300)
def test_what_is_accepted_is_accepted_again_when_its_json_is_written_anew(sent: tuple[str, bytes]) -> None:
    from benchmarks.fuzz_commands import judge

    name, data = sent
    if judge(name, data) == "accepted":
        again = json.dumps(json.loads(data)).encode("utf-8", "surrogatepass")
        assert judge(name, again) == "accepted"


def test_what_libfuzzer_says_is_counted() -> None:
    from benchmarks.fuzz_guided import summary

    said = """#2\tINITED cov: 73 ft: 99 corp: 40/9Kb exec/s: 0 rss: 90Mb
#7\tNEW    cov: 75 ft: 101 corp: 41/9Kb lim: 99 exec/s: 0 rss: 90Mb L: 9/9 MS: 1 ChangeBit-
 === Uncaught Python exception: ===
ValueError: broken
#9\tDONE   cov: 75 ft: 101 corp: 41/9Kb lim: 99 exec/s: 4 rss: 90Mb
stat::number_of_executed_units: 9
"""
    sound = {"executions": 9, "edges_at_first": 73, "edges": 75, "corpus": 41}
    assert summary(said, 0, []) == {**sound, "found": [], "wrong": []}
    told = summary(said, 77, [b"\x01\x02"])
    assert (told["found"], told["wrong"]) == (["0102"], ["exit code 77", "ValueError: broken"])
    with pytest.raises(RuntimeError, match="has not begun"):
        summary("no such module", 1, [])


@pytest.mark.parametrize("what", ["commands", "images", "models"])
def test_guided_inputs_find_nothing_or_this_machine_says_why_not(what: str) -> None:
    if what != "images" and importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: that this is said is tried once")
    command = [sys.executable, "-m", "benchmarks", "fuzz", what, "--guided", "2", "--json"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=REPOSITORY / "tools", env=environment
    )
    if done.returncode == 2:
        assert len(done.stderr.splitlines()) == 1
        assert "--guided needs atheris" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    numbers = json.loads(done.stdout)["guided"][what]
    assert (numbers["found"], numbers["wrong"]) == ([], [])
    assert numbers["executions"] > 0
    assert numbers["edges"] >= numbers["edges_at_first"] > 0


def test_a_valid_payload_of_each_command_is_made() -> None:
    from benchmarks.fuzz_commands import judge, payload
    from edged.contract.commands import COMMANDS

    accepted = set()
    for number in range(3000):
        name, data = payload(random.Random(f"{SEED}/{number}"), f"n{number}")
        if judge(name, data) == "accepted":
            accepted.add(name)
    assert accepted == set(COMMANDS)


def test_what_costs_most_costs_little_memory() -> None:
    from benchmarks.fuzz_commands import costs, hostile

    names = [what for what in hostile() if what.startswith(("mill", "most"))]
    for what, one in costs(names).items():
        assert one["peak_mb"] < 40, what
        assert one["answer"] != "accepted", what


def test_pictures_are_decoded_or_refused_and_end_no_process() -> None:
    from benchmarks.fuzz_images import decode_all

    done = decode_all((SEED, 0, 400))
    assert (done.ended, done.wrong) == ([], [])
    assert sum(done.answers.values()) == 400
    assert done.answers["decoded"] > 50
    assert len(done.answers) > 5


def test_an_end_and_an_error_while_decoding_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import fuzz_images
    from edged.images import image

    def look_at(data: bytes) -> None:
        if data.startswith(b"BM"):
            raise KeyError("BMP")
        if data.startswith(b"RIFF"):
            fuzz_images.os._exit(7)

    monkeypatch.setattr(image, "look_at", look_at)
    done = fuzz_images.decode_all((SEED, 0, 100))
    assert done.ended
    assert all("WebP" in one for one in done.ended)
    assert done.wrong
    assert all("KeyError" in one for one in done.wrong)
    assert sum(done.answers.values()) + len(done.ended) == 100


def test_the_end_of_a_mutant_in_a_fork_is_told() -> None:
    from benchmarks.fuzz_models import open_in_a_fork, reason
    from benchmarks.model_mutants import Mutant
    from tests.crafted import CRAFTED, shipped_model

    def opened(model: bytes) -> tuple[str, str, int]:
        seen = open_in_a_fork(Mutant(0, "shipped", "made by hand", model))
        return seen.end, reason(seen.why), seen.classes

    assert opened(shipped_model()) == ("accepted", "", 1000)
    assert opened(b"no model")[:2] == ("refused", "not a TensorFlow Lite model (no TFLN mark)")
    end, why, _ = opened(CRAFTED["negative scale"]())
    assert end == "signal"
    assert why.startswith("SIG")


def test_the_daemon_s_turn_is_mixed() -> None:
    from benchmarks.fuzz_models import Opened, Turns

    ends = ["refused"] * 5 + ["accepted"] * 5 + ["not written"]
    turns = Turns(iter([Opened(number, "", "", end, "", 0.0) for number, end in enumerate(ends)]))
    turns._thread.join()
    taken = []
    while (one := turns.next()) is not None:
        taken.append(one.end)
    assert taken == ["accepted"] * 4 + ["refused", "accepted"] + ["refused"] * 4
    assert (turns.left(), len(turns.known)) == ([], 11)


def test_runs_of_several_seeds_count_as_one(tmp_path: Path) -> None:
    from benchmarks import fuzz
    from benchmarks.fuzz_models import together

    def run(seed: int, pushed: int, gap_s: float, ends: dict[str, int]) -> dict[str, Any]:
        return {
            "seed": seed,
            "mutants": 10,
            "bases": ["shipped"],
            "opened": {"ends": ends, "internal": [], "slowest_s": gap_s},
            "pushed": {
                **{"count": pushed, "restarts": 0, "lost": "", "memory_mb": [100, 120, 130 + seed]},
                **{"gap_ts_s": gap_s, "gaps": [[gap_s, gap_s, "models_add"]], "differ": []},
            },
        }

    one, two = run(1, 4, 0.7, {"refused": 3}), run(2, 5, 0.6, {"refused": 1, "signal": 2})
    both = together(one, two)
    assert (both["seed"], both["mutants"], both["opened"]["ends"]) == ([1, 2], 20, {"refused": 4, "signal": 2})
    pushed = both["pushed"]
    assert (pushed["count"], pushed["gap_ts_s"], pushed["memory_mb"]) == (9, 0.7, [100, 120, 132])
    assert [gap[0] for gap in pushed["gaps"]] == [0.7, 0.6]
    three = together(both, run(3, 1, 0.1, {}))
    assert three["pushed"]["count"] == 10
    assert [(one["seed"], one["count"], one["gap_ts_s"]) for one in three["runs"]] == [
        (1, 4, 0.7),
        (2, 5, 0.6),
        (3, 1, 0.1),
    ]
    with pytest.raises(ValueError, match="seed 2"):
        together(both, two)

    file = tmp_path / "fuzz.json"
    fuzz.add_to(file, {"models": one, "images": {"images": 1}})
    fuzz.add_to(file, {"models": two}, more=True)
    assert json.loads(file.read_text()) == {"models": both, "images": {"images": 1}}
    with pytest.raises(SystemExit, match="has models of seed 2 already"):
        fuzz.check_seed(file, 2)
    fuzz.check_seed(file, 3)


def test_numbers_stand_beside_those_of_another_day(tmp_path: Path) -> None:
    from benchmarks.fuzz import add_to

    file = tmp_path / "fuzz.json"
    add_to(file, {"models": 1})
    add_to(file, {"images": 2})
    add_to(file, {"models": 3})
    assert json.loads(file.read_text(encoding="utf-8")) == {"images": 2, "models": 3}


def test_the_report_s_daemon_went_on() -> None:
    """The kept numbers themselves: no restart, no traceback, no long gap that was not the machine's own."""
    numbers = json.loads((REPOSITORY / "tools" / "reports" / "fuzz.json").read_text(encoding="utf-8"))
    lives = [numbers[what]["live"] for what in ("commands", "images") if what in numbers]
    for seen in (numbers["models"]["pushed"], *lives):
        assert (seen["lost"], seen["restarts"], seen["tracebacks"], seen["exit_code"]) == ("", 0, 0, 0)
    assert numbers["commands"]["wrong"] == []
