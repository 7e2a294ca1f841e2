"""Alerts on the samples: are they broken, are they different, and does anybody look."""

from __future__ import annotations

from collections.abc import Iterator

from deploy import names
from deploy.rules.counts import MODEL, by, joined
from deploy.rules.evidence import EVIDENCE, EVIDENCE_THRESHOLD
from deploy.rules.replicas import REPLICA_WINDOWS
from deploy.rules.rule import Alert
from deploy.rules.statistics import LEAST_EFFECT, TOLERATED
from deploy.windows import BASE, DAY, GOING_ON, SHOWN, Times, duration
from latentserve.service.watching.readiness import PROBE_SECONDS
from latentserve.service.watching.verdict import CAUSES

STALE_DAYS = 90
PAGED_CAUSE = "weights_or_hardware"

_REPLICA = ("instance", *MODEL)
_OF = "{{ $labels.model }} {{ $labels.version }}"
_AT = f"{_OF} on {{{{ $labels.instance }}}}"
_QUIET = ("none", "not_enough_samples")
# Beside the base: a window in which drift must be certain, and a shorter one in which it must go on.
_DRIFT_WINDOWS = (("80m", BASE), ("320m", GOING_ON))
_OUTLIER_ROWS = 500  # of a replica, for others to be compared with it
# Probes and control samples come once a minute by the server's own clock, which no test makes faster.
_OLD = 60  # seconds that a verdict may be old, by two clocks
_ROUNDS = duration(2.5 * PROBE_SECONDS)
_SILENCE = duration(5 * PROBE_SECONDS)


def urgent_alerts(times: Times) -> Iterator[Alert]:
    """Those of a replica that computes something else than at export, and of a cause that it names."""
    mismatch = f'{names.PROBE_RUNS}{{job="{names.JOB}", outcome="mismatch"}}'
    yield Alert(
        "LatentserveGoldenProbeMismatch",
        f"sum {by(*_REPLICA)} (increase({mismatch}[{_ROUNDS}])) > 0",
        "page",
        f"Golden probes fail: {_AT}",
        "The model no longer computes what it computed at export: {{ $value | humanize }} replayed probes were off by "
        f"more than the tolerance in the last {_ROUNDS}.",
    )
    nonfinite = f'sum {by(*_REPLICA)} (increase({names.NONFINITE}{{job="{names.JOB}"}}[{times.text(300)}])) > 0'
    named = f'on ({", ".join(_REPLICA)}) ({names.CAUSE}{{job="{names.JOB}", cause="{PAGED_CAUSE}"}} == 1)'
    # Latents that no prior gives make values that are not finite, too; the verdict knows which rows these were.
    for severity, operator in (("page", "and"), ("ticket", "unless")):
        yield Alert(
            "LatentserveNonFiniteOutput",
            f"{nonfinite}\n  {operator} {named}",
            "page" if severity == "page" else "ticket",
            f"Samples with values that are not finite: {_AT}",
            "{{ $value | humanize }} values were NaN or infinite in the last "
            f"{times.text(300)}, "
            + (
                "and the verdict is that the model makes them."
                if operator == "and"
                else "too few to name a cause, or from latents that clients made up."
            ),
        )
    others = "|".join(cause for cause in CAUSES if cause not in (*_QUIET, PAGED_CAUSE))
    for severity, cause in (("page", f'cause="{PAGED_CAUSE}"'), ("ticket", f'cause=~"{others}"')):
        yield Alert(
            "LatentserveCauseNamed",
            f'max {by(*_REPLICA, "cause")} ({names.CAUSE}{{job="{names.JOB}", {cause}}}) == 1',
            "page" if severity == "page" else "ticket",
            f"{{{{ $labels.cause }}}}: {_AT}",
            "The replica's own verdict names the cause {{ $labels.cause }}; /v1/drift has the numbers.",
        )


def drift_alerts(times: Times) -> Iterator[Alert]:
    """Those on what all replicas made together."""
    output, features = "model_arm_signal:latentserve_output_signal", "model_arm:latentserve_output_feature"
    yield Alert(
        "LatentserveOutputDrift",
        _multi_window(output, TOLERATED),
        "ticket",
        f"{{{{ $labels.signal }}}} drifts in the {{{{ $labels.arm }}}} arm: {_OF}",
        "At a cautious estimate the signal is {{ $value | humanize }} from the reference in chi-square distance, more "
        f"than the {LEAST_EFFECT:g} or so that is tolerated, and goes on being.",
        times.text(60),
    )
    yield Alert(
        "LatentserveFeatureDrift",
        _multi_window(features, f"(2 * {TOLERATED})"),
        "ticket",
        f"Features drift in the {{{{ $labels.arm }}}} arm: {_OF}",
        "At a cautious estimate the mean of the features is {{ $value | humanize }} from the reference, in squared "
        "standard deviations, and goes on being.",
        times.text(60),
    )
    yield Alert(
        "LatentserveDriftEvidence",
        f"{EVIDENCE} > {joined(*MODEL)} {EVIDENCE_THRESHOLD}",
        "ticket",
        f"Evidence of drift in {{{{ $labels.of }}}} samples: {_OF}",
        "The logarithm of the evidence, from all replicas' counts together, is {{ $value | humanize }}; chance alone "
        "brings it to the threshold once in 30 days at most.",
    )
    silent = "model_label:latentserve_class_silence"
    yield Alert(
        "LatentserveClassSilent",
        " or ".join(f"{silent}:{window} == 1" for window in SHOWN[:2]),
        "ticket",
        f"No {{{{ $labels.label }}}} comes out: {_OF}",
        "The label was asked for, and the classifier took none of the samples for it.",
        times.text(60),
    )


def outlier_alerts() -> Iterator[Alert]:
    """The one on a replica that differs from another of the same version."""
    yield Alert(
        "LatentserveReplicaOutlier",
        f"max {by(*_REPLICA)} (\n  " + "\n  or ".join(_outlier(window) for window in REPLICA_WINDOWS) + "\n)",
        "ticket",
        f"One replica differs: {_AT}",
        "Its samples are {{ $value | humanize }} from the reference in chi-square distance, at a cautious estimate; "
        "another replica's are less than half as far.",
    )


def watching_alerts(times: Times) -> Iterator[Alert]:
    """Those on the watching itself: silence is not health."""
    runs = f'{names.PROBE_RUNS}{{job="{names.JOB}"}}'
    yield Alert(
        "LatentserveGoldenProbeAbsent",
        f"sum {by(*_REPLICA)} (increase({runs}[{_SILENCE}])) == 0",
        "ticket",
        f"Golden probes are not replayed: {_AT}",
        f"None was for {_SILENCE}: nothing would tell that the model computes something else than at export.",
        _ROUNDS,
    )
    yield Alert(
        "LatentserveMonitorBlind",
        "\nor ".join(
            f'label_replace({expression}, "reason", "{reason}", "", "")' for reason, expression in _blind().items()
        ),
        "ticket",
        f"Samples are not monitored ({{{{ $labels.reason }}}}): {_AT}",
        "Drift would go unseen. Reason: {{ $labels.reason }}.",
        _ROUNDS,
    )
    yield Alert(
        "LatentserveReferenceStale",
        f"(time() - max {by(*MODEL)} ({names.REFERENCE_CREATED})) / {DAY:.0f} > {STALE_DAYS}",
        "ticket",
        f"The reference is old: {_OF}",
        "It was made {{ $value | humanize }} days ago: compare it with real data of today, or export again.",
    )


def _multi_window(name: str, tolerated: str) -> str:
    more = f"> {joined(*MODEL)} {tolerated}"
    terms = [f"({name}_effect_lower:{sure} {more} and {name}_effect:{still} {more})" for sure, still in _DRIFT_WINDOWS]
    return "\nor ".join([f"{name}_effect_lower:{BASE} {more}", *terms])


def _outlier(window: str) -> str:
    name, on = "instance_signal:latentserve_output_signal", (*MODEL, "signal")
    enough = f"{name}_bin:increase{window} >= {_OUTLIER_ROWS}"
    others = f"min {by(*on)} ({name}_effect:{window} and {enough})"
    return f"({name}_effect_lower:{window} > {joined(*MODEL)} {TOLERATED}) > {joined(*on)} (2 * {others})"


def _blind() -> dict[str, str]:
    def grown(metric: str, matchers: str = "") -> str:
        return f'sum {by(*_REPLICA)} (increase({metric}{{job="{names.JOB}"{matchers}}}[{_SILENCE}]))'

    own = ', arm!="client"'  # a latent that a client sends again is not looked at again
    ready = f'on ({", ".join(_REPLICA)}) ({names.READY}{{job="{names.JOB}"}} == 1)'
    return {
        "behind": f"({grown(names.MONITOR_DROPPED)} > 0.5 * {grown(f'{names.BATCH_ROWS}_count')})",
        "failing": f"({grown(names.MONITOR_FAILURES)} > 0)",
        "not judging": f'(time() - max {by(*_REPLICA)} ({names.JUDGED}{{job="{names.JOB}"}}) > {_OLD} and {ready})',
        "rounds failing": f"({grown(names.WATCH_FAILURES)} > 0)",
        "not looking": f"({grown(names.MONITORED, own)} < 0.5 * {grown(names.SAMPLES, own)})",
        "silent": f"({grown(names.SAMPLES)} == 0 and {ready})",
        "no reference": f'(max {by(*_REPLICA)} ({names.REFERENCE_SAMPLES}{{job="{names.JOB}"}}) == 0 and {ready})',
    }
