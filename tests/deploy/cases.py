"""For each alert: what makes it fire, and what comes near and must not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deploy import names
from tests.deploy.fleet_series import tilted
from tests.deploy.promtool import Counter, Series, Values, change, key

At = Callable[..., Series]  # the replica "a" or "b" of a case's own model, with what `replica` takes
Fleet = Callable[[At], Series]


@dataclass(frozen=True)
class Case:
    """Attributes:
    alert, severity: that fires, with these labels and the values of `more`.
    by: labels that must be on it: the model's, the replica's.
    fires, calm: two replicas with the fault, and with something less.
    files: of rules that it rests on, besides the alerts.
    """

    alert: str
    severity: str
    fires: Fleet
    calm: Fleet
    by: tuple[str, ...] = ("instance", "model")
    more: tuple[tuple[str, str], ...] = ()
    files: tuple[str, ...] = ()


def on_b(*changes: tuple[str, Values, dict[str, str]]) -> Fleet:
    """Series of the second replica that are others: metric, values, labels of those."""

    def fleet(at: At) -> Series:
        b = at("b")
        for metric, to, labels in changes:
            b = change(b, metric, to, **labels)
        return {**at("a"), **b}

    return fleet


def on_both(**how: object) -> Fleet:
    """Both replicas in the same other way, in what `replica` takes."""
    return lambda at: {**at("a", **how), **at("b", **how)}


def one_of_two(**how: object) -> Fleet:
    """The second replica in another way."""
    return lambda at: {**at("a"), **at("b", **how)}


def shift(size: float) -> tuple[float, ...]:
    """Shares of the bins of a signal that moved up a little: a slope."""
    return tuple(0.05 * (1 + size * (2 * b - 19) / 19) for b in range(20))


def _cause(cause: str) -> Fleet:
    return on_b((names.CAUSE, 0.0, {}), (names.CAUSE, 1.0, {"cause": cause}))


def _errors(a_minute: float) -> Fleet:
    return on_b((names.REQUESTS, Counter(a_minute), {"code": "500"}))


def _slow(a_minute: float) -> Fleet:
    return on_b((f"{names.REQUEST_SECONDS}_bucket", Counter(1000.0 - a_minute), {}))


def _silent(asked: float) -> Fleet:
    return lambda at: {
        **change(change(at("a"), names.OUTPUT_LABELS, Counter(0.0), label="1"), names.LOOKED_AT_LABELS, Counter(asked)),
        **change(change(at("b"), names.OUTPUT_LABELS, Counter(0.0), label="1"), names.LOOKED_AT_LABELS, Counter(asked)),
    }


_DAYS = 86_400.0
_TRAINING, _NOTHING = Counter(10.0, 0.0), Counter(0.0, 0.0)
_MODEL = ("model",)
_SERVING, _SAMPLES = ("serving",), ("samples",)
_NAN = (names.NONFINITE, Counter(5.0), {})
_WEIGHTS = (names.CAUSE, 1.0, {"cause": "weights_or_hardware"})
_AWAY = "1x20 0x11 1x40"  # for three minutes

CASES = [
    Case(
        "LatentserveGoldenProbeMismatch", "page",
        on_b((names.PROBE_RUNS, Counter(1.0), {"outcome": "mismatch"})),
        on_b((names.PROBE_RUNS, Counter(30.0), {"outcome": "match"})),
    ),
    Case(
        "LatentserveGoldenProbeAbsent", "ticket",
        on_b((names.PROBE_RUNS, Counter(0.0), {})),
        on_b((names.PROBE_RUNS, Counter(0.5), {"outcome": "match"})),
    ),
    Case("LatentserveNonFiniteOutput", "page", on_b(_NAN, _WEIGHTS), on_b(_WEIGHTS)),
    Case("LatentserveNonFiniteOutput", "ticket", on_b(_NAN), on_b((names.NONFINITE, Counter(0.0, 7.0), {}))),
    Case(
        "LatentserveCauseNamed", "page", _cause("weights_or_hardware"), _cause("none"),
        more=(("cause", "weights_or_hardware"),),
    ),
    Case(
        "LatentserveCauseNamed", "ticket", _cause("client_latents"), _cause("not_enough_samples"),
        more=(("cause", "client_latents"),),
    ),
    Case(
        "LatentserveOutputDrift", "ticket",
        on_both(shares=tilted(0.05), arms=("server",)), on_both(shares=tilted(0.015), arms=("server",)),
        by=_MODEL, more=(("arm", "server"), ("signal", "mean")), files=_SAMPLES,
    ),
    Case(
        "LatentserveFeatureDrift", "ticket",
        on_both(moved=0.3, arms=("client",)), on_both(moved=0.1, arms=("client",)),
        by=_MODEL, more=(("arm", "client"),), files=_SAMPLES,
    ),
    Case(
        "LatentserveDriftEvidence", "ticket",
        on_both(shares=shift(0.15), arms=("server",)), on_both(shares=shift(0.02), arms=("server",)),
        by=_MODEL, more=(("of", "generated"),), files=_SAMPLES,
    ),
    Case(
        "LatentserveClassSilent", "ticket", _silent(20.0), _silent(1.0),
        by=_MODEL, more=(("label", "1"),), files=_SAMPLES,
    ),
    Case(
        "LatentserveReplicaOutlier", "ticket",
        one_of_two(shares=tilted(0.1)), on_both(shares=tilted(0.1)), files=_SAMPLES,
    ),
    Case(
        "LatentserveMonitorBlind", "ticket",
        on_b((names.MONITOR_DROPPED, Counter(80.0), {})), on_b((names.MONITOR_DROPPED, Counter(10.0), {})),
        more=(("reason", "behind"),),
    ),
    Case(
        "LatentserveMonitorBlind", "ticket",
        on_b((names.MONITOR_FAILURES, Counter(1.0), {})), on_b((names.MONITOR_FAILURES, Counter(0.0), {})),
        more=(("reason", "failing"),),
    ),
    Case(
        "LatentserveMonitorBlind", "ticket",
        on_b((names.WATCH_FAILURES, Counter(1.0), {"task": "judge"})), on_b((names.WATCH_FAILURES, Counter(0.0), {})),
        more=(("reason", "rounds failing"),),
    ),
    Case(
        "LatentserveMonitorBlind", "ticket",
        # A gauge that stands still; and one that goes on, but for two minutes.
        on_b((names.JUDGED, 0.0, {})), on_b((names.JUDGED, "0+15x20 300x8 420+15x60", {})),
        more=(("reason", "not judging"),),
    ),
    Case(
        "LatentserveMonitorBlind", "ticket",
        on_b((names.MONITORED, Counter(100.0), {"arm": "server"})),
        on_b((names.MONITORED, Counter(100.0), {"arm": "client"})),  # who ask for the same again and again
        more=(("reason", "not looking"),),
    ),
    Case(
        "LatentserveMonitorBlind", "ticket",
        on_b((names.SAMPLES, Counter(0.0), {})),
        lambda at: {**at("a"), **at("b", traffic=0.0)},
        more=(("reason", "silent"),),
    ),
    Case(
        "LatentserveMonitorBlind", "ticket",
        on_b((names.REFERENCE_SAMPLES, 0.0, {})),
        on_b((names.REFERENCE_SAMPLES, 0.0, {}), (names.READY, 0.0, {})),
        more=(("reason", "no reference"),),
    ),
    Case(
        "LatentserveReferenceStale", "ticket",
        lambda at: {key: -91 * _DAYS if key[0] == names.REFERENCE_CREATED else of for key, of in both(at).items()},
        lambda at: {key: -89 * _DAYS if key[0] == names.REFERENCE_CREATED else of for key, of in both(at).items()},
        by=_MODEL,
    ),
    Case("LatentserveErrorBudgetBurn", "page", _errors(40.0), _errors(20.0), by=_MODEL, files=_SERVING),
    Case("LatentserveErrorBudgetBurn", "ticket", _errors(20.0), _errors(5.0), by=_MODEL, files=_SERVING),
    Case("LatentserveLatencyBudgetBurn", "page", _slow(500.0), _slow(200.0), by=_MODEL, files=_SERVING),
    Case("LatentserveLatencyBudgetBurn", "ticket", _slow(200.0), _slow(20.0), by=_MODEL, files=_SERVING),
    Case(
        "LatentserveQueueSaturated", "ticket",
        on_b((names.QUEUE_ROWS, 900.0, {})), on_b((names.QUEUE_ROWS, 700.0, {})),
    ),
    Case(
        "LatentserveQueueSaturated", "ticket",
        on_b((names.REJECTED, Counter(30.0), {})), on_b((names.REJECTED, "0x30 40x60", {})), by=("instance",),
    ),
    Case(
        "LatentserveWorkerRestarting", "ticket",
        on_b((names.WORKER_RESTARTS, Counter(0.2, 0.0), {})), on_b((names.WORKER_RESTARTS, Counter(0.0, 3.0), {})),
        by=("instance",),
    ),
    Case("LatentserveReplicaNotReady", "page", on_b((names.READY, 0.0, {})), on_b((names.READY, _AWAY, {}))),
    Case(
        "LatentserveReplicaNotReady", "page", on_b(("up", 0.0, {})), on_b(("up", _AWAY, {})), by=("instance",),
    ),
    Case(
        "LatentserveTrainingStalled", "ticket",
        lambda at: training(at, images=Counter(0.0, 500.0)), lambda at: training(at, last_step=400.0),
        by=("run",), files=("training",),
    ),
    Case(
        "LatentserveTrainingStalled", "ticket",
        lambda at: training(at, images=Counter(0.0, 500.0)), lambda at: training(at, images="1000x80"),  # finished
        by=("run",), files=("training",),
    ),
    Case(
        "LatentserveTrainingNotFinite", "ticket",
        lambda at: training(at, nonfinite=Counter(1.0, 0.0)), lambda at: training(at, nonfinite=Counter(0.0, 2.0)),
        by=("run",), files=("training",),
    ),
]  # fmt: skip


def both(at: At) -> Series:
    """Two replicas in good health."""
    return {**at("a"), **at("b")}


def training(at: At, images: Values = _TRAINING, last_step: Values = 0.0, nonfinite: Values = _NOTHING) -> Series:
    """A training run of 1,000 images, beside a replica."""
    run = next(dict(labels)["model"] for _, labels in at("a") if "model" in dict(labels))
    of = {"job": names.TRAINING_JOB, "instance": "trainer:9200", "recipe": "digits", "run": run}
    shown = {names.TRAINING_IMAGES: images, names.TRAINING_LAST_STEP: last_step, names.TRAINING_NONFINITE: nonfinite}
    return {**at("a"), **{key(name, **of): to for name, to in shown.items()}, key(names.TRAINING_PLANNED, **of): 1000.0}
