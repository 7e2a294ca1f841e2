"""The names that say which part of a data set a folder or a file is."""

import re

UNLABELED = "unlabeled"
HELD_OUT = ("test", "val")  # in the order of preference

_OF = r"(?:[-_ ]?(?:set|data|dataset|split|images|imgs|pictures|photos))?(?:[-_ ]?\d{1,4})?\Z"  # val2017
_SPLITS = {
    "train": re.compile(r"(?:train|training|trn)" + _OF, re.IGNORECASE),
    "val": re.compile(r"(?:val|valid|validation|dev|eval)" + _OF, re.IGNORECASE),
    "test": re.compile(r"(?:test|testing|tst)" + _OF, re.IGNORECASE),
    UNLABELED: re.compile(r"(?:unlabell?ed|unsup|unsupervised)" + _OF, re.IGNORECASE),
}


def split_of(name: str) -> str | None:
    """The split that a folder's or a file's name says: `train`, `val`, `test` or `unlabeled`; None: it says none."""
    return next((split for split, pattern in _SPLITS.items() if pattern.match(name)), None)
