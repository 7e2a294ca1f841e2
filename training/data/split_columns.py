"""Columns that say which part of a data set each row is of: `split`, `Usage`, `is_train`, CelebA's 0, 1 and 2."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from latentserve.training.data.columns import Distinct, Read
from latentserve.training.data.names import split_of, split_within

_CALLED = re.compile(r"split|partition|subset|usage", re.IGNORECASE)
_NUMBERED = re.compile(r"(?:data[-_ ]?)?(?:split|partition)\Z", re.IGNORECASE)
_FLAG = re.compile(r"is[-_ ]?(\w+)\Z", re.IGNORECASE)
_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_NUMBERS = {"0": "train", "1": "val", "2": "test"}  # as CelebA has them
_MOST = 5  # words for splits


def splits_said(column: Distinct, stem: str = "") -> NDArray[np.str_] | None:
    """The split that each of a column's values says, "" where it is missing; None where they say none.

    Whatever it is called, a column does so by the words `train` and `test`; one that is called a split or a partition,
    or whose file `stem` is, by 0, 1 and 2, too, `Usage` by `PublicTest`; `is_train` by true and false.
    """
    known = [None if value is None else str(value) for value in column.values]
    present = {text for text in known if text is not None}
    if column.form is not None or not 0 < len(present) <= _MOST:
        return None
    flag = _FLAG.match(column.name)
    own = split_of(flag[1]) if flag else None
    called = bool(_CALLED.search(column.name) or _CALLED.search(stem))
    said: dict[str, str | None]
    if own is not None and all(text.lower() in _FLAGS for text in present):
        other = "test" if own == "train" else "train"
        said = {text: own if _FLAGS[text.lower()] else other for text in present}
    elif (_NUMBERED.match(column.name) or _CALLED.search(stem)) and "0" in present and present <= _NUMBERS.keys():
        said = {text: _NUMBERS[text] for text in present}
    else:
        said = {text: split_of(text) or ((split_within(text) or (None,))[0] if called else None) for text in present}
        if len(present) < 2 or None in said.values() or "train" not in said.values():
            return None
    return np.array(["" if text is None else said[text] for text in known], "<U9")


def first_said(columns: Sequence[Distinct], stem: str = "") -> tuple[Distinct, NDArray[np.str_]] | None:
    """The first of some columns that says splits, and the split of each row; None: none does."""
    found = ((column, splits_said(column, stem)) for column in columns)
    return next(((column, said[column.places]) for column, said in found if said is not None), None)


def by_split(read: Read) -> dict[str, Read]:
    """The parts of a table one of whose columns says of each row which part it is of; of others all is to train on."""
    for column in read.columns:
        said = splits_said(column)
        if said is None or "train" not in said or len(set(said) - {""}) < 2:
            continue
        of_rows = said[column.places]
        rest = [one for one in read.columns if one is not column]
        counts = ", ".join(f"{part or 'neither'} {int((of_rows == part).sum()):,}" for part in dict.fromkeys(said))
        notes = (*read.notes, f"`{column.name}` says which rows are held out: {counts}")
        return {
            str(part): Read([one.only(np.flatnonzero(of_rows == part)) for one in rest], notes)
            for part in set(said) - {""}
        }
    return {"train": read}
