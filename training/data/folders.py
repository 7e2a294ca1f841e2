"""What folders mean: splits, classes, shards, or nothing. A split is known by its name and never a class; what it comes
to is told, and where it cannot be known it is asked."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.training.data import shards
from latentserve.training.data.dataset import Split
from latentserve.training.data.listing import Listing, kinds
from latentserve.training.data.names import (
    ABOUT_THEM,
    CONTAINERS,
    HELD_OUT,
    PICTURES,
    UNLABELED,
    are_versions,
    is_about,
    split_of,
    split_of_stem,
    split_within,
    word_of,
)
from latentserve.training.data.reading import Reading
from latentserve.training.data.shards import OTHERWISE, alike_but_for_case, listed
from latentserve.training.errors import DataError, NoHeldOutError

OUTER, INNER = -1, -2  # steps
_LISTS = (".txt", ".csv", ".tsv", ".json", ".jsonl")
_SINGLE = 10  # folders of one file each, from which they are no classes
_FEWEST = 2  # files of a word that names begin with, to be told


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
        used: tables and lists that say something of them.
    """

    listing: Listing
    folder: PurePosixPath
    files: list[PurePosixPath]
    labels: NDArray[np.int64]
    label_names: list[str]
    notes: tuple[str, ...] = ()
    used: tuple[PurePosixPath, ...] = ()

    @property
    def names(self) -> list[str]:
        """What each is called in an error."""
        return [self.listing.name(file) for file in self.files]

    def only(self, rows: NDArray[Any]) -> "LabelledFiles":
        """Some of them."""
        return replace(self, files=[self.files[row] for row in rows], labels=self.labels[rows])


@dataclass
class Meaning:
    """What the folders of a training part mean, which those of a held-out one mean as well.

    Attributes:
        steps: how the folders of a file are reduced to those that name its class: how many outer ones are left away;
            OUTER or INNER: files whose first, or second, folder says that they are about others are left out, and
            that folder of the rest is left away.
        classes: whether what is left are classes.
        notes: what was understood.
    """

    steps: list[int] = field(default_factory=list)
    classes: bool = False
    notes: list[str] = field(default_factory=list)


def find(listing: Listing, suffixes: tuple[str, ...], what: str, split: Split, reading: Reading) -> LabelledFiles:
    """The files of a split that have one of the suffixes, with the class folders that they lie in.

    Classes are in the order of the alphabet, and of the numbers in their names. Raises DataError naming a folder
    that holds no `what`, or does not say which is whose.
    """
    found = listing.having(suffixes)
    if not found:
        raise DataError(f"{listing.source}: no {what} in it ({', '.join(suffixes)}){absence(listing)}")
    companions: list[str] = []
    if reading.folders == "auto":
        found, companions = _without_companions(found)
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
    meaning = _meaning(listing, train, reading)
    whole = _labelled(listing, train, meaning, reading)
    held_out = {name: _labelled(listing, parts[name], meaning, reading, whole) for name in HELD_OUT if name in parts}
    # A part whose labels nobody has, neither its folders nor a list in it, is no use beside a labelled one.
    used = sorted(held_out, key=lambda name: not _has_labels(held_out[name], whole))[:1]
    if split == "test":
        if not used or not held_out[used[0]].files:
            raise NoHeldOutError(f"{listing.source}: no folder test or val in it")
        return held_out[used[0]]
    for name, part in parts.items():
        if name not in ("train", *used):
            notes.append(f"left out: {len(part.files):,} {what} of `{part.folder}`")
    return replace(whole, notes=(*companions, *notes, *whole.notes))


def _has_labels(held: LabelledFiles, train: LabelledFiles) -> bool:
    """Whether a held-out part has labels, if the other has: by its folders, or it may by a list that lies in it."""
    if bool(held.label_names) == bool(train.label_names):
        return True
    stems = {file.stem for file in held.files}
    own = (file for file in held.listing.having(_LISTS) if file.is_relative_to(held.folder))
    return bool(train.label_names) and any(file.stem not in stems for file in own)


def _without_companions(files: list[PurePosixPath]) -> tuple[list[PurePosixPath], list[str]]:
    """Without those that are about another one of their folder by their name, and what is to be told of them."""
    stems: dict[PurePosixPath, set[str]] = {}
    for file in files:
        stems.setdefault(file.parent, set()).add(file.stem)
    about = {file for file in files if is_about(file.stem, stems[file.parent])}
    if not about:
        return files, []
    said = f"left out: {len(about):,} that are about others, as their names say, such as {min(about).name}; {OTHERWISE}"
    return [file for file in files if file not in about], [said]


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
    if not splits and reading.folders != "classes" and (inside := _splits_within(listing, placed, here)):
        return inside
    if splits and "train" not in splits and reading.folders != "classes":
        _require_clear(listing, named, placed)
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
    said = [split_of_stem(one.file.stem) for one in placed] if reading.folders == "auto" else []
    if None not in said and "train" in said and any(split in HELD_OUT for split in said):
        parts = {}
        for one, split in zip(placed, said, strict=True):
            parts.setdefault(split or "", []).append(one)
        return {split: Part(of, here) for split, of in parts.items()}, ["names of files begin with their splits"]
    return {"train": Part(placed, here)}, notes


def _splits_within(
    listing: Listing, placed: list[Placed], here: PurePosixPath
) -> tuple[dict[str, Part], list[str]] | None:
    """Splits that are one word of folders' names: of `seg_train` and `seg_test`, or of `trainA`, `trainB` and `testA`,
    where what is left of the name is the class; None: there are none. Raises DataError where that is not clear."""
    tops = dict.fromkeys(one.folders[0] if one.folders else "" for one in placed)
    found = {top: within for top in tops if (within := split_within(top))}
    rests: dict[str, set[str]] = {}
    about = {rest for _, rest in found.values() if ABOUT_THEM.match(rest)}
    about = set() if about == {rest for _, rest in found.values()} else about  # seg_train, seg_test
    for split, rest in found.values():
        if rest not in about:
            rests.setdefault(split, set()).add(rest)
    train = rests.get("train", set())
    held = {rest for split, of in rests.items() if split in HELD_OUT for rest in of}
    if not train or not held:
        return None
    one = len(train | held) == 1
    if not one and not held <= train:
        raise DataError(
            f"{listing.source}: are {listed(sorted(found))} splits? Name the folder that is meant; --set "
            "folders=classes takes each as a class"
        )
    parts: dict[str, list[Placed]] = {}
    left = Counter[str]()
    for file in placed:
        top = file.folders[0] if file.folders else ""
        split, rest = found.get(top, ("", ""))
        if not split or rest in about:
            left[top or "."] += 1
            continue
        parts.setdefault(split, []).append(Placed(file.file, file.folders[1:] if one else (rest, *file.folders[1:])))
    notes = [f"{listed(sorted(found))} are splits" + ("" if one else f" of {listed(sorted(train))}")]
    notes += [f"left out: {count:,} in `{top}`, beside the splits" for top, count in left.items()]
    folders = {
        split: here / next(top for top, of in found.items() if of[0] == split) if one else here for split in parts
    }
    return {split: Part(files, folders[split]) for split, files in parts.items()}, notes


def _require_clear(listing: Listing, named: dict[str, str | None], placed: list[Placed]) -> None:
    """Raises DataError where one folder lies beside one that is called `test`, and either may be a class."""
    others = [top for top, split in named.items() if split is None]
    one_beside = len(named) == 2 and len(others) == 1 and others[0] and not CONTAINERS.match(others[0])
    if one_beside and all(len(one.folders) == 1 for one in placed):
        held = next(top for top in named if top not in others)
        raise DataError(
            f"{listing.source}: is `{held}` a part that is held out or, beside `{others[0]}`, a class? Call the other "
            "train, or take both as classes with --set folders=classes"
        )


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


def _meaning(listing: Listing, train: Part, reading: Reading) -> Meaning:
    """What the folders of a training part mean. Raises DataError where that cannot be known."""
    meaning, files, above = Meaning(notes=list(train.notes)), train.files, train.folder.parts
    while True:
        files, around = _unwrapped(files, within_split=True)
        meaning.steps.append(len(around))
        above = (*above, *around)
        tops = list(dict.fromkeys(one.folders[0] for one in files if one.folders))
        loose = [one.file for one in files if not one.folders]
        if reading.folders in ("none", "names") or not tops:
            if reading.folders not in ("none", "names") and above and not split_of(above[-1]):
                meaning.notes.append(f"no classes: all lie in one folder, `{PurePosixPath(*above)}`")
            return meaning
        if reading.folders == "auto":
            about = [top for top in tops if ABOUT_THEM.match(top)]
            shown = [top for top in tops if PICTURES.match(top)]
            if about and len(about) + len(shown) == len(tops) and (shown or loose):
                meaning.steps.append(OUTER)
                kept = _apply(files, [OUTER])
                meaning.notes.append(
                    f"left out: {len(files) - len(kept):,} in {listed(about)}, which are about the others"
                )
                files = kept
                continue
        if loose:
            beside = f"lies beside class folders such as {tops[0]}; which class is it of? {OTHERWISE}"
            raise DataError(f"{listing.name(loose[0])}: {beside}")
        if reading.folders == "auto":
            told = _kind(listing, files, tops, above)
            deep = all(len(one.folders) > 1 for one in files)
            if told:
                meaning.notes.append(f"{'' if deep else 'no classes: '}{listed(sorted(tops))} are {told}; {OTHERWISE}")
            if told and not deep:
                return meaning
            if told:
                meaning.steps.append(1)
                above = (*above, min(tops))
                files = _apply(files, [1])
                continue
            inner = {one.folders[1] if len(one.folders) > 1 else "" for one in files}
            about = sorted(name for name in inner if ABOUT_THEM.match(name))
            if about and all(name in about or PICTURES.match(name) for name in inner) and len(about) < len(inner):
                meaning.steps.append(INNER)
                kept = _apply(files, [INNER])
                left = len(files) - len(kept)
                meaning.notes.append(f"left out: {left:,} in {listed(about)}, which are about the others")
                files = kept
                continue
            _require_classes(listing, files, sorted(tops))
            if len(tops) >= _SINGLE and len(files) == len(tops):
                meaning.notes.append(f"no classes: each of {len(tops):,} folders holds one; {OTHERWISE}")
                return meaning
        meaning.classes = True
        return meaning


def _kind(listing: Listing, files: Sequence[Placed], tops: Sequence[str], above: Sequence[str]) -> str | None:
    """What folders are that only keep files apart; None: classes. Raises DataError where that cannot be known."""
    try:
        return shards.kind(tops, [(one.folders[0], one.file.name) for one in files], above)
    except shards.UnclearError:
        raise DataError(f"{listing.source}: are {listed(sorted(tops))} shards or classes? {OTHERWISE}") from None


def _require_classes(listing: Listing, files: Sequence[Placed], tops: Sequence[str]) -> None:
    """Raises DataError where folders may be versions of the same pictures, or hold the classes rather than be them."""
    inner: dict[str, set[str]] = {top: set() for top in tops}
    names: dict[str, set[str]] = {top: set() for top in tops}
    for one in files:
        inner[one.folders[0]].add(one.folders[1] if len(one.folders) > 1 else "")
        names[one.folders[0]].add("/".join((*one.folders[1:], one.file.stem)))
    first = tops[0]
    same = len(tops) > 1 and all(inner[top] == inner[first] for top in tops) and "" not in inner[first]
    if same and len(inner[first]) > 1:
        raise DataError(
            f"{listing.source}: are {listed(tops)} the classes, or {listed(sorted(inner[first]))} in each of them? "
            "--set folders=classes takes the first, --set folders=innermost the others; or name one folder"
        )
    # Of trainA and trainB, A and B are what is turned into each other, whatever the pictures are called.
    unpaired = {*tops} == {"A", "B"} and not all(one.folders[0] in one.file.parts for one in files)
    of_same_names = all(len(names[top] & names[first]) * 2 > len(names[first]) for top in tops)
    if are_versions(list(tops)) and of_same_names and not unpaired:
        raise DataError(
            f"{listing.source}: {listed(tops)} hold pictures of the same names: versions of each other? Name the "
            "folder that is meant; --set folders=classes takes each as a class"
        )
    holding = [top for top in tops if CONTAINERS.match(top) and len(inner[top] - {""}) > 1]
    if len(holding) == 1 and all(inner[top] == {""} for top in tops if top not in holding) and len(tops) > 1:
        other = next(top for top in tops if top not in holding)
        raise DataError(
            f"{listing.source}: is `{holding[0]}`, which holds {listed(sorted(inner[holding[0]]))}, a class beside "
            f"`{other}`? Name the folder that is meant; --set folders=classes takes each as a class"
        )


def _apply(files: Sequence[Placed], steps: Sequence[int]) -> list[Placed]:
    """Files with the folders that are left after steps, as `Meaning` has them."""
    for step in steps:
        if step >= 0:
            files = [Placed(one.file, one.folders[step:]) for one in files]
            continue
        at = 0 if step == OUTER else 1
        files = [one for one in files if not any(map(ABOUT_THEM.match, one.folders[at : at + 1]))]
        files = [Placed(one.file, (*one.folders[:at], *one.folders[at + 1 :])) for one in files]
    return list(files)


def _labelled(
    listing: Listing, part: Part, meaning: Meaning, reading: Reading, train: LabelledFiles | None = None
) -> LabelledFiles:
    """The files of a part with their classes, by what the folders of `train` mean (None: it is that itself)."""
    notes = [*meaning.notes] if train is None else []
    files = _apply(part.files, meaning.steps)
    if reading.folders == "names":
        files = [Placed(one.file, (word_of(one.file.stem) or "",)) for one in files]
        nameless = next((one.file for one in files if not one.folders[0]), None)
        if nameless is not None:
            raise DataError(f"{listing.name(nameless)}: no word before a number in its name, which would be its class")
    elif not meaning.classes or not all(one.folders for one in files) or (train and _in_one(files, train)):
        plain = [one.file for one in files]
        return LabelledFiles(listing, part.folder, plain, np.zeros(len(plain), np.int64), [], tuple(notes))
    deeper = {one.folders[0] for one in files if len(one.folders) > 1}
    if reading.folders == "innermost":
        files = [Placed(one.file, one.folders[-1:]) for one in files]
    elif deeper:
        notes.append(
            f"classes are the first folders; those inside them ({listed(sorted(deeper))}) are of one class; "
            "--set folders=innermost takes those"
        )
    # The same classes may be written otherwise in another part.
    known = {} if train is None else {name.casefold(): name for name in train.label_names}
    own = {one.folders[0] for one in files}
    called = {top: top if train is None or top in train.label_names else known.get(top.casefold(), top) for top in own}
    tops = sorted(set(called.values()))
    order = sorted(tops, key=_by_number)
    place = {name: at for at, name in enumerate(order)}
    files = sorted(files, key=lambda one: (place[called[one.folders[0]]], one.file))
    labels = np.array([place[called[one.folders[0]]] for one in files], np.int64)
    counts = np.bincount(labels)
    if len(order) > 1 and (once := [name for name, count in zip(order, counts, strict=True) if count == 1]):
        notes.append(f"of one sample only: {len(once):,} of {len(order):,} classes, such as {listed(once)}")
    if alike := alike_but_for_case(order):
        notes.append(f"classes that differ in case alone are kept apart: {alike}")
    return LabelledFiles(listing, part.folder, [one.file for one in files], labels, order, tuple(notes))


def _in_one(files: Sequence[Placed], train: LabelledFiles) -> bool:
    """Whether files of a held-out part lie in a folder of pictures, or of all, rather than of the classes."""
    tops = {one.folders[0] for one in files}
    return len(tops) == 1 and all(CONTAINERS.match(top) and top not in train.label_names for top in tops)


def hint(found: LabelledFiles) -> str | None:
    """What to say of files without classes whose names may say them: `cat.0`, `dog.0`."""
    words = Counter(word_of(file.stem) for file in found.files)
    if None in words or not 1 < len(words) <= len(found.files) // _FEWEST or min(words.values()) < _FEWEST:
        return None
    shown = [f"{word} {count:,}" for word, count in words.most_common(_FEWEST + 1)]
    more = ", ..." if len(words) > len(shown) else ""
    return f"no classes, though names begin with {', '.join(shown)}{more}: --set folders=names takes these as classes"


def absence(listing: Listing) -> str:
    """What there is instead of what was looked for, and what to do about it."""
    told = listing.instead()
    return (f"; there are {kinds(listing.files)}" if listing.files else "; it is empty") + (f"; {told}" if told else "")


def _by_number(name: str) -> list[tuple[bool, int, str]]:
    """What puts names in order, by the numbers in them where these are what differs: `class 2` before `class 10`."""
    parts = [part for part in re.split(r"(^-?[0-9]+|[0-9]+)", name) if part]
    return [(False, int(part), part) if part.lstrip("-").isdecimal() else (True, 0, part) for part in parts]
