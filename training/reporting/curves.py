"""Curves of a run over images seen, as pictures that a page holds (SVG), all on one axis, with the journal's marks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup, escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900, 140, 62, 12, 22, 8  # of one picture, and of what is around the curves
_POINTS = 600  # of a curve
_WIDE = 30.0  # the greatest value over the least: from here on values are drawn by their logarithms


class Curves(NamedTuple):
    """Fields of `stats.jsonl` that are drawn in one frame, two at the most."""

    title: str
    fields: Sequence[str]


OF_A_RUN = (
    Curves("distance from real data", ("frechet", "frechet_floor")),
    Curves("diversity (1: as real data)", ("diversity",)),
    Curves("losses", ("critic_loss", "generator_loss")),
    Curves("critic right on", ("real_accuracy", "fake_accuracy")),
)


class Mark(NamedTuple):
    """Something that happened at so many images; `changed`: the run is another since."""

    images: int
    said: str
    changed: bool


Lines = Sequence[Mapping[str, Any]]


def draw(lines: Lines, images: int, marks: Sequence[Mark] = (), which: Sequence[Curves] = OF_A_RUN) -> Markup:
    """The frames for which there are values, one below the other, from 0 to `images`."""
    made = [_frame(lines, images, marks, one) for one in which]
    shown = [one for one in made if one]
    return Markup("").join([*shown, _axis(images)]) if shown else Markup("")


def place(at: float, images: int) -> float:
    """Where so many images are on the axis from 0 to `images`."""
    return LEFT + (WIDTH - LEFT - RIGHT) * at / max(1, images)


def _frame(lines: Lines, images: int, marks: Sequence[Mark], which: Curves) -> Markup:
    known = {
        name: [(line["images"], line[name]) for line in lines if _is_number(line.get(name))] for name in which.fields
    }
    values = [value for points in known.values() for _, value in points]
    if not values:
        return Markup("")
    low, high = min(values), max(values)
    logarithmic = low > 0 and high / low > _WIDE

    def height(value: float) -> float:
        ends = [math.log(one) for one in (low, value, high)] if logarithmic else [low, value, high]
        span = ends[2] - ends[0] or 1.0
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * ((ends[1] - ends[0]) / span if ends[2] > ends[0] else 0.5)

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(_said(which, known))}">',
        f'<text class="title" x="{LEFT}" y="14">{escape(which.title)}{" (logarithmic)" if logarithmic else ""}</text>',
        f'<rect class="frame" x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT - TOP - BOTTOM}"/>',
        f'<text x="{LEFT - 6}" y="{TOP + 9}" text-anchor="end">{high:.3g}</text>',
        f'<text x="{LEFT - 6}" y="{HEIGHT - BOTTOM}" text-anchor="end">{low:.3g}</text>',
    ]
    for mark in marks:
        at = f"{place(mark.images, images):.1f}"
        kind = "mark" if mark.changed else "told"
        parts.append(
            f'<line class="{kind}" x1="{at}" x2="{at}" y1="{TOP}" y2="{HEIGHT - BOTTOM}">'
            f"<title>{escape(mark.said)}</title></line>"
        )
    right = WIDTH - RIGHT
    for name, kind in reversed(list(zip(which.fields, ("first", "second"), strict=False))):
        points = _thinned(known[name])
        if not points:
            continue
        path = " ".join(f"{place(at, images):.1f},{height(value):.1f}" for at, value in points)
        parts.append(f'<polyline class="{kind}" points="{path}"/>')
        if len(points) == 1:
            parts.append(f'<circle class="{kind}" cx="{path.split(",")[0]}" cy="{path.split(",")[1]}" r="2"/>')
        label = f"{name.replace('_', ' ')} {points[-1][1]:.3g}"
        parts.append(f'<text class="{kind}" x="{right}" y="14" text-anchor="end">{escape(label)}</text>')
        right -= 8 * len(label)
    parts.append(f'<line class="cursor" x1="-9" x2="-9" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/></svg>')
    return Markup("".join(parts))  # noqa: S704, what is not ours in it is escaped


def _axis(images: int) -> Markup:
    ticks = [round(images * part / 4) for part in range(5)]
    parts = [f'<svg viewBox="0 0 {WIDTH} 18" aria-hidden="true">']
    for tick, at in enumerate(ticks):
        anchor = "start" if tick == 0 else "end" if tick == len(ticks) - 1 else "middle"
        said = f"{at:,}" + (" images" if tick == len(ticks) - 1 else "")
        parts.append(f'<text x="{place(at, images):.1f}" y="13" text-anchor="{anchor}">{said}</text>')
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704, numbers


def _said(which: Curves, known: Mapping[str, list[tuple[int, float]]]) -> str:
    ends = [f"{name.replace('_', ' ')} is {points[-1][1]:.3g}" for name, points in known.items() if points]
    return f"{which.title} over images seen: at the end {', '.join(ends)}"


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    step = -(-len(points) // _POINTS) or 1
    return points[::step] if not points or points[-1] in points[::step] else [*points[::step], points[-1]]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
