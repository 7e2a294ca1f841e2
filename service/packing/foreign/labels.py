"""The names of a generator's labels, whose number is told or probed."""

from __future__ import annotations

from latentserve.service.errors import BundleError
from latentserve.service.packing.foreign.original import Original

_LIMIT = 65_536


def label_names(original: Original, source: str, told: list[str] | None) -> list[str] | None:
    """Those told, if the graph takes as many; else as many numbers as it takes; None where there are no labels. Raises
    BundleError naming `source`: the graph takes fewer, or any."""
    label = original.signature.label
    if label is None:
        if told is not None:
            raise BundleError(f"{source}: --labels was given, but the graph has no label input")
        return None
    one, role = label
    if role.form == "one-hot":
        if told is not None and len(told) != one.width:
            raise BundleError(f"{source}: --labels names {len(told)} labels; the label {one} has {one.width}")
        return told or [str(index) for index in range(one.width)]
    if told is not None:
        if not original.takes(len(told) - 1):
            raise BundleError(f"{source}: --labels names {len(told)} labels; the graph takes fewer")
        return told
    if original.takes(_LIMIT):
        raise BundleError(
            f"{source}: {one.name} takes any label, so their number cannot be probed; say --labels, or where it is no "
            f"label --input {one.name}=condition:LO..HI or {one.name}=constant:VALUE"
        )
    low, high = 0, _LIMIT  # takes low, does not take high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if original.takes(middle) else (low, middle)
    return [str(index) for index in range(low + 1)]
