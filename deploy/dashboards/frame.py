"""What a dashboard is besides its panels: variables, how queries select by them, the grid, and its JSON."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from deploy.dashboards.panels import SOURCE, Panel
from deploy.dashboards.queries import Metric, of, one_of

TAG = "latentserve"
Variable = Builder[model.VariableModel]


@dataclass(frozen=True)
class Section:
    """A row of the grid and the panels under it; a folded one asks nothing until it is opened."""

    title: str
    panels: Sequence[Panel]
    folded: bool = False


def labels_of(metric: Metric, label: str, title: str, *, within: Sequence[str] = ()) -> Variable:
    """A variable called as the label, of the values that it has on this metric `within` what other variables choose."""
    return (
        build.QueryVariable(label)
        .label(title)
        .query({"query": f"label_values({of(metric, one_of(*within))}, {label})", "refId": label})
        .datasource(SOURCE)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.NATURAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(model.VariableOption(text="All", value="$__all"))
    )


def choice(name: str, title: str, values: Sequence[str], first: str) -> Variable:
    """A variable with one of these values."""
    return (
        build.CustomVariable(name)
        .label(title)
        .values(",".join(values))
        .options([model.VariableOption(text=value, value=value, selected=value == first) for value in values])
        .current(model.VariableOption(text=first, value=first))
    )


def dashboard(
    name: str, title: str, says: str, variables: Sequence[Variable], sections: Sequence[Section], *, runbooks: str
) -> str:
    """The JSON of a dashboard, the same for the same arguments."""
    board = (
        build.Dashboard(title)
        .uid(f"{TAG}-{name}")
        .description(says)
        .tags([TAG])
        .time("now-6h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(
            build.DashboardLink("Dashboards")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(build.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for variable in variables:
        board.with_variable(variable)
    board.with_variable(build.ConstantVariable("runbooks").value(runbooks))
    for section in sections:
        row = build.Row(section.title)
        if section.folded:
            for panel in section.panels:
                row.with_panel(panel)
            board.with_row(row)
        else:
            board.with_row(row)
            for panel in section.panels:
                board.with_panel(panel)
    whole = board.build()
    for declared in whole.templating.list_val or []:
        declared.auto = declared.auto_min = declared.auto_count = None  # of variables of another type
    numbers = itertools.count(1)
    for placed in whole.panels or []:
        placed.id_val = next(numbers)
        for inside in placed.panels if isinstance(placed, model.RowPanel) else []:
            inside.id_val = next(numbers)
    return json.dumps(whole, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
