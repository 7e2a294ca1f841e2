"""Which panels of a dashboard say nothing, asked of a real Prometheus."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fleet.panels.asking import Source, Span, choices, panels, queries, repeated

DASHBOARDS = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"


def read(name: str) -> dict[str, Any]:
    """A dashboard that is committed: `service`, `samples` or `training`."""
    return json.loads((DASHBOARDS / f"{name}.json").read_text())


def empty(
    url: str,
    dashboard: Mapping[str, Any],
    values: Mapping[str, Sequence[str]] | None = None,
    *,
    seconds: float,
    scrape: float = 15.0,
    folded: bool = False,
    known: set[str] | None = None,
) -> list[str]:
    """What of a dashboard has no finite value in the last `seconds`: variables that offer nothing, and queries, each as
    `panel: expression`. `values` chooses variables (else all of them, and each fixed window in turn); with `folded`,
    panels of folded rows are asked too. What shows something is added to `known`, and what is there is not asked
    again."""
    known = set() if known is None else known
    source = Source(url, Span(time.time(), seconds, scrape))
    every = choices(dashboard, values or {})
    found = [
        f"variable {variable['name']}"
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "query" and not source.options(variable, every[0])
    ]
    hidden = {panel["id"] for row in dashboard["panels"] if row["type"] == "row" for panel in row["panels"]}
    for panel in panels(dashboard):
        if panel["id"] in hidden and not folded:
            continue
        shown = [one for variables in every for one in repeated(source, dashboard, panel, variables)]
        for query in queries(panel):
            for text in {source.text(query, variables) for variables in shown} - known:
                if any(np.isfinite(series.values).any() for series in source.ask(text)):
                    known.add(text)
                else:
                    found.append(f"{panel['title']}: {text}")
    return found
