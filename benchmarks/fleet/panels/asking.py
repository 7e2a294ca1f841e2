"""Panels as Grafana would ask them: variables put in, then each query over a range of time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

Dashboard = Mapping[str, Any]
Variables = Mapping[str, Sequence[str]]  # what is chosen; of several values, all

_ASK_SECONDS = 60.0
_POINTS = 240
_LABEL_VALUES = re.compile(r"label_values\((?P<series>.+), *(?P<label>\w+)\)")
_VARIABLE = re.compile(r"\$(?:\{(?P<named>\w+)(?::(?P<form>\w+))?\}|(?P<bare>\w+))")
_SPECIAL = re.compile(r"[\\^$*+?.()|\[\]{}/]")


@dataclass(frozen=True)
class Span:
    """The time that is looked at, in seconds: `end` is a Unix time, `scrape` the data source's interval."""

    end: float
    seconds: float
    scrape: float = 15.0

    @property
    def step(self) -> float:
        """Between points: no more of them than a picture shows, no closer than scrapes."""
        return max(self.seconds / _POINTS, self.scrape)

    @property
    def own(self) -> dict[str, Sequence[str]]:
        """Grafana's own variables."""
        rate = max(self.step + self.scrape, 4 * self.scrape)
        return {"__rate_interval": [f"{round(rate * 1000)}ms"]}


@dataclass(frozen=True)
class Series:
    """One line: its labels, its legend, and values float64 [n] at Unix times float64 [n]."""

    labels: Mapping[str, str]
    legend: str
    times: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Query:
    """One query of a panel, still with its variables."""

    expression: str
    legend: str


def panels(dashboard: Dashboard) -> Iterator[Mapping[str, Any]]:
    """Every panel that asks something, those in folded rows too."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def queries(panel: Mapping[str, Any]) -> list[Query]:
    """The queries of a panel."""
    return [Query(target["expr"], target["legendFormat"]) for target in panel["targets"]]


def filled(text: str, variables: Variables) -> str:
    """A text with the values of variables in it: `${name:regex}` as a regular expression, else as they are. KeyError
    for one that is not there."""

    def value(found: re.Match[str]) -> str:
        values = variables[found["named"] or found["bare"]]
        if found["form"] != "regex" or values == [".*"]:
            return "|".join(values)
        escaped = [_SPECIAL.sub(r"\\\g<0>", one) for one in values]
        return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"

    return _VARIABLE.sub(value, text)


def chosen(dashboard: Dashboard, given: Variables) -> dict[str, Sequence[str]]:
    """The value of every variable of a dashboard: as `given`, else what it has when it is opened."""
    values: dict[str, Sequence[str]] = {}
    for variable in dashboard["templating"]["list"]:
        name = variable["name"]
        if name in given:
            values[name] = given[name]
        elif variable["type"] in ("constant", "datasource"):
            values[name] = [variable["query"]]
        else:
            values[name] = [variable["allValue"] if variable.get("includeAll") else variable["current"]["value"]]
    return values


def choices(dashboard: Dashboard, given: Variables) -> list[dict[str, Sequence[str]]]:
    """As `chosen`, once for each value that a list of fixed ones offers and that is not given."""
    every = [chosen(dashboard, given)]
    for variable in dashboard["templating"]["list"]:
        name = variable["name"]
        if variable["type"] == "custom" and name not in given:
            every = [{**values, name: [option["value"]]} for values in every for option in variable["options"]]
    return every


class Source:
    """A Prometheus, asked about a span of time."""

    def __init__(self, url: str, span: Span) -> None:
        self.span = span
        self._http = httpx.Client(base_url=f"{url.rstrip('/')}/api/v1/", timeout=_ASK_SECONDS)

    def text(self, query: Query, variables: Variables) -> str:
        """What a query asks."""
        return filled(query.expression, {**variables, **self.span.own})

    def ask(self, expression: str, legend: str = "") -> list[Series]:
        """The series of an expression without variables, over the span."""
        asked: dict[str, str | float] = {
            "query": expression,
            "start": self.span.end - self.span.seconds,
            "end": self.span.end,
            "step": self.span.step,
        }
        return [_series(found, legend) for found in self._get("query_range", asked)["result"]]

    def options(self, variable: Mapping[str, Any], variables: Variables) -> list[str]:
        """The values that a variable offers."""
        found = _LABEL_VALUES.fullmatch(variable["query"]["query"])
        if found is None:
            raise ValueError(f"variable {variable['name']}: not label_values: {variable['query']['query']}")
        series = filled(found["series"], variables)
        within: dict[str, str | float] = {
            "match[]": series,
            "start": self.span.end - self.span.seconds,
            "end": self.span.end,
        }
        return list(self._get(f"label/{found['label']}/values", within))

    def _get(self, path: str, parameters: Mapping[str, str | float]) -> Any:
        answer = self._http.get(path, params=parameters)
        if answer.status_code != 200:
            raise RuntimeError(f"{path} {dict(parameters)}: {answer.text[:500]}")
        return answer.json()["data"]


def repeated(source: Source, dashboard: Dashboard, panel: Mapping[str, Any], variables: Variables) -> list[Variables]:
    """Variables for each time a panel is shown: once, or for every value of the variable it repeats for."""
    name = panel.get("repeat")
    if not name:
        return [variables]
    (variable,) = (one for one in dashboard["templating"]["list"] if one["name"] == name)
    values = source.options(variable, variables) if variables[name] == [variable["allValue"]] else variables[name]
    return [{**variables, name: [value]} for value in values]


def _series(found: Mapping[str, Any], legend: str) -> Series:
    labels = found["metric"]
    times, values = zip(*found["values"], strict=True)
    name = re.sub(r"\{\{ *(\w+) *\}\}", lambda label: labels.get(label[1], ""), legend).strip()
    return Series(labels, name, np.array(times, dtype=np.float64), np.array(values, dtype=np.float64))
