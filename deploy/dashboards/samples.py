"""The dashboard *samples*: different? The verdict and what it rests on, over all replicas and for each."""

from __future__ import annotations

from deploy.dashboards.distributions import arms, bins, classes, conditions, signals
from deploy.dashboards.frame import Section, choice, dashboard, labels_of
from deploy.dashboards.panels import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, YELLOW, Panel, lines, number, states
from deploy.dashboards.queries import FLEET, PROCESS, REPLICA, at_least, increase, of, one_of, rate, total
from deploy.rules.evidence import EVIDENCE, EVIDENCE_THRESHOLD
from deploy.rules.replicas import REPLICA_WINDOWS
from deploy.windows import SHOWN
from latentserve.service.watching import metrics as m
from latentserve.service.watching.verdict import CAUSES

_MODEL, _OF = "model, version", "{{model}} {{version}}"
_COLOURS = {
    "none": GREEN,
    "not_enough_samples": GREY,
    "weights_or_hardware": RED,
    "client_latents": BLUE,
    "label_mix": PURPLE,
    "condition_mix": ORANGE,
}


def samples(runbooks: str) -> str:
    """The dashboard as JSON; `runbooks` is the address of the folder that holds them."""
    model = ["model", "version"]
    return dashboard(
        "samples",
        "latentserve: samples",
        "Are the samples different, and whose doing is it? Bins are twentieths of the reference: without drift each "
        "holds a twentieth. Statistics are of all replicas together unless they name one.",
        [
            labels_of(m.READY, "model", "Model"),
            labels_of(m.READY, "version", "Version", within=model[:1]),
            labels_of(m.READY, "instance", "Replica", within=model),
            labels_of(m.SIGNAL_BINS, "arm", "Arm", within=model),
            labels_of(m.SIGNAL_BINS, "signal", "Signal", within=model),
            choice("window", "Window", SHOWN, SHOWN[1]),
        ],
        [
            Section("Verdict", _verdict()),
            Section("Golden probes: the weights themselves", _probes()),
            Section("Signals against the reference, over $window", signals()),
            Section("Each signal, over $window", bins()),
            Section("Class mix", classes()),
            Section("Conditions, of models that take some", conditions(), folded=True),
            Section("Arms, and what clients send", arms()),
            Section("Replicas side by side", _replicas()),
            Section("Reference and monitor", _monitor()),
        ],
        runbooks=runbooks,
    )


def _verdict() -> list[Panel]:
    said = (of(m.CAUSE, REPLICA, f'cause="{cause}"') for cause in CAUSES)
    named = " or ".join(f"{index} * {series}" for index, series in enumerate(said))
    texts = {index: (cause.replace("_", " "), _COLOURS.get(cause, YELLOW)) for index, cause in enumerate(CAUSES)}
    return [
        states(
            "Cause that each replica names", "The service's own verdict, as at /v1/drift: a sentence there says more.",
            (total(f"{_MODEL}, instance", named), f"{_OF} {{{{instance}}}}"), names=texts,
            runbooks=["LatentserveCauseNamed"],
        ),
        lines(
            "Evidence of all replicas together", "short", "Logarithm. `generated`: rows whose latents the server drew; "
            "`asked`: those that clients chose. Chance brings it to the threshold once in 30 days at most.",
            (of(EVIDENCE, FLEET), f"{{{{of}}}} {_OF}"), (of(EVIDENCE_THRESHOLD, FLEET), f"threshold {_OF}"),
            width=12, runbooks=["LatentserveDriftEvidence"],
        ),
    ]  # fmt: skip


def _probes() -> list[Panel]:
    return [
        lines(
            "Replays", "short", "Golden probes: recorded latents made again, and compared. None at all is a fault too.",
            (total("instance, outcome", increase(m.PROBE_RUNS, REPLICA)), "{{instance}} {{outcome}}"),
            runbooks=["LatentserveGoldenProbeMismatch", "LatentserveGoldenProbeAbsent"],
        ),
        lines(
            "Largest difference of the last replay", "short", "In the samples' own unit; rounding differs a little "
            "between devices.",
            (f"max by ({_MODEL}, instance) ({of(m.PROBE_ERROR, REPLICA)})", f"{_OF} {{{{instance}}}}"),
            runbooks=["LatentserveGoldenProbeMismatch"],
        ),
        lines(
            "Values that are not finite", "short", "NaN or infinite, by replica; there should be none.",
            (total(f"{_MODEL}, instance", increase(m.NONFINITE, REPLICA)), f"{_OF} {{{{instance}}}}"),
            runbooks=["LatentserveNonFiniteOutput"],
        ),
    ]  # fmt: skip


def _replicas() -> list[Panel]:
    effect = "instance_signal:latentserve_output_signal_effect_lower"
    matching = one_of("model", "version", "instance", "signal")
    return [
        *(
            lines(
                f"Effect at the least, over {window}", "short", "Of each replica's worst signal. One alone: look "
                "at its probes, its device and its version; all alike: at the model.",
                (
                    at_least(f"max by ({_MODEL}, instance) ({of(f'{effect}:{window}', matching)})"),
                    f"{_OF} {{{{instance}}}}",
                ),
                runbooks=["LatentserveReplicaOutlier"],
            )
            for window in REPLICA_WINDOWS
        ),
        lines(
            "Evidence of each replica by itself", "short", "Logarithm, of the detector that sees most; all its workers "
            "say the same.",
            (f"max by ({_MODEL}, instance) ({of(m.EVIDENCE, REPLICA)})", f"{_OF} {{{{instance}}}}"),
            (f"max by ({_MODEL}) ({of(m.THRESHOLD, REPLICA)})", f"threshold {_OF}"),
            runbooks=["LatentserveReplicaOutlier"],
        ),
    ]  # fmt: skip


def _monitor() -> list[Panel]:
    seconds = total("instance", rate(m.MONITOR_SECONDS, REPLICA))
    return [
        number(
            "Reference", "short", "Samples it was made from.",
            (f"max by ({_MODEL}) ({of(m.REFERENCE_SAMPLES, REPLICA)})", _OF), width=6,
            runbooks=["LatentserveMonitorBlind"], first=RED, colours={1: GREEN},
        ),
        number(
            "Age of the reference", "s", "Since the bundle was exported.",
            (f"time() - max by ({_MODEL}) ({of(m.REFERENCE_CREATED, REPLICA)})", _OF), width=6,
            runbooks=["LatentserveReferenceStale"], colours={90 * 86_400: YELLOW},
        ),
        number(
            "Tolerance of the reference", "percentunit", "What its own error takes of a bet: a larger reference finds "
            "smaller drift.",
            (f"max by ({_MODEL}) ({of(m.REFERENCE_TOLERANCE, REPLICA)})", _OF), width=6, first=BLUE,
        ),
        number(
            "Rate promised for", "short", "Rows a second and replica up to which at most one false alarm in 30 days is "
            "promised (WATCHED_ROWS_PER_SECOND); compare with *Rows looked at*.",
            (f"max({of(m.WATCHED_RATE, PROCESS)})", "rows/s"), width=6, first=BLUE,
        ),
        lines(
            "Rows looked at", "short", "A second, by replica.",
            (total("instance", rate(m.MONITORED, REPLICA)), "{{instance}}"),
        ),
        lines(
            "What monitoring costs", "percentunit", "Share of one core, by replica.", (seconds, "{{instance}}"),
            runbooks=["LatentserveMonitorBlind"],
        ),
        lines(
            "Age of the verdict", "s", "Since it was judged last; of a server that never judged, since its start.",
            (f"max by ({_MODEL}, instance) ({of(m.VERDICT_AGE, REPLICA)})", f"{_OF} {{{{instance}}}}"),
            runbooks=["LatentserveMonitorBlind"],
        ),
        lines(
            "Batches not looked at", "short", "`dropped`: it was behind; `failed`: see the log. All were served.",
            (total("instance", increase(m.MONITOR_DROPPED, REPLICA)), "dropped {{instance}}"),
            (total("instance", increase(m.MONITOR_FAILURES, REPLICA)), "failed {{instance}}"),
            runbooks=["LatentserveMonitorBlind"],
        ),
    ]  # fmt: skip
