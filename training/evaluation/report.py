"""What an evaluation leaves behind: report.json to compute with, report.html (of a template) to look at."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from latentserve.service.sampling.latents import draw_latents
from latentserve.training.data import Dataset
from latentserve.training.data.conditions import along
from latentserve.training.errors import ReportError
from latentserve.training.evaluation import pictures, privacy
from latentserve.training.evaluation.baseline import Baseline
from latentserve.training.evaluation.classes import ClassRow
from latentserve.training.evaluation.evaluate import Evaluation
from latentserve.training.evaluation.findings import BOUNDS, assess
from latentserve.training.evaluation.journal import curves, supervision
from latentserve.training.evaluation.statistic import MEANINGS, Difference, summary
from latentserve.training.evaluation.subject import Subject
from latentserve.training.evaluation.views import Samples
from latentserve.training.reporting import curves as curve_pictures
from latentserve.training.reporting import strict
from latentserve.training.supervising.words import Supervision

FORMAT = "latentserve-evaluation-1"
JSON, HTML = "report.json", "report.html"

SEED = 1  # of latents that are only looked at
PER_CLASS = 10
MOST_CONDITIONS, VALUES, HEARD = 8, 6, 3  # of a condition; samples of each value that are no pictures
MOST_CLASSES = 20
WAYS = 6
NEIGHBOURS = 8
QUIZ = 10  # samples of each side
_PLOTTED = 2_500
_COLUMNS = 12  # of a table that are plotted
_MOST_ROWS = 30  # of a table of classes, columns or pairs
_MOST_CHANGES = 100  # of the journal


def prepare(folder: Path) -> None:
    """Make the folder before hours are spent on what goes into it. Raises ReportError naming it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReportError(f"{folder}: cannot be written: {error.strerror}") from None


def write_report(
    folder: Path, evaluations: Sequence[Evaluation], baseline: Baseline, differences: Sequence[Difference], seed: int
) -> None:
    """Write both files; of two evaluations, their comparison. Raises ReportError naming the folder."""
    content: dict[str, Any] = {"format": FORMAT, "data": _data(baseline), "n": baseline.count, "seed": seed}
    content["features"] = {space.name: {"sentence": space.sentence, **space.identity} for space in baseline.spaces}
    if len(evaluations) == 1:
        content |= _one(evaluations[0], baseline)
    else:
        content |= {side: _one(each, baseline) for side, each in zip(("first", "second"), evaluations, strict=True)}
        content["comparison"] = {
            "sentence": summary(differences, "first", "second"),
            "statistics": {difference.key: difference.to_json() for difference in differences},
        }
    try:
        (folder / JSON).write_text(json.dumps(_finite(content), indent=1) + "\n")
        (folder / HTML).write_text(page(evaluations, baseline, differences))
    except OSError as error:
        raise ReportError(f"{folder}: cannot be written: {error.strerror}") from None


def _data(baseline: Baseline) -> dict[str, Any]:
    reals = baseline.reals
    return {
        "name": reals.train.name,
        "kind": reals.train.kind,
        "shape": list(reals.train.samples.shape[1:]),
        "sha256": reals.sha256,
        "train": {"split": reals.splits[0], "samples": len(reals.train)},
        "held_out": {"split": reals.splits[1], "samples": len(reals.held), "unseen": reals.unseen},
    }


def _one(evaluation: Evaluation, baseline: Baseline) -> dict[str, Any]:
    subject, verdict, supervised = evaluation.subject, assess(evaluation), supervision(evaluation.subject)
    told: dict[str, Any] = {
        "subject": {"origin": subject.origin, "name": subject.name, "path": str(subject.path), **subject.about},
        "verdict": {
            "grade": verdict.grade,
            "sentence": verdict.sentence,
            "findings": [finding.to_json() for finding in verdict.findings],
        },
        "statistics": {statistic.key: statistic.to_json() for statistic in evaluation.statistics},
        "diversity": evaluation.diversity,
        "warnings": [*baseline.warnings, *_warnings(evaluation)],
        "supervisor": supervised and supervised.to_json(),
        "supervision": supervised and supervised.sentence,
    }
    for name in ("classes", "conditions", "columns", "pairs"):
        rows = getattr(evaluation, name)
        told[name] = None if rows is None else [row.to_json() for row in rows]
    return told


def _warnings(evaluation: Evaluation) -> list[str]:
    """Of one subject, and what could not be read of its training, a line each."""
    found = supervision(evaluation.subject)
    unread = [] if found is None else [found.unread and found.sentence, curves(evaluation.subject)[1]]
    return [*evaluation.warnings, *(line for line in unread if line)]


def _finite(value: Any) -> Any:
    """JSON has no infinities."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# The page


def page(evaluations: Sequence[Evaluation], baseline: Baseline, differences: Sequence[Difference] = ()) -> str:
    """report.html, on one generator or on two side by side."""
    names = [each.subject.name for each in evaluations]
    if len(set(names)) < len(names):
        names = ["the first", "the second"]
    templates = strict.environment(Path(__file__).parent, Path(__file__).with_name("quiz.js"))
    templates.filters.update(number=_number, told=_told, code=_code)
    return templates.get_template("report.html.j2").render(
        subjects=[_subject(each, baseline, alone=len(evaluations) == 1) for each in evaluations],
        names=names,
        warnings=[*baseline.warnings, *(line for each in evaluations for line in _warnings(each))],
        spaces=baseline.spaces,
        meanings=MEANINGS,
        bounds=BOUNDS,
        privacy_names=privacy.NAMES,
        differences=differences,
        summary=summary(differences, *names) if len(names) == 2 else "",
    )


def _subject(evaluation: Evaluation, baseline: Baseline, alone: bool) -> dict[str, Any]:
    """What the template shows of one."""
    subject, supervised = evaluation.subject, supervision(evaluation.subject)
    lines = curves(subject)[0] if supervised else []
    told: dict[str, Any] = {
        "name": subject.name,
        "verdict": assess(evaluation),
        "about": _about(evaluation, baseline),
        "supervision": supervised,
        "journal": [asdict(action) for action in ((supervised and supervised.actions) or [])[:_MOST_CHANGES]],
        "curves": _curves(lines, supervised) if supervised and lines else None,
    }
    if not alone:
        pictured = baseline.reals.train.kind == "image"
        return {**told, "sheet": pictures.sheet(_by_class(subject)[0], 10) if pictured else None}
    worst = {
        name: sorted(getattr(evaluation, name) or [], key=lambda row: row.floor - row.difference)[:_MOST_ROWS]
        for name in ("columns", "pairs")
    }
    classes = sorted(evaluation.classes or [], key=_shortfall)[:_MOST_ROWS]
    return {
        **told,
        "look": _look(evaluation, baseline),
        "statistics": evaluation.statistics,
        "classes": classes,
        "conditions": evaluation.conditions,
        **worst,
    }


def _about(evaluation: Evaluation, baseline: Baseline) -> dict[str, Any]:
    subject, reals = evaluation.subject, baseline.reals
    return {
        "What": f"the {subject.origin} {subject.name}",
        **{
            key[0].upper() + key[1:]: f"{value:,}" if key == "images seen" else value
            for key, value in subject.about.items()
        },
        "Samples of each side": f"{baseline.count:,}",
        "Held against": f"{len(reals.train):,} samples ({reals.splits[0]}) of {reals.train.name}",
        "Floor": f"{len(reals.held):,} held-out samples ({reals.splits[1]})",
        "SHA-256 of the training data": reals.sha256,
        **{f"Features `{space.name}`": space.sentence for space in baseline.spaces},
    }


def _curves(lines: list[dict[str, Any]], supervised: Supervision) -> Markup:
    """Of a run's statistics, with what its supervisor found."""
    marks = [curve_pictures.Mark(*found) for found in supervised.findings]
    return curve_pictures.draw(lines, max(line["images"] for line in lines), marks)


def _look(evaluation: Evaluation, baseline: Baseline) -> dict[str, Any]:
    """What is for the eye: samples, ways between them, nearest training samples, a quiz."""
    subject, data, made, held = evaluation.subject, baseline.reals.train, evaluation.samples, baseline.held
    seen: dict[str, Any] = {"kind": data.kind, "plots": None}
    if data.kind == "image":
        fakes, names = _by_class(subject)
        sheets = [pictures.sheet(each, PER_CLASS) for each in (fakes, _real_by_class(baseline, names))]
        seen |= {"names": names, "samples": [[each] for each in sheets]}
        seen["ways"] = pictures.sheet(_ways(subject), pictures.STEPS)
    elif data.kind == "table" and data.columns is not None:
        plots = [
            pictures.histogram(baseline.reference[:, at], made[:, at], column)
            for at, column in enumerate(data.columns[:_COLUMNS])
        ]
        seen |= {"plots": pictures.figure(plots), "samples": [pictures.each_shown(s[:8], data) for s in (made, held)]}
    elif data.kind == "audio":
        plots = [pictures.waveform(made, "generated"), pictures.waveform(held, "held-out real")]
        seen |= {
            "plots": pictures.figure(plots, 2),
            "samples": [pictures.each_shown(s[:6], data) for s in (made, held)],
        }
    else:
        plots = [pictures.points(made[:_PLOTTED], "generated"), pictures.points(held[:_PLOTTED], "held-out real")]
        seen |= {"kind": "array", "plots": pictures.figure(plots, 2)}

    found = evaluation.nearest
    nearest = np.argsort(found.distance, kind="stable")[:NEIGHBOURS]
    rows = np.concatenate([nearest, np.arange(min(NEIGHBOURS, len(found.row)))])
    sides = (pictures.each_shown(each, data) for each in (made[rows], data.take(found.row[rows])))
    seen |= {"nearest": NEIGHBOURS, "searched": len(found.row), "pairs": list(zip(*sides, strict=True))}

    count = min(QUIZ, len(made))
    shown = pictures.each_shown(np.concatenate([held[:count], made[:count]]), data)
    cards = list(zip(shown, ["real"] * count + ["generated"] * count, strict=True))
    order = np.random.default_rng(0).permutation(len(cards))  # always the same
    return {**seen, "quiz": [cards[at] for at in order], "along": _along(subject, data)}


def _by_class(subject: Subject) -> tuple[Samples, list[str]]:
    """Samples, PER_CLASS of each class, and the names of these; without classes a square of samples."""
    names = (subject.labels or [])[:MOST_CLASSES]
    count = PER_CLASS * max(len(names), PER_CLASS if not names else 1)
    labels = np.repeat(np.arange(len(names)), PER_CLASS) if names else None
    return _shown(subject.make(subject.inputs(count, SEED, labels))), names


def _real_by_class(baseline: Baseline, names: list[str]) -> Samples:
    rows: list[NDArray[np.int64]] = []
    for name in names if set(names) <= set(baseline.names) else []:
        own = np.flatnonzero(baseline.held_labels == baseline.names.index(name))
        rows.append(np.resize(own, PER_CLASS) if len(own) else np.zeros(PER_CLASS, np.int64))
    chosen = np.concatenate(rows) if rows else np.arange(min(PER_CLASS**2, len(baseline.held)))
    return baseline.held[chosen]


def _ways(subject: Subject) -> Samples:
    ends = draw_latents(subject.latent, SEED + 1, 0, 2 * WAYS)
    of_way = subject.inputs(WAYS, SEED + 1, None if subject.labels is None else np.arange(WAYS) % len(subject.labels))
    every = of_way.take(np.repeat(np.arange(WAYS), pictures.STEPS))
    return _shown(subject.make(every._replace(z=pictures.interpolations(subject.latent, WAYS, ends))))


def _along(subject: Subject, data: Dataset) -> list[dict[str, Any]]:
    """Of each condition what it is called, and by values from the least to the largest what is shown of samples: the
    same latents and labels for all values, and the middle of other conditions."""
    conditions = subject.conditions or []
    count = {"image": PER_CLASS, "array": _PLOTTED // VALUES}.get(data.kind, HEARD)
    labels = None if subject.labels is None else np.arange(count) % len(subject.labels)
    rows = subject.inputs(count, SEED, labels)
    told = []
    for at, condition in enumerate(conditions[:MOST_CONDITIONS]):
        lines = []
        for asked in along(conditions, VALUES)[at]:
            made = _shown(subject.make(rows._replace(condition=np.tile(asked, (count, 1)))))
            if data.kind == "image":
                shown = [pictures.sheet(made, count)]
            elif data.kind == "array":
                shown = [pictures.figure([pictures.points(made, "")], 1)]
            else:
                shown = pictures.each_shown(made, data)
            lines.append((f"{asked[at]:.4g}{f' {condition.unit}' if condition.unit else ''}", shown))
        told.append({"name": condition.name, "lines": lines})
    return told


def _shown(samples: Samples) -> Samples:
    return np.nan_to_num(samples, nan=-1, posinf=1, neginf=-1)


def _shortfall(row: ClassRow) -> float:
    """What of a class is there, as a share of what should be."""
    shares = [row.share / row.real_share] if row.real_share else []
    if row.agreement is not None and row.real_agreement:
        shares.append(row.agreement / row.real_agreement)
    return min(shares, default=1.0)


def _number(value: float | None, spec: str = ".3g") -> str:
    return "" if value is None else format(value, spec)


def _code(text: str) -> Markup:
    """Text in which names stand between backticks."""
    parts = text.split("`")
    return Markup().join(Markup("<code>{}</code>").format(each) if at % 2 else each for at, each in enumerate(parts))


def _told(value: Any) -> str:
    """A value of the journal."""
    if isinstance(value, list | tuple):
        return ", ".join(_told(each) for each in value)
    return _number(value, ".4g") if isinstance(value, float) else "" if value is None else str(value)
