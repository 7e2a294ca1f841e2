"""Increases of counters: of a minute, summed over replicas; then sums of those for every longer window.

Increase first, then sum: a counter that starts again is seen in its own series only. Six hours of 50 replicas' own
series would be more samples than Prometheus lets a query read.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from deploy.names import JOB
from deploy.rules.rule import Record
from deploy.windows import BASE, BLOCK, WINDOWS, Times, duration

MODEL = ("model", "version")


def by(*labels: str) -> str:
    """A grouping clause."""
    return f"by ({', '.join(labels)})"


def joined(*labels: str) -> str:
    """Of a binary operator: many on the left, one on the right, with these labels in common."""
    # With nothing between the last parentheses an expression in parentheses that follows is taken for labels.
    return f"on ({', '.join(labels)}) group_left ()"


def increase(metric: str, window: float, times: Times, labels: tuple[str, ...], matchers: str = "") -> str:
    """The sum by `labels` of the replicas' increases over `window` seconds.

    `increase` extrapolates from the samples it finds to the whole range. A range longer by a scrape holds one sample
    more, so that windows side by side count every sample's growth exactly once, and the excess is taken off again.
    """
    within = f'{{job="{JOB}"{", " if matchers else ""}{matchers}}}'
    wanted = times.seconds(window)
    longer = wanted + times.scrape
    return f"sum {by(*labels)} (increase({metric}{within}[{duration(longer)}])) * {wanted / longer:.6g}"


def increases(stem: str, metric: str, labels: tuple[str, ...], times: Times, longest: str = "320m") -> Iterator[Record]:
    """`STEM:increase1m`, then for each of WINDOWS up to `longest`. A window of which half is not known yet, or no
    longer, is what is known of it."""
    minute = f"{stem}:increase1m"
    yield Record(minute, increase(metric, BLOCK, times, labels))
    # The range is closed on both sides: half a minute less, and it holds five minutes and not six.
    yield Record(f"{stem}:increase{BASE}", f"sum_over_time({minute}[{times.text(WINDOWS[BASE] - BLOCK / 2)}])")
    names = list(WINDOWS)
    for shorter, longer in pairwise(names[: names.index(longest) + 1]):
        half = f"{stem}:increase{shorter}"
        yield Record(f"{stem}:increase{longer}", f"{half} + ({half} offset {times.window(shorter)} or {half} * 0)")
