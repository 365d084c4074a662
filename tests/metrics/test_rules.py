"""The alert rules that ship: Prometheus's own tool takes them, and they fire when they should."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.metrics.snapshots import exported, metrics_in
from tests.prometheus import promtool

RULES = REPOSITORY / "configs" / "prometheus-rules.yml"
TESTS = sorted(Path(__file__).parent.glob("rules_*test.yml"))


def alerts() -> dict[str, str]:
    """Each alert's expression. No YAML is needed to read what stands on one line."""
    return dict(re.findall(r"- alert: (\w+)\n +expr: (.+)\n", RULES.read_text(encoding="utf-8")))


def test_promtool_takes_them_and_the_example_that_names_them() -> None:
    """Where they lie in the checkout, and side by side anywhere else."""
    code, said = promtool("check", "config", str(REPOSITORY / "configs" / "prometheus.yml"))
    assert (code, f"{len(alerts())} rules found" in said) == (0, True), said


def test_they_fire_when_they_should_and_not_before() -> None:
    code, said = promtool("test", "rules", *map(str, TESTS))
    assert code == 0, said


def test_each_of_them_has_a_test_and_a_time_at_which_it_is_silent() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in TESTS)
    names = set(re.findall(r"^ +alertname: (\w+)$", text, re.MULTILINE))
    silent = set(re.findall(r"\{eval_time: \w+, alertname: (\w+)\}", text))
    assert names == silent == alerts().keys()


def test_they_ask_for_metrics_that_there_are() -> None:
    pytest.importorskip("prometheus_client", reason="needs prometheus-client (pip install prometheus-client)")
    asked = {name: metrics_in(expression) for name, expression in alerts().items()}
    assert {name for name, metrics in asked.items() if not metrics} == {"EdgedOffline"}
    assert set().union(*asked.values()) <= exported()
