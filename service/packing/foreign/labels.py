"""The names of a generator's labels, whose number is told or probed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from latentserve.service.errors import BundleError
from latentserve.service.packing.aliases import same_from
from latentserve.service.packing.foreign.original import Original, draw_rows

_LIMIT = 65_536


def label_names(original: Original, source: str, told: list[str] | None) -> list[str] | None:
    """Those told, if the graph takes as many; else as many numbers as it takes; None where there are no labels. Raises
    BundleError naming `source`: the graph takes fewer, or any; a name is empty or there twice."""
    label = original.signature.label
    if label is None:
        if told is not None:
            raise BundleError(f"{source}: --labels was given, but the graph has no label input")
        return None
    one, role = label
    last = _last(one.dtype)
    if told is not None and "" in told:
        raise BundleError(f"{source}: --labels: a name is empty")
    if twice := next((name for name, times in Counter(told).items() if times > 1), None):
        raise BundleError(f"{source}: --labels: {twice} is named twice")
    if role.form == "one-hot":
        if told is not None and len(told) != one.width:
            raise BundleError(f"{source}: --labels names {len(told)} labels; the label {one} has {one.width}")
        return told or [str(index) for index in range(one.width)]
    if told is not None:
        if len(told) - 1 > last or not original.takes(len(told) - 1):
            raise BundleError(f"{source}: --labels names {len(told)} labels; the graph takes fewer")
        return told
    if one.dtype.kind == "b":
        return ["0", "1"]
    if original.takes(last):
        raise BundleError(
            f"{source}: {one.name} takes any label, so their number cannot be probed{_hint(original, last)}; say "
            f"--labels, or where it is no label --input {one.name}=condition:LO..HI or {one.name}=constant:VALUE"
        )
    low, high = 0, last  # takes low, does not take high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if original.takes(middle) else (low, middle)
    return [str(index) for index in range(low + 1)]


def beyond(names: list[str] | None, original: Original) -> list[str]:
    """What is to be said of a graph that takes more labels than there are names: a sentence, or none."""
    label = original.signature.label
    if names is None or label is None or label[1].form == "one-hot":
        return []
    last = _last(label[0].dtype)
    if len(names) > last or not original.takes(len(names)) or original.takes(last):
        return []
    return [f"{len(names)} labels are named, and the graph takes more: those beyond are never asked for"]


def _last(dtype: np.dtype[Any]) -> int:
    """The last label that is tried: up to it an input of this type tells each from the one before."""
    if dtype.kind == "b":
        return 1
    return min(_LIMIT, np.iinfo(dtype).max if dtype.kind in "iu" else 2 << np.finfo(dtype).nmant)


def _hint(original: Original, last: int) -> str:
    """How many there may be, of a graph that compares them: those that it does not know are all alike."""
    inputs = draw_rows(original.signature, 1)
    first = same_from(lambda label: original.run(inputs._replace(label=np.full(1, label, np.int64)))[0], last)
    if first is None:
        return ""
    return f" (from {first} on all give the same samples)" if first else " (and all give the same samples)"
