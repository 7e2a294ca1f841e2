"""What an evaluation leaves behind: report.json to compute with, report.html to look at."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latentserve.training.errors import ReportError
from latentserve.training.evaluation.baseline import Baseline
from latentserve.training.evaluation.course import warnings
from latentserve.training.evaluation.evaluate import Evaluation
from latentserve.training.evaluation.findings import assess
from latentserve.training.evaluation.journal import supervision
from latentserve.training.evaluation.page import page_of_one, page_of_two
from latentserve.training.evaluation.statistic import Difference, summary

FORMAT = "latentserve-evaluation-1"
JSON, HTML = "report.json", "report.html"


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
    common = {"format": FORMAT, "data": _data(baseline), "n": baseline.count, "seed": seed}
    common["features"] = {space.name: {"sentence": space.sentence, **space.identity} for space in baseline.spaces}
    if len(evaluations) == 1:
        content = {**common, **_one(evaluations[0], baseline)}
        page = page_of_one(evaluations[0], baseline)
    else:
        first, second = evaluations
        content = {
            **common,
            "first": _one(first, baseline),
            "second": _one(second, baseline),
            "comparison": {
                "sentence": summary(list(differences), "first", "second"),
                "statistics": {difference.key: difference.to_json() for difference in differences},
            },
        }
        page = page_of_two(first, second, baseline, differences)
    try:
        (folder / JSON).write_text(json.dumps(_finite(content), indent=1) + "\n")
        (folder / HTML).write_text(page)
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
        "warnings": [*baseline.warnings, *evaluation.warnings, *warnings(subject)],
        "supervisor": supervised and supervised.to_json(),
        "supervision": supervised and supervised.sentence,
    }
    for name in ("classes", "columns", "pairs"):
        rows = getattr(evaluation, name)
        told[name] = None if rows is None else [row.to_json() for row in rows]
    return told


def _finite(value: Any) -> Any:
    """JSON has no infinities."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
