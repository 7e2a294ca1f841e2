"""Panels of distributions: each signal against the reference, the class mix, the arms and what clients send."""

from __future__ import annotations

from deploy.dashboards.panels import GREEN, RED, Panel, lines, shares, states
from deploy.dashboards.queries import FLEET, REPLICA, at_least, of, one_of, rate, total
from deploy.rules.statistics import TOLERATED
from deploy.windows import SHOWN
from latentserve.service.watching import metrics as m
from latentserve.service.watching.inputs import INPUTS
from latentserve.service.watching.reference import BINS

_MODEL, _OF = "model, version", "{{model}} {{version}}"
_WINDOW, _LABELS = "${window}", SHOWN[1]
_ARMS, _SIGNALS = one_of("model", "version", "arm"), one_of("model", "version", "arm", "signal")
_DRIFT = ("LatentserveOutputDrift", "LatentserveDriftEvidence")


def signals() -> list[Panel]:
    """What is said of all signals."""
    signal, each = "model_arm_signal:latentserve_output_signal", f"{{{{signal}}}} {{{{arm}}}} {_OF}"
    features, arm = "model_arm:latentserve_output_feature", f"{{{{arm}}}} {_OF}"
    return [
        lines(
            "Effect at the least", "short", "Lower bound of the chi-square distance from the reference: 0 may be "
            "chance, above the tolerated it is worth a look.",
            (at_least(of(f"{signal}_effect_lower:{_WINDOW}", _SIGNALS)), each),
            (of(TOLERATED, FLEET), f"tolerated {_OF}"), width=12, runbooks=_DRIFT,
        ),
        lines(
            "PSI", "short", "Population stability index. Without drift about 19 over the rows: compare with *Rows*.",
            (of(f"{signal}_psi:{_WINDOW}", _SIGNALS), each), width=12, runbooks=_DRIFT,
        ),
        lines(
            "KS", "percentunit", "Largest distance between the distributions, at the bins' cuts.",
            (of(f"{signal}_ks:{_WINDOW}", _SIGNALS), each), runbooks=_DRIFT,
        ),
        lines(
            "Chi-square", "short", "Pearson's statistic, the reference's own error taken off. Without drift about 19.",
            (of(f"{signal}_chi2:{_WINDOW}", _SIGNALS), each), runbooks=_DRIFT,
        ),
        lines(
            "Rows", "short", "Samples behind the statistics: little can be said of a few hundred.",
            (of(f"{signal}_bin:increase{_WINDOW}", _SIGNALS), each), runbooks=["LatentserveMonitorBlind"],
        ),
        lines(
            "All features together: T²", "short", "Without drift about the number of components, 32 at the most.",
            (of(f"{features}_t2:{_WINDOW}", _ARMS), arm), runbooks=["LatentserveFeatureDrift"],
        ),
        lines(
            "All features together: effect at the least", "short", "Lower bound of the squared distance of the means, "
            "in standard deviations. Finds what moves several features a little.",
            (at_least(of(f"{features}_effect_lower:{_WINDOW}", _ARMS)), arm), runbooks=["LatentserveFeatureDrift"],
        ),
        lines(
            "Evidence by signal", "short", "Logarithm, of all replicas together: where the evidence is from.",
            (of("model_arm_signal:latentserve_drift_evidence:log", _SIGNALS), each),
            runbooks=["LatentserveDriftEvidence"],
        ),
    ]  # fmt: skip


def bins() -> list[Panel]:
    """One signal after the other."""
    counts = of(f"model_arm_signal_bin:latentserve_output_signal_bin:increase{_WINDOW}", _SIGNALS)
    chosen, sums = f"{REPLICA}, {one_of('arm', 'signal')}", f"{_MODEL}, arm, signal"
    positive, negative = (total(sums, rate(m.SIGNAL_SUM, chosen, f'sign="{sign}"')) for sign in m.SIGNS)
    rows = total(sums, rate(m.SIGNAL_BINS, chosen))  # not every signal is of every sample
    return [
        shares(
            "$signal: bins", "Share of samples in each twentieth of the reference, over a twentieth: 100 % without "
            "drift. Red below means lower values than there should be.",
            (_over_expected(counts), "{{bin}}"), repeat="signal", runbooks=_DRIFT,
        ),
        lines(
            "$signal: mean", "short", "In the signal's own unit, of the arms chosen.",
            (f"({positive} - {negative}) / ({rows} > 0)", f"{{{{arm}}}} {_OF}"),
            width=24, signed=True, repeat="signal",
        ),
    ]  # fmt: skip


def classes() -> list[Panel]:
    """What is asked for, and what comes."""
    label, all_of = f"{_MODEL}, label", f"on ({_MODEL}) group_left ()"
    every = f"{all_of} ({total(_MODEL, rate(m.LABELS, REPLICA))} > 0)"
    came, asked = (
        of(f"model_label:latentserve_{of_what}_labels:increase{_LABELS}", FLEET) for of_what in ("output", "looked_at")
    )
    rows = f"{all_of} ({total(_MODEL, asked)} > 0)"
    return [
        lines(
            "Asked for", "percentunit", "Share of rows by the label they were asked for with.",
            (f"{total(label, rate(m.LABELS, REPLICA))} / {every}", f"{{{{label}}}} {_OF}"),
            runbooks=["LatentserveCauseNamed"],
        ),
        lines(
            "Given less asked for", "percentunit", f"Of the rows looked at in {_LABELS}: share that a small classifier "
            "takes for a label, less the share asked for. It errs a little, always alike: look for what changes.",
            (f"({came} - {asked}) / {rows}", f"{{{{label}}}} {_OF}"), signed=True,
            runbooks=["LatentserveClassSilent"],
        ),
        states(
            "Silent classes", f"Asked for often enough in {_LABELS}, and none of them came out.",
            (of(f"model_label:latentserve_class_silence:{_LABELS}", FLEET), f"{{{{label}}}} {_OF}"),
            names={0: ("comes", GREEN), 1: ("silent", RED)}, width=8, runbooks=["LatentserveClassSilent"],
        ),
    ]  # fmt: skip


def conditions() -> list[Panel]:
    """Which conditions are asked for."""
    of_each = "on (condition) group_left ()"
    binned = total("condition, bin", rate(m.CONDITION_ROWS, REPLICA, f'bin!="{m.DRAWN}"'))
    bins = f"count by (condition) ({binned})"
    rows, drawn = (
        total(f"{_MODEL}, condition", rate(m.CONDITION_ROWS, REPLICA, *more)) for more in ((), (f'bin="{m.DRAWN}"',))
    )
    return [
        shares(
            "Conditions asked for: bins", "Share of the rows in each tenth of a condition's prior, over a tenth: 100 % "
            "where what is asked for is mixed as the prior is. The manifest's `condition_bins` says where they lie.",
            (
                f"{binned} * {of_each} {bins} / {of_each} ({total('condition', binned)} > 0)",
                "{{condition}} {{bin}}",
            ),
            width=16, runbooks=["LatentserveCauseNamed"],
        ),
        lines(
            "Conditions that clients choose", "percentunit", "Share of rows that were asked for with a value of the "
            "client's own. These are not compared with the reference; control samples make up for them.",
            (f"1 - {drawn} / ({rows} > 0)", f"{{{{condition}}}} {_OF}"), most=1, runbooks=["LatentserveCauseNamed"],
        ),
    ]  # fmt: skip


def arms() -> list[Panel]:
    """Who chose the latents, and which."""
    stem, signal = "model_signal:latentserve_input_signal", f"{{{{signal}}}} {_OF}"
    bins = f"model_signal_bin:latentserve_input_signal_bin:increase{_WINDOW}"
    made, looked_at = (total(f"{_MODEL}, arm", rate(metric, REPLICA)) for metric in (m.SAMPLES, m.MONITORED))
    return [
        lines(
            "Samples looked at", "percentunit", "Share of those made. Repeated latents are counted once, and a monitor "
            "that is behind leaves whole batches out.",
            (f"{looked_at} / ({made} > 0)", f"{{{{arm}}}} {_OF}"), runbooks=["LatentserveMonitorBlind"],
        ),
        lines(
            "Latents that clients sent: effect at the least", "short", "Lower bound of the distance from the prior, of "
            "their norm and of their mean. Drift of the client arm alone is theirs.",
            (at_least(of(f"{stem}_effect_lower:{_WINDOW}", FLEET)), signal), runbooks=["LatentserveCauseNamed"],
        ),
        lines(
            "Latents that clients sent again", "short", "Rows a second that had been sent before; they count once.",
            (total(_MODEL, rate(m.INPUT_REPEATED, REPLICA)), _OF), runbooks=["LatentserveCauseNamed"],
        ),
        *(
            shares(
                f"Latents that clients sent: {name}", "Share in each twentieth of what the prior gives, over a "
                "twentieth. Only lower norms: truncation.",
                (_over_expected(of(bins, FLEET, f'signal="{name}"')), "{{bin}}"), width=8,
                runbooks=["LatentserveCauseNamed"],
            )
            for name in INPUTS
        ),
        lines(
            "Latents that clients sent: PSI", "short", "Without drift about 19 over the rows.",
            (of(f"{stem}_psi:{_WINDOW}", FLEET), signal), runbooks=["LatentserveCauseNamed"],
        ),
    ]  # fmt: skip


def _over_expected(counts: str) -> str:
    """Share of each bin over that of the reference."""
    return f"sum by (bin) ({counts}) * {BINS} / on () group_left () (sum({counts}) > 0)"
