"""Lists and tables that say which split files are of: `train.txt`, `testing_list.txt`, CelebA's partition, Caltech's
`train_test_split.txt`."""

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from latentserve.training.data import lists
from latentserve.training.data.folders import LabelledFiles
from latentserve.training.data.names import HELD_OUT, split_of
from latentserve.training.data.naming import Naming, Table, split_of_list
from latentserve.training.data.shards import listed
from latentserve.training.data.split_columns import first_said

_ENOUGH_LISTED = 0.9  # of the files, that lists of splits must name


def splits(
    found: LabelledFiles, lists_of: Sequence[Table], labels: Table | None
) -> tuple[NDArray[np.str_] | None, list[str]]:
    """The split of each file as lists say it, and what is to be told; what several say, is held out. Where lists say
    what is held out alone, the others are learnt that have `labels`, or all of them (None)."""
    if not lists_of or any(map(split_of, found.folder.parts)):
        return None, []
    splits = np.full(len(found.files), "", "<U9")
    order = ("train", *reversed(HELD_OUT))  # the later goes before
    said: list[tuple[str, Table, NDArray[np.int64]]] = []
    for one in lists_of:
        files = one.files()
        if one.split is not None:
            said.append((one.split, one, files[files >= 0]))
            continue
        found_in = first_said(one.others(), one.file.stem)
        words = np.zeros(len(files), "<U9") if found_in is None else found_in[1]
        said += [(split, one, files[(words == split) & (files >= 0)]) for split in order]
    if not any(of == "train" for of, _, _ in said):
        files = np.arange(len(splits)) if labels is None else labels.files()
        splits[files[files >= 0]] = "train"
    for split in order:
        for of, _, files in said:
            if of == split:
                splits[files] = split
    names = listed(dict.fromkeys(str(one.file) for _, one, files in said if len(files)))
    missing = int((splits == "").sum())
    if missing > (1 - _ENOUGH_LISTED) * len(splits) or "train" not in splits:
        return None, [f"left out: {names}, which say the split of {len(splits) - missing:,} of {len(splits):,} alone"]
    return splits, [f"splits are those of {names}", *([f"left out: {missing:,} of no split"] if missing else [])]


def by_number(found: LabelledFiles, naming: Naming) -> list[Table]:
    """The split of files as Caltech's birds have it: `images.txt` numbers them, `train_test_split.txt` says of each
    number whether it is learnt."""
    said = {file.name: file for file in found.listing.files if file.name in ("images.txt", "train_test_split.txt")}
    if len(said) < 2:
        return []
    rows: list[list[list[str]]] = []
    for name in ("images.txt", "train_test_split.txt"):
        with found.listing.open(said[name]) as file:
            rows.append([line.split() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()])
    try:
        learnt = {number: int(flag) for number, flag in rows[1]}
        lines = [f"{name} {'train' if learnt[number] else 'test'}" for number, name in rows[0]]
    except (ValueError, KeyError):
        return []
    read = lists.of_text("\n".join(lines), naming.names)
    return [] if read is None else [Table.of(read, said["train_test_split.txt"], naming)]


def of_another_split(file: PurePosixPath, found: LabelledFiles) -> bool:
    """Whether a table is of a split that the files are not of, by its own name or the folder that it lies in."""
    own = next(filter(None, map(split_of, found.folder.parts)), None)
    if own is not None and split_of_list(file) not in (None, own):
        return True
    apart = [PurePosixPath(*file.parts[: at + 1]) for at, part in enumerate(file.parts[:-1]) if split_of(part)]
    return any(map(split_of, found.folder.parts)) and any(not found.folder.is_relative_to(folder) for folder in apart)
