"""Labels and conditions that make no difference: two of which the same latent gives the same sample."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Condition, Inputs

_LABELS = 4096  # that are compared at the most: the first
_SECONDS = 30.0
_LATENTS = 2  # that two labels must agree on
_SAME = 1e-5  # of the samples' span: what places in a batch make
_SHOWN = 8  # groups that are named

Floats = NDArray[np.float32]


def label_aliases(generate: Callable[[Inputs], Floats], inputs: Inputs, labels: int, batch: int) -> list[list[int]]:
    """Groups of labels, each of two at least, of which all give the same samples.

    Args:
        generate: samples float32 [n, *shape] of inputs.
        inputs: two rows at least, of which the latents and conditions are tried with every label.
        labels: how many there are; of very many, and of a slow generator, the first are compared.
        batch: rows that are run at once.
    """
    prints: list[NDArray[np.float64]] = []
    weights: NDArray[np.float64] | None = None
    until = time.monotonic() + _SECONDS
    count = min(labels, _LABELS)
    for start in range(0, count, batch):
        own = np.arange(start, min(start + batch, count))
        made = generate(_asked(inputs, own, 0)).reshape(len(own), -1)
        if weights is None:
            weights = _projection(made.shape[1])
        prints.append(made @ weights)
        if time.monotonic() > until:
            break
    found = np.concatenate(prints)
    reach = _SAME * max(float(np.ptp(found)), float(np.abs(found).max()), 1e-30)
    groups = [
        group for alike in _alike(found, 10 * reach) for group in _verified(generate, inputs, alike, batch) if group[1:]
    ]
    return sorted(groups)


def conditions_without_effect(
    generate: Callable[[Inputs], Floats], inputs: Inputs, conditions: Sequence[Condition]
) -> list[str]:
    """A sentence for each condition that makes no difference: at the ends of its range, `inputs`, a few rows, give the
    same samples."""
    said = []
    for place, one in enumerate(conditions):
        assert inputs.condition is not None  # noqa: S101, for mypy
        low, high = inputs.condition.copy(), inputs.condition.copy()
        low[:, place], high[:, place] = one.range
        one_end, other_end = (generate(inputs._replace(condition=end)) for end in (low, high))
        if np.array_equal(one_end, other_end):
            said.append(f"all values of {one.name} give the same samples: the condition makes no difference")
    return said


def same_from(row: Callable[[int], NDArray[Any]], last: int) -> int | None:
    """The first label from which on all give what label `last` gives, of `row` [...] of a label and always the same
    latent; None where the one before `last` gives something else."""
    limit = row(last).astype(np.float64)
    reach = _SAME * max(float(np.ptp(limit)), float(np.abs(limit).max()), 1e-30)

    def same(label: int) -> bool:
        return bool(np.abs(row(label) - limit).max() <= reach)

    low, high = -1, last  # low gives something else, high the same
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if same(middle) else (middle, high)
    return high if high < last else None


def told(groups: Sequence[Sequence[int]], names: Sequence[str]) -> list[str]:
    """A sentence for each group of labels that give the same samples, and what to do."""
    if len(groups) == 1 and len(groups[0]) == len(names):
        return [f"all {len(names)} labels give the same samples: the label makes no difference"]
    said = [f"labels {_listed(group, names)} give the same samples" for group in groups[:_SHOWN]]
    if len(groups) > _SHOWN:
        said.append(f"{len(groups) - _SHOWN} more groups of labels give the same samples each")
    if said:
        said[-1] += "; --labels with as many names as there are classes leaves the others out"
    return said


def _asked(inputs: Inputs, labels: NDArray[np.int64], row: int) -> Inputs:
    """One row, with each of these labels."""
    return inputs.take(np.full(len(labels), row))._replace(label=labels)


def _projection(size: int) -> NDArray[np.float64]:
    """Of samples to two numbers, in which those that differ differ."""
    return np.random.default_rng(0).normal(size=(size, 2)) / math.sqrt(size)


def _alike(found: NDArray[np.float64], reach: float) -> Iterable[list[int]]:
    """Groups of rows whose first numbers follow each other within `reach`."""
    order = np.argsort(found[:, 0], kind="stable")
    ends = np.flatnonzero(np.diff(found[order, 0]) > reach) + 1
    return (sorted(group.tolist()) for group in np.split(order, ends) if len(group) > 1)


def _verified(
    generate: Callable[[Inputs], Floats], inputs: Inputs, labels: list[int], batch: int
) -> Iterable[list[int]]:
    """The labels in groups that really agree, value by value, with the first of each group, on every latent."""
    left = np.array(labels)
    while len(left) > 1:
        same = np.ones(len(left), np.bool_)
        for row in range(min(_LATENTS, len(inputs.z))):
            first = generate(_asked(inputs, left[:1], row))[0]
            reach = _SAME * max(float(np.ptp(first)), float(np.abs(first).max()), 1e-30)
            for start in range(0, len(left), batch):
                part = slice(start, start + batch)
                made = generate(_asked(inputs, left[part], row))
                off = np.array([np.abs(one - first).max() for one in made])
                same[part] &= off <= reach
        same[0] = True
        yield left[same].tolist()
        left = left[~same]


def _listed(group: Sequence[int], names: Sequence[str]) -> str:
    """Their names; of many that follow each other, the first and the last."""
    runs: list[list[int]] = []
    for label in group:
        if runs and runs[-1][-1] == label - 1:
            runs[-1].append(label)
        else:
            runs.append([label])
    words = []
    for run in runs:
        if len(run) > 2:
            words.append(f"{names[run[0]]} to {names[run[-1]]}")
        else:
            words.extend(names[label] for label in run)
    words = words if len(words) <= _SHOWN else [*words[:_SHOWN], f"{len(words) - _SHOWN} more"]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
