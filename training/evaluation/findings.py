"""Is the generator good, and what is wrong with it: findings as data, and one table of the words for them.

The bounds are this project's own. Each is of a value beside its floor, so that it means the same for any data, and
small enough a difference is nobody's finding.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from latentserve.training.evaluation import privacy
from latentserve.training.evaluation.evaluate import Evaluation
from latentserve.training.evaluation.statistic import Statistic
from latentserve.training.supervising.detectors import COLLAPSED, HEALTHY

Severity = Literal["serious", "minor"]
Grade = Literal["good", "flawed", "poor"]

SERIOUS: Severity = "serious"
MINOR: Severity = "minor"

GRADES: dict[Grade, str] = {
    "good": "This generator is good",
    "flawed": "This generator is usable, with flaws",
    "poor": "This generator is not good",
}

# What is said where nothing is wrong but that samples can be told from real ones: whether classifiers learnt from them.
ELSE_FINE = {
    True: "classifiers learn from it nearly as well as from real samples",
    False: "in all else that was measured it falls short of real samples by little",
}

# From where on something is a minor fault, and from where on a serious one; of shares of what should be, less is worse.
BOUNDS: dict[str, tuple[float, float]] = {
    "mode_collapse": (HEALTHY, COLLAPSED),  # distance of two samples of a class, over real ones': the supervisor's own
    "holes": (0.01, 0.1),  # share of real samples without a generated one anywhere near, beyond the floor
    "class_rare": (0.5, 0.1),  # share of the real frequency
    "class_wrong": (0.85, 0.5),  # recognised, over real ones
    "condition_missed": (0.15, 0.5),  # error in standard deviations of what was asked for, beyond the floor
    "distance": (0.08, 0.4),  # Frechet, beyond the floor, as a share of that of the mean of all alone
    "unrealistic": (0.85, 0.5),  # over the floor, as for variety
    "variety": (0.85, 0.5),
    "copies": (0.65, 0.9),  # chance of being nearer to the training data than unseen samples
    "dcr": (0.05, 0.15),  # share closest to training data, and how often membership is told, beyond half and all floors
    "membership": (0.05, 0.15),
    "task": (0.93, 0.6),  # points of accuracy beyond guessing, over the floor's
    "told_apart": (0.15, math.inf),  # accuracy of the classifier two-sample test, beyond its floor; never serious alone
    "columns": (0.08, 0.3),  # total variation, beyond the floor
    "pairs": (0.08, 0.3),
}

SENTENCES = {
    "not_finite": "{share:.1%} of its samples hold what is not a number.",
    "one_sample": "Total mode collapse: it makes one and the same sample always.",
    "mode_collapse": "Mode collapse: {samples_of} are {alike} (they lie {apart:.0%} as far apart as real ones do).",
    "holes": "Mode collapse: whole groups of real samples are never made; {value:.0%} of real samples have none "
    "anywhere near (in the features `{features}`; floor {floor:.0%}).",
    "class_missing": "{Classes} {are} missing ({shares}).",
    "class_rare": "{Classes} {are} rare ({shares}).",
    "class_wrong": "{Classes} often {fail} to show what was asked for: of {worst}, {value:.0%} are recognised; of real "
    "ones {floor:.0%}.",
    "condition_missed": "{Conditions} not kept to: of {worst}, what samples show is {off:.3g}{unit} off what was asked "
    "for in the median; of held-out real ones {real_off:.3g}{unit}.",
    "all_alike": "All real samples are the same, and its samples are others.",
    "distance": "As a whole its samples are off: their Fréchet distance from real ones, {value:.3g} beside a floor of "
    "{floor:.3g}, is {share:.0%} of that of a generator which only makes the average; of a good one it is at most "
    "{bound:.0%}.",
    "unrealistic": "Samples look wrong: {value:.0%} of them lie among real ones (precision in the features "
    "`{features}`; floor {floor:.0%}).",
    "variety": "Samples lack variety: {value:.0%} of real samples {there} ({statistic} in the features `{features}`; "
    "floor {floor:.0%}).",
    "copies": "Memorisation: it copies training data; {value:.0%} of samples are as near to a training sample as only "
    "{floor:.0%} of unseen real ones are.",
    "dcr": "Privacy: samples lie too near to what it was trained on; the closest record of {value:.0%} of them was "
    "trained on, among as many held-out ones (floor {floor:.0%}).",
    "membership": "Privacy: samples give away what it was trained on; an attacker tells a training record from another "
    "{value:.0%} of the time (floor {floor:.0%}), and recognises {recognised:.0%} of them, mistaking 1% of others.",
    "task": "It teaches less than real data: a classifier that learns from its samples is right on {value:.1%} of real "
    "ones, one that learns from as many real ones on {floor:.1%}.",
    "told_apart": "Its samples can be told from real ones: a classifier that has learnt to is right {value:.0%} of the "
    "time ({by}; floor {floor:.0%}).",
    "columns": "Columns have other values than real ones: {value:.0%} differ on average, beside a floor of "
    "{floor:.0%}.",
    "pairs": "Pairs of columns have other values than real ones: {value:.0%} differ on average, beside a floor of "
    "{floor:.0%}.",
}


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes:
        name: of the finding: a key of `SENTENCES`.
        severity: how bad it is.
        numbers: what was found: often its `value` and its `floor`.
        classes: those it is about; None: the samples as a whole.
        conditions: those it is about; None: the samples as a whole.
    """

    name: str
    severity: Severity
    numbers: dict[str, Any] = field(default_factory=dict)
    classes: list[str] | None = None
    conditions: list[str] | None = None

    @property
    def sentence(self) -> str:
        """In words."""
        names = _listed(self.classes or [])
        one = len(self.classes or []) == 1
        return SENTENCES[self.name].format(
            **self.numbers,
            Classes=f"{'Class' if one else 'Classes'} {names}",
            are="is" if one else "are",
            fail="fails" if one else "fail",
            Conditions=_conditions(self.conditions or []),
            samples_of=_samples_of(self),
            alike="nearly all alike" if self.severity == "serious" else "much alike",
            there="lie among generated ones"
            if self.numbers.get("statistic") == "recall"
            else "have a generated one near",
            shares=", ".join(
                f"{made:.1%} of samples beside {real:.1%} of real ones" for made, real in self.numbers.get("made", [])
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """What report.json says of it."""
        told = {"name": self.name, "severity": self.severity, "sentence": self.sentence, "numbers": self.numbers}
        of = {"classes": self.classes, "conditions": self.conditions}
        return told | {key: names for key, names in of.items() if names is not None}


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
        if [finding.name for finding in self.findings] == ["told_apart"]:
            numbers = self.findings[0].numbers
            told = f"but it can be told from them {numbers['value']:.0%} of the time."
            return f"{GRADES['flawed'].partition(',')[0]}: {ELSE_FINE[numbers['taught']]}, {told}"
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
        yield Finding("not_finite", "serious", {"share": evaluation.nonfinite / len(evaluation.samples)})
    if evaluation.constant:
        yield Finding("one_sample", "serious")
        return
    yield from _of_collapse(evaluation) or _of_holes(evaluation, found)
    yield from _of_classes(evaluation)
    yield from _of_conditions(evaluation)
    yield from _of_distance(found[f"frechet_{first}"], evaluation.spreads[first])
    precision = _worst(evaluation, "precision")
    yield from _short(precision, "unrealistic")
    # Where samples are off, there are none near real ones either: that is no lack of variety.
    near = ("recall",) if severity_of("unrealistic", _over_floor(precision)) else ("recall", "coverage")
    yield from _short(_worst(evaluation, *near), "variety")
    yield from _of_copies(found["memorisation"], found["copies"])
    yield from of_privacy(found)
    if "tstr" in found:
        yield from _graded("task", taught(evaluation, found["tstr"]), _beside(found["tstr"]))
    yield from _of_two_samples(evaluation)
    for name in ("columns", "pairs"):
        if name in found:
            yield from _graded(name, found[name].value - (found[name].floor or 0.0), _beside(found[name]))


def severity_of(name: str, value: float) -> Severity | None:
    """By the bounds of a finding; None within them."""
    minor, serious = BOUNDS[name]
    sign = 1 if minor < serious else -1
    if sign * value <= sign * minor:
        return None
    return "serious" if sign * value > sign * serious else "minor"


def taught(evaluation: Evaluation, tstr: Statistic) -> float:
    """Points of accuracy beyond guessing that samples teach a classifier, over those that real ones do."""
    chance = max((row.real_share for row in evaluation.classes or []), default=0.0)
    return (tstr.value - chance) / max((tstr.floor or 0.0) - chance, 1e-9)


def _graded(name: str, value: float, numbers: dict[str, Any], classes: list[str] | None = None) -> Iterator[Finding]:
    severity = severity_of(name, value)
    if severity is not None:
        yield Finding(name, severity, numbers, classes)


def _beside(statistic: Statistic) -> dict[str, Any]:
    return {"value": statistic.value, "floor": statistic.floor or 0.0}


def _of_collapse(evaluation: Evaluation) -> list[Finding]:
    """Samples of a class that are all alike; where there are no classes, all samples."""
    classes = evaluation.classes
    apart = {"": evaluation.diversity} if classes is None else {row.name: row.diversity for row in classes}
    for at, severity in ((1, SERIOUS), (0, MINOR)):
        alike = {name: far for name, far in apart.items() if far is not None and far < BOUNDS["mode_collapse"][at]}
        if alike:
            numbers = {"apart": sum(alike.values()) / len(alike), "every": len(alike) == len(apart)}
            return [Finding("mode_collapse", severity, numbers, None if classes is None else list(alike))]
    return []


def _of_holes(evaluation: Evaluation, found: dict[str, Statistic]) -> Iterator[Finding]:
    """Groups of real samples that are never made, in features in which what is made is realistic."""
    sure: list[tuple[float, Statistic]] = []
    for holes in (each for each in evaluation.statistics if each.name == "holes"):
        low = (holes.interval or (holes.value,))[0] - (holes.floor or 0.0)
        precise = severity_of("unrealistic", _over_floor(found[f"precision_{holes.features}"])) != SERIOUS
        if low > BOUNDS["holes"][0] and precise:
            sure.append((low, holes))
    if sure:
        worst = max(sure, key=lambda each: each[0])[1]
        numbers = {**_beside(worst), "features": worst.features}
        yield from _graded("holes", worst.value - (worst.floor or 0.0), numbers)


def _of_classes(evaluation: Evaluation) -> Iterator[Finding]:
    rows = [row for row in evaluation.classes or [] if row.real_share > 0]
    rare, missing = BOUNDS["class_rare"]
    kinds: tuple[tuple[str, Severity, float, float], ...] = (
        ("class_missing", SERIOUS, 0.0, missing),
        ("class_rare", MINOR, missing, rare),
    )
    for name, severity, least, most in kinds:
        named = [row for row in rows if least <= row.share / row.real_share < most]
        if named:
            made = [(row.share, row.real_share) for row in named[:3]]
            yield Finding(name, severity, {"made": made}, [row.name for row in named])
    known = [
        (row.agreement / row.real_agreement, row) for row in rows if row.agreement is not None and row.real_agreement
    ]
    wrong = [each for each in known if each[0] < BOUNDS["class_wrong"][0]]
    if wrong:
        share, worst = min(wrong, key=lambda each: each[1].agreement or 0.0)
        numbers = {"worst": worst.name, "value": worst.agreement, "floor": worst.real_agreement}
        yield from _graded("class_wrong", share, numbers, [row.name for _, row in wrong])


def _of_conditions(evaluation: Evaluation) -> Iterator[Finding]:
    missed = [
        (row.error - row.real_error, row)
        for row in evaluation.conditions or []
        if severity_of("condition_missed", row.error - row.real_error)
    ]
    if missed:
        beyond, worst = max(missed, key=lambda each: each[0])
        numbers = {
            "worst": worst.name,
            "value": worst.error,
            "floor": worst.real_error,
            "off": worst.off,
            "real_off": worst.real_off,
            "unit": f" {worst.unit}" if worst.unit else "",
        }
        severity = severity_of("condition_missed", beyond) or MINOR
        yield Finding("condition_missed", severity, numbers, conditions=[row.name for _, row in missed])


def _of_distance(frechet: Statistic, spread: float) -> Iterator[Finding]:
    if frechet.floor is None:
        return
    if spread <= 0:
        if frechet.value > 0:
            yield Finding("all_alike", "serious")
        return
    share = (frechet.value - frechet.floor) / spread
    yield from _graded("distance", share, {**_beside(frechet), "share": share, "bound": BOUNDS["distance"][0]})


def _worst(evaluation: Evaluation, *names: str) -> Statistic:
    """Of several ways to measure the same, in any features, that which falls short the most."""
    return min(
        (each for each in evaluation.statistics if each.name in names),
        key=lambda each: each.value / (each.floor or 1.0),
    )


def _over_floor(statistic: Statistic) -> float:
    """A share of what real samples get."""
    return statistic.value / statistic.floor if statistic.floor else 1.0


def _short(statistic: Statistic, name: str) -> Iterator[Finding]:
    numbers = {**_beside(statistic), "statistic": statistic.name, "features": statistic.features}
    yield from _graded(name, _over_floor(statistic), numbers)


def _of_copies(memorisation: Statistic, copies: Statistic) -> Iterator[Finding]:
    floor = max(copies.floor or 0.0, 0.01)
    nearer = (memorisation.interval or (memorisation.value,))[0]
    severity = severity_of("copies", nearer)
    if severity is not None and copies.value > 5 * floor:
        yield Finding("copies", SERIOUS if copies.value > 0.5 else severity, {"value": copies.value, "floor": floor})


def of_privacy(found: dict[str, Statistic]) -> Iterator[Finding]:
    """What surely lies beyond all that real samples get in a generator's place, held-out and training ones."""
    for name in privacy.NAMES:
        if statistic := found.get(name):
            numbers = {**_beside(statistic), "recognised": statistic.more.get("recognised", 0.0)}
            least = max(statistic.floor or 0.0, statistic.more["training_rows"], 0.5)
            yield from _graded(name, (statistic.interval or (statistic.value,))[0] - least, numbers)


def _of_two_samples(evaluation: Evaluation) -> Iterator[Finding]:
    """Samples that a classifier tells from real ones, surely, in the features in which it does so best."""
    tests = [each for each in evaluation.statistics if each.name in ("c2st", "c2st_pixels")]
    best = max(tests, key=_surely_beyond)
    by = "by the pixels" if best.features is None else f"in the features `{best.features}`"
    taught = any(each.name == "tstr" for each in evaluation.statistics)
    yield from _graded("told_apart", _surely_beyond(best), {**_beside(best), "by": by, "taught": taught})


def _surely_beyond(statistic: Statistic) -> float:
    """The near end of the interval, less the floor, or less guessing where that is more."""
    return (statistic.interval or (statistic.value,))[0] - max(statistic.floor or 0.0, 0.5)


def _listed(names: list[str]) -> str:
    """The first six."""
    shown, more = names[:6], len(names) - 6
    listed = f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)
    return listed + (f" and {more} more" if more > 0 else "")


def _conditions(names: list[str]) -> str:
    return f"{'Condition' if len(names) == 1 else 'Conditions'} {_listed(names)} {'is' if len(names) == 1 else 'are'}"


def _samples_of(finding: Finding) -> str:
    if finding.classes is None:
        return "its samples"
    if finding.numbers.get("every"):
        return "samples of every class"
    return f"samples of {'class' if len(finding.classes) == 1 else 'classes'} {_listed(finding.classes)}"
