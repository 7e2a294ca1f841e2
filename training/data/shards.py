"""Folders that only keep files apart: shards by a number or a hash, dates, and what cameras make."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

OTHERWISE = "--set folders=none takes all without classes, --set folders=classes each folder as one"

_SHARD = re.compile(
    r"(?:part|shard|chunk|batch|subset|volume|vol|archive|fold|folder|images?|imgs?|data)s?[-_ ]?\d+\Z", re.IGNORECASE
)
_SHARD_OF = re.compile(r"[-_ ](?:part|shard|chunk|batch|subset|vol(?:ume)?)s?[-_ ]?\d+\Z", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]{1,3}\Z", re.IGNORECASE)
_DATE = re.compile(r"(?:19|20)\d\d(?:[-_. ]?(?:0[1-9]|1[0-2])(?:[-_. ]?[0-3]\d)?)?\Z")
_OF_YEAR = re.compile(r"\d{1,2}\Z")  # a month, or a day
_CAMERA = re.compile(r"[1-9]\d\d[A-Z0-9_]{5}\Z")  # 100CANON, as the Design rule for Camera File system has it
_LAST_NUMBER = re.compile(r"(\d+)\D*\Z")
_ROUND = (100, 250, 500, 1000, 5000, 10000)  # files of a shard
_SOME = 10  # files of a folder, by which shards are suspected
_SHOWN = 5  # names in a line


class UnclearError(Exception):
    """Folders that may be shards or classes."""


def kind(tops: Sequence[str], inside: Sequence[tuple[str, str]], above: Sequence[str]) -> str | None:
    """What folders are that are no classes: `shards`, `dates` or `folders of a camera`; None: they are classes.

    Args:
        tops: Their names.
        inside: The folder and the name of each file.
        above: The folders that they lie in.

    Raises:
        UnclearError: They may be either.
    """
    tops = sorted(tops)
    if all(_DATE.match(top) for top in tops) or (
        any(map(_DATE.match, above)) and all(_OF_YEAR.match(top) for top in tops)
    ):
        return "dates"
    if len(tops) < 2:
        return None
    if all(_SHARD.match(top) for top in tops) or len({_SHARD_OF.sub("", top) for top in tops} - set(tops)) == 1:
        return "shards"
    if all(_CAMERA.match(top) for top in tops):
        return "folders of a camera"
    begin = all(name.lower().startswith(top.lower()) for top, name in inside)
    # Classes that are digits, or letters, may have files that begin with them; shards by a hash have both.
    digits = "".join(tops)
    if begin and all(_HEX.match(top) for top in tops) and not digits.isdecimal() and not digits.isalpha():
        return "shards"
    if not (all(top.isascii() and top.isdecimal() for top in tops) and len({len(top) for top in tops}) == 1):
        return None
    names: dict[str, list[str]] = {top: [] for top in tops}
    for top, name in inside:
        names[top].append(name)
    counts = [len(names[top]) for top in tops]
    alike = len(set(counts[:-1])) == 1 and counts[-1] <= counts[0]
    ranges = [_range(names[top]) for top in tops]
    follow = all(low >= 0 for low, _ in ranges) and all(before[1] < after[0] for before, after in pairwise(ranges))
    if len(tops[0]) < 3:
        closely = follow and all(before[1] + 1 == after[0] for before, after in pairwise(ranges))
        if closely and alike and counts[0] >= _SOME:
            raise UnclearError
        return None
    if follow:
        return "shards"
    every = [name for _, name in inside]
    if alike and counts[0] in _ROUND and len(set(every)) == len(every):
        raise UnclearError
    return None


def listed(names: Iterable[str]) -> str:
    """The first of some names."""
    names = list(names)
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def alike_but_for_case(names: Iterable[Any]) -> str:
    """The first of the names that another one differs from in case alone; none: an empty text."""
    texts = [name for name in names if isinstance(name, str)]
    folded = Counter(name.strip().casefold() for name in texts)
    return listed(name for name in texts if folded[name.strip().casefold()] > 1)


def _range(names: Sequence[str]) -> tuple[int, int]:
    """The least and the largest number that names end with; -1 where one has none."""
    found = (_LAST_NUMBER.search(PurePosixPath(name).stem) for name in names)
    numbers = [int(each[1]) if each else -1 for each in found]
    return min(numbers), max(numbers)
