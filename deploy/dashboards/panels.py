"""One builder for each kind of panel: title, unit, what it says, and queries. Few options, so that all look alike.

A query is `(expression, legend)`, where a legend names labels: `{{instance}}`.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import common, heatmap, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode, HeatmapColorScale
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Query = tuple[str, str]
Panel = Builder[model.Panel]

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, RED, BLUE, PURPLE, ORANGE, GREY = "green", "yellow", "red", "blue", "purple", "orange", "#808080"

_HEIGHT = 8


def lines(
    title: str,
    unit: str,
    says: str,
    *queries: Query,
    width: int = 8,
    runbooks: Sequence[str] = (),
    alarm: float | None = None,
    most: float | None = None,
    signed: bool = False,
    stacked: bool = False,
    repeat: str = "",
) -> Panel:
    """Values over time; a dashed line at `alarm`, the axis up to `most` and, but for signed values, from 0. Once for
    each value of the variable `repeat`."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(says)
        .unit(unit)
        .span(width)
        .height(_HEIGHT)
        .datasource(SOURCE)
        .links(_links(runbooks))
        .line_width(1)
        .show_points(options.VisibilityMode.NEVER)
        .tooltip(common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI).sort(options.SortOrder.DESCENDING))
    )
    if not signed:
        panel.min(0)
    if most is not None:
        panel.max(most)
    if alarm is not None:
        panel.thresholds(_steps(GREEN, {alarm: RED})).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(options.GraphThresholdsStyleMode.DASHED)
        )
    if repeat:
        panel.repeat(repeat).repeat_direction("h").max_per_row(4)
    if stacked:
        panel.fill_opacity(30).stacking(common.StackingConfig().mode(options.StackingMode.NORMAL).group("A"))
    for name, query in zip(string.ascii_uppercase, queries, strict=False):
        panel.with_target(_target(name, query).range())
    return panel


def number(
    title: str,
    unit: str,
    says: str,
    query: Query,
    *,
    width: int = 4,
    runbooks: Sequence[str] = (),
    colours: Mapping[float, str] | None = None,
    first: str = GREEN,
) -> Panel:
    """The value of now, large; its colour is `first`, and another from each of `colours`' values on."""
    return (
        stat.Panel()
        .title(title)
        .description(says)
        .unit(unit)
        .span(width)
        .height(_HEIGHT // 2)
        .datasource(SOURCE)
        .links(_links(runbooks))
        .graph_mode(options.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_steps(first, colours or {}))
        .with_target(_target("A", query).instant())
    )


def buckets(
    title: str, unit: str, says: str, expression: str, *, width: int = 6, runbooks: Sequence[str] = ()
) -> Panel:
    """A heat map of a histogram; `expression` is by `le`, cumulative as Prometheus has it."""
    return (
        _heat(title, says, width, runbooks)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .scale(HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
        )
        .unit(unit)
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .cell_values(heatmap.CellValues().unit("short"))
        .with_target(_target("A", (expression, "{{le}}")).format(PromQueryFormat.HEATMAP).range())
    )


def shares(
    title: str, says: str, query: Query, *, repeat: str = "", width: int = 24, runbooks: Sequence[str] = ()
) -> Panel:
    """A heat map of shares over those expected, a row for each series: 1 is pale, more red, less blue. Once for each
    value of the variable `repeat`."""
    panel = (
        _heat(title, says, width, runbooks)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(HeatmapColorMode.SCHEME)
            .scheme("RdBu")
            .scale(HeatmapColorScale.LINEAR)
            .reverse(True)
            .steps(64)
            .min(0)
            .max(2)
        )
        .unit("percentunit")
        .y_axis(heatmap.YAxisConfig().unit("short"))
        .cell_values(heatmap.CellValues().unit("percentunit"))
        .with_target(_target("A", query).range())
    )
    if repeat:
        panel.repeat(repeat).repeat_direction("h").max_per_row(4)
    return panel


def states(
    title: str,
    says: str,
    *queries: Query,
    names: Mapping[int, tuple[str, str]],
    width: int = 12,
    runbooks: Sequence[str] = (),
) -> Panel:
    """A band over time for each series; `names` gives a value its text and colour."""
    known = {str(value): model.ValueMappingResult(text=text, color=colour) for value, (text, colour) in names.items()}
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(says)
        .unit("short")
        .span(width)
        .height(_HEIGHT)
        .datasource(SOURCE)
        .links(_links(runbooks))
        .mappings([model.ValueMap(options=known)])
        .color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
        .thresholds(_steps(GREY, {}))
        .show_value(options.VisibilityMode.AUTO)
        .merge_values(True)
        .row_height(0.9)
        .fill_opacity(70)
    )
    for name, query in zip(string.ascii_uppercase, queries, strict=False):
        panel.with_target(_target(name, query).range())
    return panel


def rows(
    title: str,
    unit: str,
    says: str,
    expression: str,
    *,
    value: str | None,
    width: int = 12,
    runbooks: Sequence[str] = (),
) -> Panel:
    """A table of now: a column for each label, and one called `value` unless it says nothing."""
    hidden = {"Time": True} if value else {"Time": True, "Value": True}
    return (
        table.Panel()
        .title(title)
        .description(says)
        .unit(unit)
        .span(width)
        .height(_HEIGHT)
        .datasource(SOURCE)
        .links(_links(runbooks))
        .with_transformation(
            model.DataTransformerConfig(
                id_val="organize", options={"excludeByName": hidden, "renameByName": {"Value": value} if value else {}}
            )
        )
        .with_target(_target("A", (expression, "")).format(PromQueryFormat.TABLE).instant())
    )


def _heat(title: str, says: str, width: int, runbooks: Sequence[str]) -> heatmap.Panel:
    return (
        heatmap.Panel()
        .title(title)
        .description(says)
        .span(width)
        .height(_HEIGHT)
        .datasource(SOURCE)
        .links(_links(runbooks))
        .calculate(False)
        .show_legend()
        .mode(options.TooltipDisplayMode.SINGLE)
    )


def _target(name: str, query: Query) -> prometheus.Dataquery:
    expression, legend = query
    return prometheus.Dataquery().ref_id(name).datasource(SOURCE).expr(expression).legend_format(legend)


def _steps(first: str, further: Mapping[float, str]) -> build.ThresholdsConfig:
    steps = [model.Threshold(value=None, color=first)]
    steps += [model.Threshold(value=value, color=colour) for value, colour in further.items()]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _links(alerts: Sequence[str]) -> list[Builder[model.DashboardLink]]:
    return [
        build.DashboardLink(f"Runbook: {alert}")
        .type(model.DashboardLinkType.LINK)
        .url(f"${{runbooks}}/{alert}.md")
        .target_blank(True)
        for alert in alerts
    ]
