"""Statistics of a window in PromQL, over all replicas together: how far bin counts and component sums are from the
reference, which is itself a sample of N: a statistic that forgets it alarms on its own reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deploy.names import (
    FEATURE_ROWS,
    FEATURE_SUM,
    INPUT_BINS,
    LOOKED_AT_LABELS,
    OUTPUT_LABELS,
    REFERENCE_SAMPLES,
    REFERENCE_TOLERANCE,
    SIGNAL_BINS,
)
from deploy.rules.counts import MODEL, by, increases, joined
from deploy.rules.rule import Record
from deploy.windows import GOING_ON, SHOWN, TESTED, Times
from latentserve.service.watching.features import COMPONENT_LIMIT
from latentserve.service.watching.reference import BINS

ARM = (*MODEL, "arm")
SIGNAL = (*ARM, "signal")

REFERENCE = "model:latentserve_reference_samples:max"
TOLERATED = "model:latentserve_drift_effect:tolerated"
LEAST_EFFECT = 0.02  # chi-square distance; a shift of 0.15 standard deviations is as far
REFERENCE_EFFECT = 4  # squares of its tolerance: beyond what the reference's own error may look like
SMOOTHING = 0.5  # of a row, added to every bin: an empty one has a logarithm too
DEVIATIONS = 4.0  # by which the lower bound on an effect stays below what was seen
SILENT_ROWS = 48  # of a class that comes out at least one time in four: none of them has a chance of 1e-6

_FREEDOM = BINS - 1


def reference_rules() -> Iterator[Record]:
    """What is known of the reference. Each replica says it; it is taken once."""
    yield Record(REFERENCE, f"max {by(*MODEL)} ({REFERENCE_SAMPLES}) > 0")
    tolerance = f"max {by(*MODEL)} ({REFERENCE_TOLERANCE}) ^ 2"
    yield Record(TOLERATED, f"clamp_min({REFERENCE_EFFECT} * {tolerance}, {LEAST_EFFECT})")


def output_rules(times: Times) -> Iterator[Record]:
    """Signals of the output, by arm."""
    stem = "latentserve_output_signal"
    counts, totals = f"model_arm_signal_bin:{stem}_bin", f"model_arm_signal:{stem}_bin"
    yield from increases(counts, SIGNAL_BINS, (*SIGNAL, "bin"), times)
    yield Record(f"{totals}:increase1m", f"sum {by(*SIGNAL)} ({counts}:increase1m)")
    yield from _of_bins(stem, counts, totals, "model_arm_signal", SIGNAL, REFERENCE)


def input_rules(times: Times) -> Iterator[Record]:
    """Latents that clients sent. The prior is known exactly."""
    stem, labels = "latentserve_input_signal", (*MODEL, "signal")
    counts = f"model_signal_bin:{stem}_bin"
    yield from increases(counts, INPUT_BINS, (*labels, "bin"), times)
    yield from _of_bins(stem, counts, f"model_signal:{stem}_bin", "model_signal", labels, None)


def feature_rules(times: Times) -> Iterator[Record]:
    """T^2 of the feature components, which are centred by label and truncation when they are counted."""
    sums, rows = "model_arm_component:latentserve_output_feature_sum", "model_arm:latentserve_output_feature_rows"
    yield from increases(sums, FEATURE_SUM, (*ARM, "component"), times)
    yield from increases(rows, FEATURE_ROWS, ARM, times)
    for window in TESTED:
        n, squared = f"{rows}:increase{window}", f"model_arm:latentserve_output_feature_t2:{window}"
        moved = f"{sums}:increase{window} - {joined(*ARM)} ({COMPONENT_LIMIT:g} * {n})"
        yield Record(
            squared,
            f"sum {by(*ARM)} (({moved}) ^ 2)\n"
            f"  / on ({', '.join(ARM)}) clamp_min({n}, 1)\n"
            f"  / on ({', '.join(ARM)}) (1 + {n} / {joined(*MODEL)} {REFERENCE})",
        )
        freedom = f"count {by(*ARM)} ({sums}:increase{window})"
        yield from effect_rules("model_arm:latentserve_output_feature", squared, n, window, freedom)


def class_rules(times: Times) -> Iterator[Record]:
    """Classes that were asked for, and of which nothing came out."""
    labels = (*MODEL, "label")
    asked, came = "model_label:latentserve_looked_at_labels", "model_label:latentserve_output_labels"
    windows = SHOWN[:2]
    yield from increases(asked, LOOKED_AT_LABELS, labels, times, windows[-1])
    yield from increases(came, OUTPUT_LABELS, labels, times, windows[-1])
    for window in windows:
        yield Record(
            f"model_label:latentserve_class_silence:{window}",
            f"({asked}:increase{window} >= bool {SILENT_ROWS}) * ({came}:increase{window} < bool 0.5)",
        )


def _of_bins(
    stem: str, counts: str, totals: str, level: str, labels: Sequence[str], reference: str | None
) -> Iterator[Record]:
    """Rows, shares, PSI and the chi-square effect of equal-mass bins, by `labels`; of the output KS, too."""
    for window in SHOWN if reference is None else TESTED:
        c, n = f"{counts}:increase{window}", f"{totals}:increase{window}"
        yield Record(n, f"sum {by(*labels)} ({c})")
        yield from chi_square_rules(f"{level}:{stem}", c, n, window, labels, reference)
        if window in SHOWN:
            share = f"{counts}:ratio{window}"
            yield Record(share, f"({c} + {SMOOTHING}) / {joined(*labels)} ({n} + {SMOOTHING * BINS:g})")
            psi = f"({share} - 1 / {BINS}) * ln({share} * {BINS})"
            yield Record(f"{level}:{stem}_psi:{window}", f"sum {by(*labels)} ({psi})")
            if reference is not None:
                yield Record(f"{level}:{stem}_ks:{window}", _ks(share, labels))


def chi_square_rules(
    name: str, counts: str, rows: str, window: str, labels: Sequence[str], reference: str | None
) -> Iterator[Record]:
    """Pearson's statistic of `counts` with a label `bin`, with its effect; `reference`: what says its samples, if it is
    not exact."""
    on = ", ".join(labels)
    # Multiplied out: no join of every bin with its total.
    pearson = f"({BINS} * sum {by(*labels)} ({counts} ^ 2) / on ({on}) clamp_min({rows}, 1) - on ({on}) {rows})"
    inflation = "" if reference is None else f"\n  / on ({on}) (1 + {rows} / {joined(*MODEL)} {reference})"
    yield Record(f"{name}_chi2:{window}", pearson + inflation)
    yield from effect_rules(name, f"{name}_chi2:{window}", rows, window, f"{_FREEDOM}")


def effect_rules(name: str, statistic: str, rows: str, window: str, freedom: str) -> Iterator[Record]:
    """The effect a row, as it was seen and its lower bound, from a statistic X^2 that is chi-square with v degrees of
    freedom without drift: (X^2 - v - 4 sqrt(2 v + 4 (X^2 - v)+)) / n, from mean v + n e and variance 2 v + 4 n e of the
    non-central chi-square. Significance and size in one number."""
    effect, least = f"{name}_effect:{window}", f"clamp_min({rows}, 1)"
    yield Record(effect, f"({statistic} - {freedom}) / {least}")
    if window == GOING_ON:
        return
    deviation = f"sqrt(2 * {freedom} + 4 * clamp_min({effect} * {rows}, 0))"
    yield Record(f"{name}_effect_lower:{window}", f"{effect} - {DEVIATIONS:g} * {deviation} / {least}")


def _ks(share: str, labels: Sequence[str]) -> str:
    """The largest of the differences at the cuts between bins; a label tells them apart until it is chosen."""
    cuts = []
    for cut in range(1, BINS):
        below = "|".join(f"{b:02}" for b in range(cut))
        difference = f'abs(sum {by(*labels)} ({share}{{bin=~"{below}"}}) - {cut} / {BINS})'
        cuts.append(f'label_replace({difference}, "cut", "{cut}", "", "")')
    return f"max {by(*labels)} (\n  " + "\n  or ".join(cuts) + "\n)"
