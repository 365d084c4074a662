"""`configs/grafana-dashboard.json`, as Grafana would ask for it."""

from __future__ import annotations

import json
from typing import Any

from tests.conftest import REPOSITORY

DASHBOARD: dict[str, Any] = json.loads((REPOSITORY / "configs" / "grafana-dashboard.json").read_text(encoding="utf-8"))


def queries() -> list[tuple[str, str]]:
    """The title of a panel and an expression of PromQL, for each query, with every device chosen."""
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".+"))
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", [])
    ]
