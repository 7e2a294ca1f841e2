"""Servers, Prometheus and Alertmanager as processes: without a fault no alert; with one the alert, replica and cause.

The rules are those of `deploy`, fifteen times as fast, so that scrapes are a second apart. Waits are bounds.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.drift.faults import CASES, without_seed
from benchmarks.fleet.fleet import CAUSE_NAMED, Fleet, fleet
from benchmarks.fleet.load import mixed
from benchmarks.fleet.prometheus import Prometheus, Rules, write_rules
from benchmarks.fleet.trials import FAULTY
from benchmarks.fleet.webhook import Notice, Webhook
from tests.conftest import make_bundle
from tests.deploy.panels import empty, read
from tests.fleet import tool
from tests.generators import dense_critic, dense_generator

FASTER = 15.0
LABELS = ['north "N"', "süd", "öst\\", "west's {1}"]  # names that PromQL and templates must not trip over
RATE, ROWS = 6.0, 100  # requests a second to a replica, rows of one
HEALTHY = 15.0  # seconds
PATIENCE = 120.0
SETTLED = 90.0  # seconds after the recovery, within which nothing fires any more
# But these: probes keep the server's own time, and a budget that was spent is not given back.
SLOW = ("LatentserveGoldenProbeMismatch", "LatentserveErrorBudgetBurn")

NAN, WIDE = "NaN at rate 0.01", "latents N(0, 1.1^2)"
# What a case is told by beside the cause that the replica itself names.
ALSO = {
    NAN: ("LatentserveNonFiniteOutput",),
    "swapped file": ("LatentserveGoldenProbeMismatch",),
    "bit flip": ("LatentserveReplicaNotReady",),
    "latents truncated at 0.7": ("LatentserveReplicaOutlier",),  # of the same version as its neighbours
    "mode dropped, whole": ("LatentserveDriftEvidence", "LatentserveOutputDrift"),
}

# A minute where two cores have nothing else to do.
pytestmark = pytest.mark.timeout(900)

Watched = tuple[Fleet, Prometheus, Webhook]


def bundle_of(folder: Path, name: str = "healthy", **options: object) -> Path:
    """With a reference that has a cell for each label."""
    given = {
        "generator": dense_generator(labels=len(LABELS), depth=2).SerializeToString(),
        "critic": dense_critic(labels=len(LABELS)).SerializeToString(),
        "labels": LABELS,
        "reference_samples": 80_000,
    }
    return make_bundle(folder / name, "toy", **{**given, **options})


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    for name in ("prometheus", "alertmanager"):
        tool(name)
    return write_rules(tmp_path_factory.mktemp("rules"), FASTER)


def quiet(webhook: Webhook, seconds: float) -> None:
    """Nothing comes for so long."""
    began = time.monotonic()
    time.sleep(seconds)
    assert [str(notice) for notice in webhook.since(began) if notice.firing] == []


def no_silent_panel(prometheus: Prometheus, rules: Rules) -> None:
    """Every panel shows something of these servers, as soon as each rule has been looked at."""
    end = time.monotonic() + SETTLED
    known: set[str] = set()
    while silent := [
        f"{name}: {panel}"
        for name in ("service", "samples")
        for panel in empty(prometheus.url, read(name), seconds=HEALTHY, scrape=rules.scrape, known=known)
    ]:
        assert time.monotonic() < end, silent
        time.sleep(3 * rules.scrape)  # the queries of a round take Prometheus as long as many scrapes


def named(watched: Watched, case: str, index: int, began: float) -> Notice:
    """The alert that says what befell this replica."""
    running, prometheus, webhook = watched
    found = webhook.wait(lambda notice: running.names(notice, case, index), PATIENCE, began)
    assert found is not None, ([str(notice) for notice in webhook.since(began)], prometheus.alerts())
    return found


def told(watched: Watched, name: str, began: float) -> Notice:
    """The alert of this name."""
    _, prometheus, webhook = watched
    found = webhook.wait(lambda notice: notice.name == name, PATIENCE, began)
    assert found is not None, ([str(notice) for notice in webhook.since(began)], prometheus.alerts())
    return found


def causes(webhook: Webhook, began: float) -> dict[str, str]:
    """What replicas were said to suffer from."""
    found = (notice for notice in webhook.since(began) if notice.firing and notice.name == CAUSE_NAMED)
    return {notice.labels["instance"]: notice.labels["cause"] for notice in found}


def test_two_faults_on_two_replicas(rules: Rules, tmp_path: Path) -> None:
    """The short form: healthy, then faulty. That it is over when it is healed, and that workers of one replica tell the
    same, is in the full form."""
    bundle = bundle_of(tmp_path)
    with (
        fleet(tmp_path / "fleet", bundle, replicas=2, workers=1, rate=RATE, rows=ROWS) as running,
        running.watched(rules) as (prometheus, webhook),
    ):
        no_silent_panel(prometheus, rules)
        assert [str(notice) for notice in webhook.since()] == []
        began = time.monotonic()
        for index, case in enumerate((WIDE, NAN)):
            running.inject(case, index)
        watched = running, prometheus, webhook
        wide, nan = (named(watched, case, index, began) for index, case in enumerate((WIDE, NAN)))
        assert (wide.labels["severity"], nan.labels["severity"]) == ("ticket", "page")
        assert nan.annotations["runbook_url"].endswith(f"/{CAUSE_NAMED}.md")
        broken = told(watched, *ALSO[NAN], began)
        assert broken.labels["instance"] == running.replicas[1].instance
        assert causes(webhook, began) == {
            running.replicas[index].instance: CASES[case].cause for index, case in enumerate((WIDE, NAN))
        }
        assert prometheus.failing_rules() == []


# The full form: four replicas of two workers each.


@pytest.fixture(scope="module")
def replicas(rules: Rules, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with fleet(folder / "fleet", bundle_of(folder), replicas=4, workers=2, rate=RATE, rows=ROWS) as running:
        yield running


@pytest.fixture
def calm(replicas: Fleet, rules: Rules) -> Iterator[Watched]:
    """Healthy, and watched by a Prometheus that remembers nothing of other tests."""
    for load in replicas.loads:
        load.rate = RATE
        load.send(mixed)
    with replicas.watched(rules) as (prometheus, webhook):
        quiet(webhook, HEALTHY / 2)
        yield replicas, prometheus, webhook


@pytest.mark.full
def test_no_alert_while_load_changes_and_replicas_are_replaced(calm: Watched) -> None:
    running, prometheus, webhook = calm
    for index, load in enumerate(running.loads):
        load.rate = RATE * (0.2, 0.5, 1.5, 2.0)[index]
        load.send(without_seed if index % 2 else mixed)
        running.replace(index, prometheus)
        time.sleep(HEALTHY / 2)
    quiet(webhook, HEALTHY)
    assert [str(notice) for notice in webhook.since()] == []
    assert prometheus.failing_rules() == []


@pytest.mark.full
def test_no_alert_without_traffic(calm: Watched) -> None:
    running, prometheus, webhook = calm
    for load in running.loads:
        load.rate = 0.0
    quiet(webhook, 2 * HEALTHY)
    assert prometheus.failing_rules() == []


@pytest.mark.full
def test_no_alert_of_scrapes_that_come_late(calm: Watched, rules: Rules) -> None:
    running, _, webhook = calm
    replica = running.replicas[2]
    for stop_or_go in (signal.SIGSTOP, signal.SIGCONT):
        os.killpg(replica.pid, stop_or_go)
        time.sleep(4 * rules.scrape)
    quiet(webhook, HEALTHY)


@pytest.mark.full
def test_no_alert_of_one_replica_on_another_version(calm: Watched, tmp_path: Path) -> None:
    """Healthy by its own reference. Restarted in its place, within all windows."""
    running, prometheus, webhook = calm
    other = dense_generator(labels=len(LABELS), depth=2, seed=7).SerializeToString()
    running.replicas[1].restart(bundle_of(tmp_path, "other", generator=other))
    quiet(webhook, 2 * HEALTHY)
    versions = prometheus.query("count by (version) (latentserve_model_ready == 1)")
    assert sorted(count for _, count in versions) == [1, 3]
    running.heal(1)


@pytest.mark.full
@pytest.mark.parametrize("case", FAULTY)
def test_a_fault_on_one_replica(calm: Watched, rules: Rules, case: str) -> None:
    running, prometheus, webhook = calm
    index = sorted(FAULTY).index(case) % len(running.replicas)
    began = time.monotonic()
    running.inject(case, index)
    try:
        named(calm, case, index, began)
        for name in ALSO.get(case, ()):
            instance = told(calm, name, began).labels.get("instance")
            assert instance in (None, running.replicas[index].instance)
        assert causes(webhook, began) == {running.replicas[index].instance: CASES[case].cause}
        no_silent_panel(prometheus, rules)
        assert prometheus.failing_rules() == []
    finally:
        running.heal(index)
    assert webhook.wait_quiet(SETTLED, SLOW), [str(notice) for notice in webhook.firing()]
