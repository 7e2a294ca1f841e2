"""The dashboards as files: what a Grafana would trip over, and whether all that is exported is looked at."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram, Metric

from benchmarks.fleet.panels.asking import Span, choices, filled, panels, queries
from deploy import windows
from deploy.generated import generated
from deploy.names import series
from deploy.rules import rule_groups
from deploy.rules.rule import Alert, Record
from latentserve.service.watching import metrics as serving
from latentserve.training.reporting import metrics as training
from tests.deploy.grafana_types import mistyped
from tests.deploy.panels import DASHBOARDS, read

DEPLOY = DASHBOARDS.parents[1]
NAMES = sorted(file.stem for file in DASHBOARDS.glob("*.json"))
COLUMNS = 24

RULES = [rule for groups in rule_groups(windows.Times()).values() for group in groups for rule in group.rules]
OF_PROMETHEUS = {"up", "ALERTS"}
# What dcgm-exporter exports unless it is told otherwise (its etc/default-counters.csv), as far as it is of use here.
OF_GPUS = {
    f"DCGM_FI_DEV_{name}"
    for name in (
        "FB_FREE", "FB_USED", "GPU_TEMP", "GPU_UTIL", "POWER_USAGE", "ROW_REMAP_FAILURE", "SM_CLOCK",
        "UNCORRECTABLE_REMAPPED_ROWS", "XID_ERRORS",
    )
}  # fmt: skip


def exported() -> dict[str, str]:
    """Every series that a server or a run shows, by name: the metric it is of."""
    found = {}
    for module in (serving, training):
        for metric in vars(module).values():
            if isinstance(metric, Counter | Gauge | Histogram | Metric):
                name = series(metric)
                ends = ("_bucket", "_count", "_sum") if isinstance(metric, Histogram) else ("",)
                found |= {f"{name}{end}": name for end in ends}
    return found


def selectors(expression: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The metrics of an expression, each with the functions it is an argument of, outermost first."""
    functions: list[str] = []
    found: list[tuple[str, tuple[str, ...]]] = []

    def enter(node: Any) -> None:
        if isinstance(node, promql_parser.Call):
            functions.append(node.func.name)
        elif isinstance(node, promql_parser.VectorSelector):
            found.append((node.name, tuple(functions)))
        elif isinstance(node, promql_parser.MatrixSelector):
            found.append((node.vector_selector.name, tuple(functions)))

    def leave(node: Any) -> None:
        if isinstance(node, promql_parser.Call):
            functions.pop()

    promql_parser.walk(promql_parser.parse(expression), enter, leave)
    yield from found


def expressions(dashboard: Mapping[str, Any]) -> set[str]:
    """All that its panels can ask, with everything chosen."""
    own = Span(end=0, seconds=3600).own
    asked = [query.expression for panel in panels(dashboard) for query in queries(panel)]
    return {filled(one, {**variables, **own}) for variables in choices(dashboard, {}) for one in asked}


def used() -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    """Of every file and rule, what it asks for."""
    found = {f"{name}.json": [one for e in expressions(read(name)) for one in selectors(e)] for name in NAMES}
    for rule in RULES:
        found.setdefault(rule.name, []).extend(selectors(rule.expr))
    return found


@pytest.fixture(params=NAMES)
def dashboard(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request.param)


def test_there_are_three():
    assert NAMES == ["samples", "service", "training"]
    assert {f"grafana/dashboards/{name}.json" for name in NAMES} <= generated(windows.Times(), "").keys()


def test_every_metric_exported_is_used_and_every_one_used_is_exported():
    asked = {name for found in used().values() for name, _ in found}
    records = {rule.name for rule in RULES if isinstance(rule, Record)}
    shown = exported()
    assert asked - records - shown.keys() - OF_PROMETHEUS - OF_GPUS == set()
    assert set(shown.values()) - {shown[name] for name in asked & shown.keys()} == set()
    assert OF_GPUS - asked == set()


def test_every_record_is_looked_at_in_the_end():
    """By an alert, a panel or a runbook, perhaps through other records."""
    asked = {record.name: [] for record in RULES if isinstance(record, Record)}
    for record in RULES:
        if isinstance(record, Record):
            asked[record.name] += [name for name, _ in selectors(record.expr)]
    alerts = (rule.expr for rule in RULES if isinstance(rule, Alert))
    wanted = [name for board in NAMES for e in expressions(read(board)) for name, _ in selectors(e)]
    wanted += [name for expression in alerts for name, _ in selectors(expression)]
    pages = "".join(page.read_text() for page in (DEPLOY.parent / "docs" / "runbooks").glob("*.md"))
    wanted += [name for name in asked if name in pages]
    seen: set[str] = set()
    while wanted:
        if (name := wanted.pop()) not in seen:
            seen.add(name)
            wanted += asked.get(name, [])
    assert asked.keys() - seen == set()


def test_rates_are_of_counters_and_only_of_them():
    counts = re.compile(r"_(total|bucket|count|sum)$")
    shown = exported()
    for where, found in used().items():
        for name, functions in found:
            of_rate = {"rate", "increase"} & set(functions)
            if name in shown:
                assert not of_rate or counts.search(name), f"{where}: {of_rate} of {name}"
                grows = counts.search(name) and not name.startswith("latentserve_training_")
                born = where == "model_code:latentserve_requests:rate5m"  # counts what a series was born with
                assert of_rate or born or not grows, f"{where}: {name} without a rate"


def test_names_and_places(dashboard: dict[str, Any]):
    assert len(dashboard["uid"]) <= 40
    assert dashboard["title"]
    assert dashboard["description"]
    everything = [*panels(dashboard), *(row for row in dashboard["panels"] if row["type"] == "row")]
    ids = [panel["id"] for panel in everything]
    assert sorted(ids) == list(range(1, len(ids) + 1))
    taken: dict[tuple[int, int], str] = {}
    for panel in everything:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS, panel["title"]
        assert place["w"] > 0, panel["title"]
        assert place["h"] > 0, panel["title"]
        cells = itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        )
        for cell in cells:
            assert cell not in taken, f"{panel['title']} lies on {taken[cell]}"
            taken[cell] = panel["title"]


def test_what_a_panel_says_of_itself(dashboard: dict[str, Any]):
    titles = [panel["title"] for panel in panels(dashboard)]
    assert all(titles)
    for panel in panels(dashboard):
        title = panel["title"]
        assert panel["description"].endswith("."), title
        assert panel["fieldConfig"]["defaults"]["unit"], title
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, title
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH"[: len(panel["targets"])]), title
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"]), title
        legends = [target["legendFormat"] for target in panel["targets"]]
        assert len(set(legends)) == len(legends), title
        if panel["type"] == "timeseries" and len(panel["targets"]) > 1:
            assert all(legends), title


def test_queries_move_with_the_time_that_is_looked_at(dashboard: dict[str, Any]):
    for panel in panels(dashboard):
        for query in queries(panel):
            assert set(re.findall(r"\[(.+?)\]", query.expression)) <= {"$__rate_interval"}, query


def test_every_variable_is_declared_and_used(dashboard: dict[str, Any]):
    name = dashboard["uid"].removeprefix("latentserve-")
    declared = {variable["name"] for variable in dashboard["templating"]["list"]}
    text = (DASHBOARDS / f"{name}.json").read_text()
    mentioned = set(re.findall(r"\$\{?(\w+)", text))
    assert mentioned - {"__rate_interval", "__all"} == declared
    assert {"datasource", "runbooks"} < declared
    chosen = {"recipe", "run"} if name == "training" else {"model", "version", "instance"}
    assert chosen <= declared


def test_values_of_any_text_can_be_chosen(dashboard: dict[str, Any]):
    """Between quotes a value would end at a quote of its own; between backticks it may hold all but these."""
    for panel in panels(dashboard):
        for query in queries(panel):
            assert re.findall(r'[=~] *"[^"]*\$', query.expression) == [], query


def test_links_lead_to_runbooks_of_alerts(dashboard: dict[str, Any]):
    alerts = {rule.name for rule in RULES if isinstance(rule, Alert)}
    linked = {link["url"] for panel in panels(dashboard) for link in panel.get("links", [])}
    assert linked
    assert linked <= {f"${{runbooks}}/{name}.md" for name in alerts}


def test_every_alert_is_explained_beside_a_panel():
    alerts = {rule.name for rule in RULES if isinstance(rule, Alert)}
    links = (link for name in NAMES for panel in panels(read(name)) for link in panel.get("links", []))
    assert alerts - {Path(link["url"]).stem for link in links} == set()


def test_grafana_finds_its_data_and_its_dashboards():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    provisioning = DEPLOY / "grafana" / "provisioning"
    sources = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())
    providers = yaml.safe_load((provisioning / "dashboards" / "latentserve.yaml").read_text())
    assert sources["apiVersion"] == providers["apiVersion"] == 1
    (default,) = (source for source in sources["datasources"] if source.get("isDefault"))
    assert default["type"] == "prometheus"
    assert default["jsonData"]["timeInterval"] == windows.duration(windows.SCRAPE)
    for source in sources["datasources"]:
        host, port = re.fullmatch(r"http://(\w+):(\d+)", source["url"]).groups()
        assert any(published.endswith(f":{port}") for published in compose[host]["ports"])
    (provider,) = providers["providers"]
    mounts = dict(volume.split(":")[1::-1] for volume in compose["grafana"]["volumes"])
    assert (DEPLOY / mounts[provider["options"]["path"]]).resolve() == DASHBOARDS
    assert (DEPLOY / mounts["/etc/grafana/provisioning"]).resolve() == provisioning
    home = Path(compose["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (DASHBOARDS / home.relative_to(provider["options"]["path"])).is_file()


def test_types_are_those_that_grafana_publishes(tmp_path: Path):
    assert mistyped(tmp_path, {name: read(name) for name in NAMES}) == ""


@pytest.mark.full
def test_a_misspelt_option_is_noticed(tmp_path: Path):
    wrong = read("training")
    first = next(panels(wrong))
    first["options"]["graphMood"] = "none"
    said = mistyped(tmp_path, {"training": wrong}).splitlines()
    assert len([line for line in said if "graphMood" in line]) >= 2  # of either version
