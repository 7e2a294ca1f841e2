"""What a run's folder tells of its training: what its supervisor did, in words, and the lines of stats.jsonl.

A file that cannot be read stops no report: a line says so in its place.
"""

from typing import Any

from latentserve.training.errors import RunError
from latentserve.training.evaluation.subject import Subject
from latentserve.training.reporting.stats import read_stats
from latentserve.training.supervising import read_journal
from latentserve.training.supervising.words import Supervision

STATS = "stats.jsonl"


def supervision(subject: Subject) -> Supervision | None:
    """Of a run; None of a bundle, which tells nothing of its training."""
    if subject.config is None:
        return None
    mode = subject.config.supervise
    try:
        return Supervision(mode, read_journal(subject.path))
    except RunError as error:
        return Supervision(mode, None, str(error))
    except (OSError, UnicodeError):
        return Supervision(mode, None, f"the journal in {subject.path} cannot be read")


def curves(subject: Subject) -> tuple[list[dict[str, Any]], str | None]:
    """The lines of a run's stats.jsonl; or none, and why they cannot be read, in a line."""
    path = subject.path / STATS
    try:
        return read_stats(path), None
    except (OSError, ValueError):
        return [], f"{path}: holds what is no line of statistics; the curves of the training are left out."
