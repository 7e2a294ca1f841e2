"""The part of a report on how a run was trained: what its supervisor did, and curves."""

from collections.abc import Iterator
from dataclasses import asdict
from html import escape
from typing import Any

from latentserve.training.evaluation import pictures
from latentserve.training.evaluation.journal import curves, supervision
from latentserve.training.evaluation.subject import Subject

_MOST_EVENTS = 10  # that are told before all else
_MOST_ROWS = 100  # of the journal


def supervised(subject: Subject) -> str:
    """What the supervisor did, for a reader who reads no further; nothing of a bundle."""
    found = supervision(subject)
    if found is None:
        return ""
    told = found.events
    if len(told) > _MOST_EVENTS:
        told = [*told[:_MOST_EVENTS], f"{len(told) - _MOST_EVENTS} times more: see its journal below."]
    items = "".join(f"<li>{escape(each)}</li>" for each in told)
    return f"<p>{escape(found.sentence)}</p>" + (f"<ul>{items}</ul>" if items else "")


def warnings(subject: Subject) -> list[str]:
    """What could not be read, a line each."""
    found = supervision(subject)
    if found is None:
        return []
    return [line for line in (found.unread and found.sentence, curves(subject)[1]) if line]


def course(subject: Subject) -> Iterator[str]:
    """The section, as HTML; none of a bundle."""
    found = supervision(subject)
    if found is None:
        return
    yield f"<h2>The training of {escape(subject.name)}</h2><p>{escape(found.sentence)}</p>"
    if found.actions:
        rows = [asdict(action) for action in found.actions[:_MOST_ROWS]]
        head = "".join(f"<th>{escape(key)}</th>" for key in rows[0])
        lines = "".join(
            "<tr>" + "".join(f"<td>{escape(_told(value))}</td>" for value in row.values()) + "</tr>" for row in rows
        )
        yield f"<p>Its journal, one line a change:</p><table><tr>{head}</tr>{lines}</table>"
    lines_of_stats, _ = curves(subject)
    if lines_of_stats:
        marks = found.changes
        dotted = " Dotted lines: the supervisor changed the training." if marks else ""
        yield (
            f"<p>Once a tick, against images seen.{dotted} The distance is of other features than the numbers above, "
            "cheap ones that are the same all run long; the supervisor goes back to where it was least.</p>"
        )
        yield pictures.figure(
            [
                pictures.curve(lines_of_stats, ("critic_loss", "generator_loss"), "losses", marks),
                pictures.curve(lines_of_stats, ("real_accuracy", "fake_accuracy"), "critic right on", marks),
                pictures.curve(lines_of_stats, ("diversity",), "diversity (1: as real data)", marks),
                pictures.curve(lines_of_stats, ("frechet", "frechet_floor"), "distance from real data", marks),
            ],
            2,
        )


def _told(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(_told(each) for each in value)
    return "" if value is None else str(value)
