"""The dashboard that ships: Prometheus understands what it asks, and edged exports it. Grafana itself is not run."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.metrics.dashboard import DASHBOARD, queries
from tests.metrics.snapshots import exported, metrics_in
from tests.prometheus import promtool

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def test_every_metric_that_it_asks_for_is_one_that_edged_exports() -> None:
    pytest.importorskip("prometheus_client", reason="needs prometheus-client (pip install prometheus-client)")
    asked = {title: metrics_in(expression) for title, expression in queries()}
    assert {title for title, metrics in asked.items() if not metrics} == {"Device"}, "that one asks for `up`"
    assert set().union(*asked.values()) <= exported()


def test_what_belongs_on_it_is_on_it() -> None:
    shown = " ".join(expression for _, expression in queries())
    for metric in ("frames_total", "temperature", "power", "results_total", "outbox_messages", "model_accuracy"):
        assert f"edged_{metric}" in shown
    for quantile in ("0.5", "0.95", "0.99"):
        assert f"histogram_quantile({quantile}, sum by (le, instance) (rate(edged_frame_latency" in shown


def test_prometheus_understands_what_it_asks(tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": query} for number, (_, query) in enumerate(queries())]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    code, said = promtool("check", "rules", "--lint=none", str(tmp_path / "rules.yml"))
    assert (code, f"{len(rules)} rules found" in said) == (0, True), said


def test_its_data_source_is_a_variable() -> None:
    datasource, instance = DASHBOARD["templating"]["list"]
    assert (datasource["name"], datasource["type"], datasource["query"]) == ("datasource", "datasource", "prometheus")
    assert (instance["name"], instance["datasource"]) == ("instance", DATASOURCE)
    assert instance["definition"] == instance["query"]["query"] == "label_values(edged_info, instance)"
    for panel in DASHBOARD["panels"]:
        assert panel.get("datasource") == (None if panel["type"] == "row" else DATASOURCE), panel["title"]
        assert all(target["datasource"] == DATASOURCE for target in panel.get("targets", []))
        assert all('instance=~"$instance"' in target["expr"] for target in panel.get("targets", []))
    assert "id" not in DASHBOARD, "Grafana numbers those that it imports"
    assert DASHBOARD["schemaVersion"] >= 38, "Grafana 10"


def test_no_panel_lies_on_another() -> None:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24, panel["title"]
    for one, other in combinations(panels, 2):
        a, b = one["gridPos"], other["gridPos"]
        apart = [a[at] + a[size] <= b[at] or b[at] + b[size] <= a[at] for at, size in (("x", "w"), ("y", "h"))]
        assert any(apart), (one["title"], other["title"])
