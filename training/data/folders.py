"""What folders mean: splits, classes, shards, or nothing. A split is known by its name and never a class; what it comes
to is told, and where it cannot be known it is asked."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.training.data.dataset import Split
from latentserve.training.data.listing import Listing, kinds
from latentserve.training.data.names import HELD_OUT, UNLABELED, split_of
from latentserve.training.data.reading import Reading
from latentserve.training.errors import DataError, NoHeldOutError

_PICTURES = re.compile(r"(?:images?|imgs?|pictures?|photos?|jpegimages|rgb|inputs?)\Z", re.IGNORECASE)
ABOUT_THEM = re.compile(
    r"(?:masks?|annotations?|labels?|segmentation\w*|segs?|ground[-_ ]?truth|gt|depths?|trimaps?|bboxes|edges)\Z",
    re.IGNORECASE,
)
_SHARD = re.compile(r"(?:part|shard|chunk|batch|subset|volume|vol|archive)s?[-_ ]?\d+\Z", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]{1,3}\Z", re.IGNORECASE)
_LAST_NUMBER = re.compile(r"(\d+)\D*\Z")
_SHOWN = 5  # names in a line

OTHERWISE = "--set folders=none takes all without classes, --set folders=classes each folder as one"


@dataclass(frozen=True)
class Placed:
    """A file, and the folders that say what it is: those below its split."""

    file: PurePosixPath
    folders: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """The files of a split.

    Attributes:
        files: in order.
        folder: the one that all of the split lie in, from the source.
        notes: what was understood, and left out.
    """

    files: list[Placed]
    folder: PurePosixPath
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelledFiles:
    """Files of a folder or an archive in a fixed order, and their labels int64 [N]; zeros where `label_names` is empty.

    Attributes:
        listing: where they are.
        folder: the one of their split, from there.
        notes: what was understood of the folders, and left out.
    """

    listing: Listing
    folder: PurePosixPath
    files: list[PurePosixPath]
    labels: NDArray[np.int64]
    label_names: list[str]
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """What each is called in an error."""
        return [self.listing.name(file) for file in self.files]

    def only(self, rows: NDArray[Any]) -> "LabelledFiles":
        """Some of them."""
        return replace(self, files=[self.files[row] for row in rows], labels=self.labels[rows])


def find(listing: Listing, suffixes: tuple[str, ...], what: str, split: Split, reading: Reading) -> LabelledFiles:
    """The files of a split that have one of the suffixes, with the class folders that they lie in.

    Classes are in the order of their numbers where all have one, else of the alphabet. Raises DataError naming a folder
    that holds no `what`, or does not say which is whose.
    """
    found = listing.having(suffixes)
    if not found:
        raise DataError(f"{listing.source}: no {what} in it ({', '.join(suffixes)}){absence(listing)}")
    parts, notes = split_parts(listing, found, reading)
    if "train" not in parts:
        alone = next(iter(parts))
        if alone != UNLABELED:
            raise DataError(
                f"{listing.source}: only `{parts[alone].folder}` in it, which is held out; to train on it, name it"
            )
        parts = {"train": parts[UNLABELED]}
        reading = replace(reading, folders="none")
    train = parts["train"]
    whole = _classes(listing, train, train, reading)
    held_out = {name: _classes(listing, parts[name], train, reading) for name in HELD_OUT if name in parts}
    # A part whose labels nobody has is no use beside a labelled one.
    used = sorted(held_out, key=lambda name: bool(held_out[name].label_names) != bool(whole.label_names))[:1]
    if split == "test":
        if not used:
            raise NoHeldOutError(f"{listing.source}: no folder test or val in it")
        return held_out[used[0]]
    for name, part in parts.items():
        if name not in ("train", *used):
            notes.append(f"left out: {len(part.files):,} {what} of `{part.folder}`")
    return replace(whole, notes=(*notes, *whole.notes))


def split_parts(
    listing: Listing, files: Sequence[PurePosixPath], reading: Reading
) -> tuple[dict[str, Part], list[str]]:
    """Files by their splits; all are of `train` where no folder says otherwise. And what is to be told of it."""
    placed, around = _unwrapped([Placed(file, file.parts[:-1]) for file in files])
    here = PurePosixPath(*around)
    tops = Counter(one.folders[0] if one.folders else "" for one in placed)
    named = {top: split_of(top) for top in tops}
    splits = {split for split in named.values() if split}
    others = [top for top, split in named.items() if split is None]  # "" are those in no folder
    notes: list[str] = []
    if splits == {"train"} and any(others) and reading.folders != "classes":
        train, other = next(top for top in named if named[top]), next(top for top in others if top)
        raise DataError(
            f"{listing.source}: is `{train}` a split or, beside `{other}`, a class? Name the folder that is meant, or "
            "take all as classes with --set folders=classes"
        )
    if splits and not (splits == {"train"} and any(others)):
        parts: dict[str, list[Placed]] = {}
        for one in placed:
            split = named[one.folders[0]] if one.folders else None
            if split is not None:
                parts.setdefault(split, []).append(Placed(one.file, one.folders[1:]))
            elif "train" not in splits:  # the others are what is learnt
                parts.setdefault("train", []).append(one)
        if "train" in splits:
            notes += [f"left out: {tops[top]:,} in `{top or '.'}`, beside the splits" for top in others]
        folder_of = {split: here / top for top, split in named.items() if split}
        return {split: Part(of, folder_of.get(split, here)) for split, of in parts.items()}, notes
    # Each class with its own train and test.
    seconds = {one.folders[1] if len(one.folders) > 1 else "" for one in placed}
    inner = {name: split_of(name) for name in seconds}
    if "train" in inner.values() and all(split or ABOUT_THEM.match(name) for name, split in inner.items()):
        parts = {}
        for one in placed:
            if split := inner[one.folders[1]]:
                parts.setdefault(split, []).append(Placed(one.file, (one.folders[0], *one.folders[2:])))
        about = sum(inner[one.folders[1]] is None for one in placed)
        notes += [f"left out: {about:,} that are about the others, not of them"] if about else []
        return {split: Part(of, here) for split, of in parts.items()}, notes
    return {"train": Part(placed, here)}, notes


def _unwrapped(placed: list[Placed], within_split: bool = False) -> tuple[list[Placed], tuple[str, ...]]:
    """Without the folders that all lie in, unless they name a split that is not known yet; and those folders."""
    around: tuple[str, ...] = ()
    while all(one.folders[:1] == placed[0].folders[:1] != () for one in placed):
        name = placed[0].folders[0]
        if split_of(name) and not within_split:
            break
        around = (*around, name)
        placed = [Placed(one.file, one.folders[1:]) for one in placed]
    return placed, around


def _classes(listing: Listing, part: Part, train: Part, reading: Reading) -> LabelledFiles:
    """The files of a part with their classes, found as those of `train` are."""
    notes = list(part.notes)
    _, around = _unwrapped(train.files, within_split=True)
    files = [Placed(one.file, one.folders[len(around) :]) for one in part.files]
    wrapper = (*train.folder.parts, *around)
    tops = list(dict.fromkeys(one.folders[0] for one in files if one.folders))
    loose = [one.file for one in files if not one.folders]
    without = [one.file for one in files], np.zeros(len(files), np.int64), list[str]()
    if reading.folders == "none" or not tops:
        if reading.folders != "none" and wrapper and not split_of(wrapper[-1]):
            notes.append(f"no classes: all lie in one folder, `{PurePosixPath(*wrapper)}`")
        return LabelledFiles(listing, part.folder, *without, tuple(notes))
    if loose:
        raise DataError(
            f"{listing.name(loose[0])}: lies beside class folders such as {tops[0]}; which class is it of? {OTHERWISE}"
        )
    if reading.folders == "auto":
        about = [top for top in tops if ABOUT_THEM.match(top)]
        if about and all(_PICTURES.match(top) or top in about for top in tops) and len(about) < len(tops):
            kept = [one for one in files if one.folders[0] not in about]
            notes.append(f"left out: {len(files) - len(kept):,} in {_listed(about)}, which are about the others")
            rest = Part([Placed(one.file, one.folders[1:]) for one in kept], part.folder, tuple(notes))
            return _classes(listing, rest, rest, reading)
        if told := _shards(listing, files, tops):
            return LabelledFiles(listing, part.folder, *without, (*notes, told))
    order = sorted(tops, key=lambda name: _number_or_name(tops, name))
    place = {name: at for at, name in enumerate(order)}
    files = sorted(files, key=lambda one: (place[one.folders[0]], one.file))
    labels = np.array([place[one.folders[0]] for one in files], np.int64)
    counts = np.bincount(labels)
    if len(order) > 1 and (once := [name for name, count in zip(order, counts, strict=True) if count == 1]):
        notes.append(f"of one sample only: {len(once):,} of {len(order):,} classes, such as {_listed(once)}")
    deeper = {one.folders[0] for one in files if len(one.folders) > 1}
    if deeper:
        notes.append(f"classes are the first folders; those inside them ({_listed(sorted(deeper))}) are of one class")
    return LabelledFiles(listing, part.folder, [one.file for one in files], labels, order, tuple(notes))


def _shards(listing: Listing, files: Sequence[Placed], tops: Sequence[str]) -> str | None:
    """What to say of folders that only keep files apart; None where they are classes. Raises DataError where that
    cannot be known."""
    said = f"no classes: {_listed(sorted(tops))} are shards; {OTHERWISE}"
    if len(tops) < 2:
        return None
    if all(_SHARD.match(top) for top in tops):
        return said
    inside: dict[str, list[str]] = {top: [] for top in tops}
    for one in files:
        inside[one.folders[0]].append(one.file.name)
    begin = all(name.lower().startswith(top.lower()) for top, names in inside.items() for name in names)
    # Classes that are digits may have files that begin with them; shards by a hash have letters, too.
    if begin and all(_HEX.match(top) for top in tops) and not all(top.isdecimal() for top in tops):
        return said
    if not (all(top.isascii() and top.isdecimal() for top in tops) and len({len(top) for top in tops}) == 1):
        return None
    if len(tops[0]) < 3:
        return None
    ranges = []
    for top in sorted(tops):
        numbers = [
            int(found[1]) if (found := _LAST_NUMBER.search(PurePosixPath(name).stem)) else -1 for name in inside[top]
        ]
        ranges.append((min(numbers), max(numbers)))
    follow = all(low >= 0 for low, _ in ranges) and all(before[1] < after[0] for before, after in pairwise(ranges))
    if follow:
        return said
    every = [name for names in inside.values() for name in names]
    counts = [len(inside[top]) for top in sorted(tops)]
    alike = len(set(counts[:-1])) == 1 and counts[-1] <= counts[0] and counts[0] in (100, 250, 500, 1000, 5000, 10000)
    if alike and len(set(every)) == len(every):
        raise DataError(f"{listing.source}: are {_listed(sorted(tops))} shards or classes? {OTHERWISE}")
    return None


def absence(listing: Listing) -> str:
    """What there is instead of what was looked for, and what to do about it."""
    told = listing.instead()
    return (f"; there are {kinds(listing.files)}" if listing.files else "; it is empty") + (f"; {told}" if told else "")


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _number_or_name(names: list[str], name: str) -> tuple[int, str]:
    numbered = all(each.isascii() and each.isdecimal() for each in names)
    return (int(name) if numbered else 0, name)
