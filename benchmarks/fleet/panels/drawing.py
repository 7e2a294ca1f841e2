"""Panels drawn from what Prometheus answers. Close to what Grafana shows, and no screenshot of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from benchmarks.fleet.panels.asking import Dashboard, Series, Source, Variables, chosen, filled, queries, repeated

NOTE = "drawn from PromQL, not a Grafana screenshot"

_COLUMNS = 24
_INCHES = 0.7, 0.3  # of a cell of the grid
_DPI = 64
_COLOURS = 128  # a third of the bytes
_SHORT = 900  # seconds, within which a minute is long
_MOST_LEGENDS = 5
_MAPS = {"Oranges": "Oranges", "RdBu": "RdBu_r"}
_UNITS = {"s": "s", "percentunit": "%", "reqps": "req/s", "short": ""}


@dataclass(frozen=True)
class Tile:
    """A panel, or the heading of a row where it is none, on the grid; `variables` as this one of its repetitions."""

    title: str
    x: int
    y: int
    width: int
    height: int
    panel: Mapping[str, Any] | None
    variables: Variables


def draw(source: Source, dashboard: Dashboard, given: Variables, file: Path) -> None:
    """Write a dashboard's picture, of the source's span, as PNG; rows that are folded are left out."""
    tiles = list(_tiles(source, dashboard, chosen(dashboard, given)))
    rows = max(tile.y + tile.height for tile in tiles) + 2
    drawn = plt.figure(figsize=(_COLUMNS * _INCHES[0], rows * _INCHES[1]))
    drawn.text(0.01, 1 - 0.5 / rows, dashboard["title"], fontsize=15, fontweight="bold", va="center")
    drawn.text(0.99, 1 - 0.5 / rows, NOTE, fontsize=11, color="firebrick", ha="right", va="center")
    for tile in tiles:
        top = 1 - (tile.y + 1.2) / rows
        if tile.panel is None:
            drawn.text(0.01, top - 0.5 / rows, tile.title, fontsize=12, color="0.3", va="center")
        else:
            left, width = (tile.x + 1.1) / _COLUMNS, (tile.width - 1.4) / _COLUMNS
            axes = drawn.add_axes((left, top - (tile.height - 0.9) / rows, width, (tile.height - 2.3) / rows))
            _draw(axes, source, tile)
    _save(drawn, file)


def _save(drawn: Figure, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(file, dpi=_DPI)
    plt.close(drawn)
    with Image.open(file) as picture:
        few = picture.convert("RGB").quantize(_COLOURS)
    few.save(file, optimize=True)


def _tiles(source: Source, dashboard: Dashboard, variables: Variables) -> Iterator[Tile]:
    """The grid, with each panel as often as it is repeated."""
    x = y = height = 0
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            if panel["collapsed"]:
                continue
            yield Tile(filled(panel["title"], variables), 0, y + height, _COLUMNS, 1, None, variables)
            x, y, height = 0, y + height + 1, 0
            continue
        shown = repeated(source, dashboard, panel, variables)
        width = _COLUMNS // panel["maxPerRow"] if panel.get("repeat") else panel["gridPos"]["w"]
        for turn, own in enumerate(shown):
            if x + width > _COLUMNS or (panel.get("repeat") and turn == 0):
                x, y, height = 0, y + height, 0
            size = panel["gridPos"]["h"]
            yield Tile(filled(panel["title"], own), x, y, width, size, panel, own)
            x, height = x + width, max(height, size)


def _draw(axes: Axes, source: Source, tile: Tile) -> None:
    panel = tile.panel
    assert panel is not None
    answers = [source.ask(source.text(query, tile.variables), query.legend) for query in queries(panel)]
    series = list(itertools.chain.from_iterable(answers))
    if panel["type"] in ("stat", "table"):  # of now
        series = [one for one in series if one.times[-1] > source.span.end - 2 * source.span.step]
    axes.set_title(tile.title, fontsize=9, loc="left", pad=3)
    axes.tick_params(labelsize=7, length=2)
    match panel["type"]:
        case "timeseries":
            _lines(axes, panel, series)
        case "heatmap":
            _cells(axes, panel, series, cumulative=panel["targets"][0].get("format") == "heatmap")
        case "state-timeline":
            _bands(axes, panel, series, source.span.step)
        case "stat":
            _number(axes, panel, series)
        case "table":
            _rows(axes, panel, series)
    if panel["type"] in ("timeseries", "heatmap", "state-timeline"):
        axes.set_xlim(_moments(source.span.end - source.span.seconds), _moments(source.span.end))
        ends = np.linspace(*axes.get_xlim(), max(2, tile.width // 3 + 1))
        form = "%H:%M:%S" if source.span.seconds < _SHORT else "%H:%M"
        axes.set_xticks(ends, [_clock(moment, form) for moment in ends])


def _lines(axes: Axes, panel: Mapping[str, Any], series: Sequence[Series]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    factor = 100.0 if defaults["unit"] == "percentunit" else 1.0
    below: dict[float, float] = {}
    for one in series:
        values = one.values * factor
        if defaults["custom"].get("stacking"):
            bottom = np.array([below.get(time, 0.0) for time in one.times])
            values = bottom + np.nan_to_num(values)
            below |= dict(zip(one.times, values, strict=True))
            axes.fill_between(_moments(one.times), bottom, values, alpha=0.3)
        axes.plot(_moments(one.times), values, linewidth=1, label=one.legend)
    for step in defaults.get("thresholds", {}).get("steps", [])[1:]:
        axes.axhline(step["value"] * factor, color="firebrick", linestyle="--", linewidth=0.8)
    if "min" in defaults:
        axes.set_ylim(bottom=0)
    axes.set_ylabel(_UNITS.get(defaults["unit"], defaults["unit"]), fontsize=7, labelpad=1)
    if len(series) > 1:
        handles, labels = axes.get_legend_handles_labels()
        more = [*labels[: _MOST_LEGENDS - 1], f"and {len(labels) - _MOST_LEGENDS + 1} more"]
        shown = labels if len(labels) <= _MOST_LEGENDS else more
        axes.legend(handles[: len(shown)], shown, fontsize=6, loc="upper left", framealpha=0.6, borderpad=0.2)


def _cells(axes: Axes, panel: Mapping[str, Any], series: Sequence[Series], *, cumulative: bool) -> None:
    ordered = sorted(series, key=lambda one: float(one.legend))
    times = np.unique(np.concatenate([one.times for one in ordered]))
    grid = np.full((len(ordered), len(times)), np.nan)
    for row, one in enumerate(ordered):
        grid[row, np.searchsorted(times, one.times)] = one.values
    if cumulative:
        grid = np.diff(grid, axis=0, prepend=0)
    colour = panel["options"]["color"]
    limits = {"vmin": colour.get("min", 0), "vmax": colour.get("max")}
    exponential = colour["scale"] == "exponential"
    axes.pcolormesh(
        _moments(times), np.arange(len(ordered)), np.sqrt(np.maximum(grid, 0)) if exponential else grid,
        cmap=_MAPS[colour["scheme"]], shading="nearest", **limits,
    )  # fmt: skip
    every = max(1, len(ordered) // 6)
    axes.set_yticks(range(0, len(ordered), every), [one.legend for one in ordered[::every]])
    axes.set_ylabel(_UNITS.get(panel["options"]["yAxis"]["unit"], ""), fontsize=7, labelpad=1)


def _bands(axes: Axes, panel: Mapping[str, Any], series: Sequence[Series], step: float) -> None:
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    seen: dict[str, str] = {}
    for row, one in enumerate(series):
        for time, value in zip(one.times, one.values, strict=True):
            known = mapping["options"].get(f"{value:g}", {"text": f"{value:g}", "color": "lightgrey"})
            seen[known["text"]] = known["color"]
            axes.broken_barh([(_moments(time), step / 86_400)], (row - 0.4, 0.8), facecolors=known["color"], alpha=0.7)
    axes.set_yticks([])
    for row, one in enumerate(series):
        axes.text(0.02, row, one.legend, fontsize=7, va="center", transform=axes.get_yaxis_transform())
    axes.set_ylim(-0.6, max(len(series), 3) - 0.4)
    patches = [Rectangle((0, 0), 1, 1, color=colour, alpha=0.7) for colour in seen.values()]
    axes.legend(patches, list(seen), fontsize=6, loc="upper right", framealpha=0.6, borderpad=0.2)


def _number(axes: Axes, panel: Mapping[str, Any], series: Sequence[Series]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    axes.axis("off")
    latest = [float(one.values[-1]) for one in series]
    steps = defaults["thresholds"]["steps"]
    reached = [step["color"] for step in steps if step["value"] is None or (latest and latest[0] >= step["value"])]
    text = "   ".join(_readable(value, defaults["unit"]) for value in latest)
    axes.text(0.5, 0.5, text, fontsize=17, ha="center", va="center", color=reached[-1])


def _rows(axes: Axes, panel: Mapping[str, Any], series: Sequence[Series]) -> None:
    axes.axis("off")
    value = panel["transformations"][0]["options"]["renameByName"].get("Value")
    unit = panel["fieldConfig"]["defaults"]["unit"]
    columns = [*sorted(series[0].labels), *([value] if value else [])] if series else []
    cells = [
        [*(one.labels[name] for name in sorted(one.labels)), *([_readable(one.values[-1], unit)] if value else [])]
        for one in series
    ]
    if cells:
        table = axes.table(cells, colLabels=columns, loc="upper center", cellLoc="left", edges="horizontal")
        table.auto_set_font_size(False)
        table.set_fontsize(6)
        table.auto_set_column_width(list(range(len(columns))))


def _readable(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value:.3%}" if value < 0.01 else f"{value:.1%}"
    if unit == "s":
        scales = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"))
        size, name = next((scale for scale in scales if value >= scale[0]), scales[-1])
        return f"{value / size:.3g} {name}"
    return f"{value:,.3g} {_UNITS.get(unit, unit)}" if value < 1000 else f"{value:,.0f} {_UNITS.get(unit, unit)}"


def _clock(days: float, form: str) -> str:
    return datetime.fromtimestamp(days * 86_400, UTC).strftime(form)


def _moments(times: Any) -> Any:
    """Unix times as matplotlib's days."""
    return np.asarray(times) / 86_400
