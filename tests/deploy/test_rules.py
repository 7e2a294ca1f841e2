"""The rules, by Prometheus's own tool: what they record, and what they raise an alarm for."""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from deploy import names
from deploy.generated import generated
from deploy.rules import rule_groups
from deploy.rules.rule import Alert
from deploy.windows import Times
from latentserve.service.watching.evidence import Evidence, signal_tolerance
from latentserve.service.watching.reference import BINS
from tests import windows
from tests.deploy.cases import CASES, Case, shift
from tests.deploy.fleet_series import A, B, replica
from tests.deploy.promtool import Check, Counter, Key, Series, Values, change, firing, growing, key, passes
from tests.fleet import tool

TOP = Path(__file__).parents[2]
ALERTS = [rule for groups in rule_groups(Times()).values() for group in groups for rule in group.rules
          if isinstance(rule, Alert)]  # fmt: skip
LEVELS = sorted({rule.name.split(":")[0] for groups in rule_groups(Times()).values() for group in groups
                 for rule in group.rules if not isinstance(rule, Alert)})  # fmt: skip
MINUTES, RESTART = 16, 8


def test_what_is_committed_is_what_is_generated():
    for name, content in generated(Times(), "docs/runbooks").items():
        assert (TOP / "deploy" / name).read_text() == content, f"{name}: run `python -m deploy`"


@pytest.mark.parametrize("faster", ["1", "60"])
def test_prometheus_takes_the_rules_and_its_configuration(faster: str, tmp_path: Path):
    for name, content in generated(Times(float(faster)), "docs/runbooks").items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    for what, file in (("rules", "*.rules.yml"), ("config", "prometheus.yml")):
        files = sorted((tmp_path / "prometheus").glob(file))
        subprocess.run([tool("promtool"), "check", what, *files], check=True, capture_output=True)


def test_alertmanager_takes_its_configuration():
    subprocess.run([tool("amtool"), "check-config", TOP / "deploy/alertmanager/alertmanager.yml"], check=True)


def test_every_alert_has_a_case_and_a_page():
    assert {(case.alert, case.severity) for case in CASES} == {(alert.name, alert.severity) for alert in ALERTS}
    pages = {page.stem for page in (TOP / "docs" / "runbooks").glob("Latentserve*.md")}
    assert pages == {alert.name for alert in ALERTS}


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: "-".join([case.alert, case.severity, *dict(case.more).values()])
)
def test_an_alert_fires_and_does_not(case: Case, tmp_path: Path):
    """Also where the second replica restarts within the window, and is away for a minute."""
    content: dict[Key, Values | tuple[Values, int]] = {}
    expected = []
    for model, fleet in (("fires", case.fires), ("calm", case.calm)):
        for restarts in (False, True):
            name = f"{model}-restarted" if restarts else model
            made = fleet(partial(_replica_of, name))
            for one, of in made.items():
                second = "run" in dict(one[1]) or dict(one[1])["instance"].startswith(f"{name}-b")
                content[one] = (of, RESTART) if restarts and second and not isinstance(of, str) else of
            if model == "fires":
                own = {"instance": f"{name}-b:3000", "model": name, "run": name}
                labels = {label: own[label] for label in case.by} | dict(case.more)
                expected.append(({**labels, "severity": case.severity}, 1.0))
    this = f'alertname="{case.alert}"', f'severity="{case.severity}"'
    checks = [
        Check(MINUTES, firing(*this, by=[*case.by, *dict(case.more), "severity"]), expected),
        Check(MINUTES, " or ".join(firing(*this, f'{label}=~"calm.*"') for label in ("model", "instance"))),
    ]
    passes(tmp_path, content, MINUTES, checks, [*case.files, "alerts"], case.alert)


@pytest.mark.parametrize("traffic", [1.0, 0.0], ids=["usual traffic", "no traffic"])
def test_a_healthy_fleet_raises_no_alarm(traffic: float, tmp_path: Path):
    """One replica restarts, one misses scrapes, one is of another version; one model's name is an odd one."""
    at = replica(A, traffic=traffic)
    missing = {one: _gaps(of) for one, of in replica("c:3000", traffic=traffic).items()}
    content: dict[Key, Values | tuple[Values, int]] = {
        **at,
        **{one: (of, RESTART) for one, of in replica(B, traffic=traffic).items()},
        **missing,
        **replica("d:3000", version="v2", traffic=traffic),
        **replica("e:3000", model='di"gits \\ Ziffern 数字 {{', traffic=traffic),
    }
    checks = [Check(minute, firing()) for minute in (3, 9, 10, MINUTES)]
    checks += [check for minute in (1, 9, MINUTES) for check in _finite(minute)]
    passes(tmp_path, content, MINUTES, checks)


def test_versions_beside_each_other_are_not_mixed(tmp_path: Path):
    odd = 'di"gits \\ 数字'
    fleet = {**replica(A, odd), **replica(B, odd), **replica("c:3000", odd, "v2", moved=1.0, shares=shift(0.9))}
    drifts = firing('alertname=~".*Drift"', by=("alertname", "model", "version"))
    expected = [({"alertname": f"Latentserve{what}Drift", "model": odd, "version": "v2"}, n)
                for what, n in (("Output", 3.0), ("Feature", 3.0))]  # fmt: skip
    passes(tmp_path, fleet, 12, [Check(12, drifts, expected), *_finite(12)])


def test_a_replica_that_two_jobs_scrape_counts_once(tmp_path: Path):
    once = replica(A)
    again = {(metric, tuple({**dict(of), "job": "pods"}.items())): to for (metric, of), to in once.items()}
    rows = 'model_arm_signal:latentserve_output_signal_bin:increase5m{arm="server", signal="mean"}'
    checks = [Check(12, f"count(abs({rows} - 10000) < 1)", [({}, 1.0)]), Check(12, firing())]
    passes(tmp_path, {**once, **again}, 12, checks)


def test_known_values(tmp_path: Path):
    """Half of the bins at 7.5 %, half at 2.5 %: PSI 0.05 ln 3 * 10 / 2, KS a quarter, effect a quarter."""
    shares = (0.075,) * 10 + (0.025,) * 10
    of = 'arm="server", signal="mean"'
    checks = [
        _near(f"model_arm_signal:latentserve_output_signal_psi:5m{{{of}}}", 0.5 * np.log(3) / 2, 1e-3),
        _near(f"model_arm_signal:latentserve_output_signal_ks:5m{{{of}}}", 0.25, 1e-3),
        _near(f"model_arm_signal:latentserve_output_signal_psi:5m{{{of.replace('mean', 'std')}}}", 0.0, 1e-9),
    ]
    passes(tmp_path, replica(shares=shares, signals=("mean", "std")), 12, checks)


def test_the_records_are_the_statistics_of_a_window(tmp_path: Path):
    rng = np.random.default_rng(5)
    counts = rng.multinomial(2000, rng.dirichlet(np.full(BINS, 20.0)))  # a minute
    moved = 0.3
    fleet = replica(shares=(counts / 2000).tolist(), moved=moved)
    five, rows, reference = counts * 5, np.float64(10_000), 100_000.0
    chi_squared = windows.chi_square(five, reference)
    sums = np.array([moved * rows, 0, 0, 0])
    t_squared = windows.t_squared(sums, rows, reference)
    signal, feature = "model_arm_signal:latentserve_output_signal", "model_arm:latentserve_output_feature"
    expected = {
        f"{signal}_psi": windows.psi(five),
        f"{signal}_ks": windows.ks(five),
        f"{signal}_chi2": chi_squared,
        f"{signal}_effect_lower": windows.effect_lower(chi_squared, rows),
        f"{feature}_t2": t_squared,
        f"{feature}_effect_lower": windows.effect_lower(float(t_squared), rows, bins=5),
    }
    checks = [
        _near(f'{name}:5m{{arm="server"{", signal=" + chr(34) + "mean" + chr(34) if name.startswith(signal) else ""}}}',
              float(value), 1e-6 * max(1.0, abs(float(value))))
        for name, value in expected.items()
    ]  # fmt: skip
    passes(tmp_path, fleet, 12, checks)


def test_evidence_over_replicas_is_that_of_one_process_which_saw_all(tmp_path: Path):
    """Counts of two replicas; asked once a minute."""
    rng = np.random.default_rng(6)
    minutes, signals = 9, ("mean", "std")
    own = {instance: {name: rng.multinomial(400, np.full(BINS, 1 / BINS) if name == "std" else shift(0.2))
                      for name in signals} for instance in (A, B)}  # fmt: skip
    fleet: Series = {}
    for instance, counts in own.items():
        of = replica(instance, signals=signals)
        for name, row in counts.items():
            for b, count in enumerate(row):
                of = change(of, names.SIGNAL_BINS, Counter(float(count)), arm="server", signal=name, bin=f"{b:02}")
        for metric in (names.MONITORED, names.SAMPLES):
            of = change(of, metric, Counter(400.0), arm="server")
        fleet |= {one: 0.0 if dict(one[1]).get("arm") == "control" else to for one, to in of.items()}
    # Of one process: the reference's tolerance is z / sqrt(rows), so these many rows have the tolerance shown.
    both_of = np.stack([own[A][name] + own[B][name] for name in signals])
    reference = _rows_of_tolerance(0.015, len(signals))
    one = Evidence([reference] * len(signals), 2, 1e30)
    checks = []
    for minute in range(1, minutes + 1):
        one.update(np.stack([both_of, np.zeros_like(both_of)]), np.array([800, 0]))
        if minute in (2, 5, 9):
            found = 'model:latentserve_drift_evidence:log{of="generated"}'
            checks.append(_near(found, one.log_value - 0.05, 0.05, minute))  # never more
            checks.append(Check(minute, firing('alertname="LatentserveDriftEvidence"')))
    assert one.log_value > 5
    passes(tmp_path, fleet, minutes, checks)


def test_evidence_falls_as_soon_as_the_drift_is_over(tmp_path: Path):
    """However long it went on for."""
    until, minutes = 20, 30
    content: Series = {}
    usual = replica()
    for one, of in replica(shares=shift(0.6)).items():
        then = usual[one]
        content[one] = of
        if isinstance(of, Counter) and isinstance(then, Counter) and of != then:
            end = of.start + of.a_minute * until
            content[one] = f"{growing(of.start, of.a_minute, until)} {growing(end, then.a_minute, minutes - until)}"
    alert = firing('alertname="LatentserveDriftEvidence"', by=("of",))
    checks = [
        Check(until, alert, [({"of": "asked"}, 1.0), ({"of": "generated"}, 1.0)]),
        Check(until + 8, alert),
    ]
    passes(tmp_path, content, minutes, checks)


def test_a_fleet_that_is_not_there_is_told(tmp_path: Path):
    expected = [({"alertname": "LatentserveReplicaNotReady"}, 1.0)]
    passes(tmp_path, {}, 8, [Check(4, firing()), Check(8, firing(by=("alertname",)), expected)], ["alerts"])


BURNS = firing('alertname="LatentserveErrorBudgetBurn"', by=("model", "severity"))


def _requests(code: str, model: str = "digits") -> Key:
    of = {"job": names.JOB, "instance": A, "model": model, "version": "v1" if model else "", "route": "/v1/samples"}
    return key(names.REQUESTS, **of, code=code)


@pytest.mark.parametrize("before", ["0", "_"], ids=["there at 0", "not there"])
def test_a_first_burst_of_errors_pages(before: str, tmp_path: Path):
    """200 of 1,000 requests fail between two scrapes, five minutes after the start, and none before."""
    content: Series = {
        _requests("200"): "0+50x19 1750+50x100",
        _requests("500"): f"{before}x20 200x99",
    }
    checks = [
        Check(4, BURNS),
        Check(8, BURNS, [({"model": "digits", "severity": of}, 1.0) for of in ("page", "ticket")]),
        Check(14, "count(model:latentserve_request_errors:ratio5m == 0)", [({}, 1.0)]),
    ]
    passes(tmp_path, content, 30, checks, ["serving"])


@pytest.mark.parametrize(
    "seen",
    ["_x40 {from_here}", "{until_here} _x79 {from_here}"],
    ids=["Prometheus is new", "the replica was out of reach for twenty minutes"],
)
def test_errors_of_long_ago_are_no_burst(seen: str, tmp_path: Path):
    """A counter that is seen for the first time, or again, with what was counted when nobody looked."""
    content: Series = {
        _requests("200"): seen.format(until_here="1000+50x20", from_here="9000+50x100"),
        _requests("500"): seen.format(until_here="0x20", from_here="700x100"),
    }
    passes(tmp_path, content, 45, [Check(minute, BURNS) for minute in range(1, 45, 2)], ["serving"])


@pytest.mark.parametrize("model", ["", "digits"])
def test_a_slow_client_wakes_nobody(model: str, tmp_path: Path):
    """Twelve an hour whose bodies or answers took too long, beside next to nothing else."""
    often = " ".join(f"{count}x3" for count in range(1, 80) for _ in range(5))
    content: Series = {
        _requests("200", model): Counter(0.2, 0.0),
        _requests("408", model): often,
        _requests("499", model): often,
        _requests("500", "digits"): "0x400",
    }
    passes(tmp_path, content, 62, [Check(minute, firing()) for minute in (30, 62)], ["serving"])


def _replica_of(case: str, which: str, **how: object) -> Series:
    return replica(f"{case}-{which}:3000", case, **how)  # type: ignore[arg-type]


def _gaps(of: Values) -> Values:
    """Every fifth scrape is lost."""
    if isinstance(of, str):
        return of
    scrapes = range(MINUTES * 4 + 1)
    at = (of.start + of.a_minute / 4 * k if isinstance(of, Counter) else of for k in scrapes)
    return " ".join("_" if k % 5 == 3 else repr(value) for k, value in zip(scrapes, at, strict=True))


def _finite(minute: float) -> list[Check]:
    """No record is NaN or infinite."""
    levels = [level for level in LEVELS if level != "run"]
    return [Check(minute, f'sum({{__name__=~"{level}:.+:.+"}}) * 0', [({}, 0.0)]) for level in levels]


def _near(expression: str, value: float, within: float, minute: float = 12) -> Check:
    return Check(minute, f"count(abs({expression} - {value:.12g}) <= {within:.12g})", [({}, 1.0)])


def _rows_of_tolerance(tolerance: float, signals: int) -> float:
    return float((signal_tolerance([1.0] * signals, 1)[0] / tolerance) ** 2)
