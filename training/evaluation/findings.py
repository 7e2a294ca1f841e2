"""Is the generator good, and what is wrong with it, in plain words.

The bounds are this project's own. Each is of a value beside its floor, so that it means the same for any data, and
small enough a difference is nobody's finding.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from latentserve.training.evaluation.evaluate import Evaluation
from latentserve.training.evaluation.statistic import Statistic
from latentserve.training.supervising.detectors import COLLAPSED, HEALTHY

Severity = Literal["serious", "minor"]
Grade = Literal["good", "flawed", "poor"]

GRADES: dict[Grade, str] = {
    "good": "This generator is good",
    "flawed": "This generator is usable, with flaws",
    "poor": "This generator is not good",
}

# A share of what real samples get, below which something is missing.
_SERIOUS, _MINOR = 0.5, 0.85
# The Frechet distance, beyond the floor, as a share of that of a generator that makes one sample, the mean of all.
_FAR, _OFF = 0.4, 0.08
# Share of the real frequency of a class: from, to, and what that is called.
_RARITY: tuple[tuple[float, float, Severity, str], ...] = (
    (0.0, 0.1, "serious", "missing"),
    (0.1, 0.5, "minor", "rare"),
)
# Chance of being nearer to the training data than unseen samples; share of copies in real ones' terms.
_COPIED, _CLOSE = 0.9, 0.65
# Points of accuracy beyond guessing, as a share of those of real samples.
_USELESS, _WORSE = 0.6, 0.93
# Distance between two samples of a class, over that of real ones: the supervisor's own bounds.
_ALIKE: tuple[tuple[float, Severity, str], ...] = (
    (COLLAPSED, "serious", "nearly all alike"),
    (HEALTHY, "minor", "much alike"),
)
# Share of real samples without a generated one anywhere near.
_GAP, _HOLE = 0.1, 0.01
# Total variation between columns or pairs, beyond the floor.
_OTHER, _DIFFERENT = 0.3, 0.08

# The same for a reader.
RULES = (
    "Some samples hold what is not a number, or all are one and the same (serious).",
    f"Samples of a class lie less than {HEALTHY:.0%} as far apart as real ones do (serious: {COLLAPSED:.0%}).",
    f"More than {_HOLE:.0%} of real samples, beyond the floor and beyond chance, have no generated one anywhere near "
    f"(serious: {_GAP:.0%}).",
    f"A class is made less than {_RARITY[1][1]:.0%} as often as it should be (serious: {_RARITY[0][1]:.0%}), or fewer "
    f"than {_MINOR:.0%} as many of its samples are recognised as of real ones (serious: {_SERIOUS:.0%}).",
    f"The Fréchet distance beyond its floor is more than {_OFF:.0%} (serious: {_FAR:.0%}) of that of a generator which "
    "only makes the average sample.",
    f"Precision, recall, or coverage where precision is fine, is below {_MINOR:.0%} of its floor "
    f"(serious: {_SERIOUS:.0%}).",
    f"Memorisation is surely above {_CLOSE}, and there are five times as many copies as among real samples by chance "
    f"(serious: above {_COPIED}, or half of the samples).",
    f"A classifier learns less than {_WORSE:.0%} of what as many real samples teach it (serious: {_USELESS:.0%}).",
    f"In tables, more than {_DIFFERENT:.0%} of a column's values differ beyond the floor (serious: {_OTHER:.0%}).",
)


@dataclass(frozen=True)
class Finding:
    """Something that is wrong."""

    name: str
    severity: Severity
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """What report.json says of it."""
        return asdict(self)


@dataclass(frozen=True)
class Assessment:
    """What a reader should know first."""

    grade: Grade
    findings: list[Finding]

    @property
    def opening(self) -> str:
        """Whether it is good."""
        if not self.findings:
            return f"{GRADES[self.grade]}: in nothing that was measured do its samples fall short of real ones by much."
        return f"{GRADES[self.grade]}."

    @property
    def sentence(self) -> str:
        """That, and what is wrong, serious findings first."""
        return " ".join([self.opening, *(finding.sentence for finding in self.findings)])


def assess(evaluation: Evaluation) -> Assessment:
    """The verdict on what was measured."""
    findings = list(findings_of(evaluation))
    findings.sort(key=lambda finding: finding.severity != "serious")
    serious = any(finding.severity == "serious" for finding in findings)
    return Assessment("poor" if serious else "flawed" if findings else "good", findings)


def findings_of(evaluation: Evaluation) -> Iterator[Finding]:
    """All that is wrong, in the order of its telling."""
    found = {statistic.key: statistic for statistic in evaluation.statistics}
    first = evaluation.statistics[0].features or ""
    if evaluation.nonfinite:
        share = evaluation.nonfinite / len(evaluation.samples)
        yield Finding("not_finite", "serious", f"{share:.1%} of its samples hold what is not a number.")
    if evaluation.constant:
        yield Finding("one_sample", "serious", "Total mode collapse: it makes one and the same sample always.")
        return
    collapse = _of_collapse(evaluation) or _of_holes(evaluation)
    if collapse is not None:
        yield collapse
    yield from _of_classes(evaluation)
    yield from _of_distance(found[f"frechet_{first}"], evaluation.spreads[first])
    precision = _worst(evaluation, "precision")
    yield from _of_precision(precision)
    # Where samples are off, there are none near real ones either: that is no lack of variety.
    near = ("recall", "coverage") if _falls_short(precision) is None else ("recall",)
    yield from _of_variety(_worst(evaluation, *near))
    yield from _of_copies(found["memorisation"], found["copies"])
    yield from _of_tasks(found, evaluation)
    for name, what in (("columns", "Columns"), ("pairs", "Pairs of columns")):
        if name in found:
            yield from _of_tables(name, what, found[name])


def _of_collapse(evaluation: Evaluation) -> Finding | None:
    """Samples of a class that are all alike; where there are no classes, all samples."""
    classes = evaluation.classes
    found = {"": evaluation.diversity} if classes is None else {row.name: row.diversity for row in classes}
    for most, severity, said in _ALIKE:
        alike = {name: apart for name, apart in found.items() if apart is not None and apart < most}
        if alike:
            which = "every class" if len(alike) == len(found) else _small(_classes(list(alike)))
            who = "its samples" if classes is None else f"samples of {which}"
            apart = sum(alike.values()) / len(alike)
            sentence = f"Mode collapse: {who} are {said} (they lie {apart:.0%} as far apart as real ones do)."
            return Finding("mode_collapse", severity, sentence)
    return None


def _of_holes(evaluation: Evaluation) -> Finding | None:
    """Groups of real samples that are never made, in features in which what is made is realistic."""
    found = {statistic.key: statistic for statistic in evaluation.statistics}
    worst: Finding | None = None
    most = _HOLE
    for holes in (each for each in evaluation.statistics if each.name == "holes"):
        interval, floor = holes.interval, holes.floor or 0.0
        low = (interval[0] if interval is not None else holes.value) - floor
        if low > most and _falls_short(found[f"precision_{holes.features}"]) != "serious":
            most = low
            worst = Finding(
                "holes",
                "serious" if holes.value - floor > _GAP else "minor",
                f"Mode collapse: whole groups of real samples are never made; {holes.value:.0%} of real samples have "
                f"none anywhere near (in the features `{holes.features}`; floor {floor:.0%}).",
            )
    return worst


def _of_classes(evaluation: Evaluation) -> Iterator[Finding]:
    rows = [row for row in evaluation.classes or [] if row.real_share > 0]
    for least, most, severity, said in _RARITY:
        named = [row for row in rows if least <= row.share / row.real_share < most]
        if named:
            verb = "is" if len(named) == 1 else "are"
            shares = ", ".join(
                f"{row.share:.1%} of samples beside {row.real_share:.1%} of real ones" for row in named[:3]
            )
            yield Finding(
                f"class_{said}", severity, f"{_classes([row.name for row in named])} {verb} {said} ({shares})."
            )
    wrong = [row for row in rows if row.agreement is not None and row.agreement < _MINOR * row.real_agreement]
    if wrong:
        worst = min(wrong, key=lambda row: row.agreement or 0.0)
        fails = "fails" if len(wrong) == 1 else "fail"
        yield Finding(
            "class_wrong",
            "serious" if (worst.agreement or 0.0) < _SERIOUS * worst.real_agreement else "minor",
            f"{_classes([row.name for row in wrong])} often {fails} to show what was asked for: of {worst.name}, "
            f"{worst.agreement:.0%} are recognised; of real ones {worst.real_agreement:.0%}.",
        )


def _of_distance(frechet: Statistic, spread: float) -> Iterator[Finding]:
    if frechet.floor is None:
        return
    if spread <= 0:
        if frechet.value > 0:
            yield Finding("distance", "serious", "All real samples are the same, and its samples are others.")
        return
    share = (frechet.value - frechet.floor) / spread
    if share > _OFF:
        yield Finding(
            "distance",
            "serious" if share > _FAR else "minor",
            f"As a whole its samples are off: their Fréchet distance from real ones, {frechet.value:.3g} beside a "
            f"floor of {frechet.floor:.3g}, is {share:.0%} of that of a generator which only makes the average; of a "
            f"good one it is at most {_OFF:.0%}.",
        )


def _of_precision(precision: Statistic) -> Iterator[Finding]:
    share = _falls_short(precision)
    if share is not None:
        yield Finding(
            "unrealistic",
            share,
            f"Samples look wrong: {precision.value:.0%} of them lie among real ones (precision in the features "
            f"`{precision.features}`; floor {precision.floor:.0%}).",
        )


def _of_variety(worst: Statistic) -> Iterator[Finding]:
    share = _falls_short(worst)
    if share is not None:
        there = "lie among generated ones" if worst.name == "recall" else "have a generated one near"
        yield Finding(
            "variety",
            share,
            f"Samples lack variety: {worst.value:.0%} of real samples {there} ({worst.name} in the features "
            f"`{worst.features}`; floor {worst.floor:.0%}).",
        )


def _worst(evaluation: Evaluation, *names: str) -> Statistic:
    """Of several ways to measure the same, in any features, that which falls short the most."""
    found = [each for each in evaluation.statistics if each.name in names]
    return min(found, key=lambda each: each.value / (each.floor or 1.0))


def _falls_short(statistic: Statistic) -> Severity | None:
    """How much a share falls short of its floor."""
    floor = statistic.floor or 0.0
    if statistic.value >= _MINOR * floor:
        return None
    return "serious" if statistic.value < _SERIOUS * floor else "minor"


def _of_copies(memorisation: Statistic, copies: Statistic) -> Iterator[Finding]:
    floor = max(copies.floor or 0.0, 0.01)
    interval = memorisation.interval
    nearer = interval[0] if interval is not None else memorisation.value
    if nearer > _CLOSE and copies.value > 5 * floor:
        yield Finding(
            "copies",
            "serious" if copies.value > 0.5 or nearer > _COPIED else "minor",
            f"Memorisation: it copies training data; {copies.value:.0%} of samples are as near to a training sample as "
            f"only {floor:.0%} of unseen real ones are.",
        )


def _of_tasks(found: Mapping[str, Statistic], evaluation: Evaluation) -> Iterator[Finding]:
    tstr = found.get("tstr")
    if tstr is None or tstr.floor is None:
        return
    chance = max((row.real_share for row in evaluation.classes or []), default=0.0)
    share = (tstr.value - chance) / max(tstr.floor - chance, 1e-9)
    if share < _WORSE:
        yield Finding(
            "task",
            "serious" if share < _USELESS else "minor",
            f"It teaches less than real data: a classifier that learns from its samples is right on {tstr.value:.1%} "
            f"of real ones, one that learns from as many real ones on {tstr.floor:.1%}.",
        )


def _of_tables(name: str, what: str, statistic: Statistic) -> Iterator[Finding]:
    more = statistic.value - (statistic.floor or 0.0)
    if more > _DIFFERENT:
        yield Finding(
            name,
            "serious" if more > _OTHER else "minor",
            f"{what} have other values than real ones: {statistic.value:.0%} differ on average, beside a floor of "
            f"{statistic.floor or 0:.0%}.",
        )


def _small(words: str) -> str:
    return words[0].lower() + words[1:]


def _classes(names: list[str]) -> str:
    if len(names) == 1:
        return f"Class {names[0]}"
    shown = names[:6]
    return f"Classes {', '.join(shown[:-1])} and {shown[-1]}" + (f" and {len(names) - 6} more" if names[6:] else "")
