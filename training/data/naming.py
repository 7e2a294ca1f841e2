"""How tables and lists name the files that they are about."""

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from latentserve.training.data import lists, table_files
from latentserve.training.data.columns import Distinct, Read
from latentserve.training.data.folders import LabelledFiles
from latentserve.training.data.names import split_of, split_within
from latentserve.training.data.split_columns import splits_said

LABELS = (
    "label", "labels", "class", "class_name", "classname", "category", "target", "y", "breed", "species", "kind",
    "class_id", "classid", "label_id", "category_id",
)  # fmt: skip
_FILES = ("file_name", "filename", "file", "path", "filepath", "image", "image_id", "imageid", "img", "id", "name")
_CALLED_FILES = re.compile(
    r"(?:files?|names?|images?|imgs?|pic(?:ture)?s?|photos?|paths?|(?<![a-z])ids?|Ids?|ID|no|number|index|idx|key|uuid)\Z",
    re.IGNORECASE,
)
_LABELLING = re.compile(r"label|attr|class|meta|annot|train", re.IGNORECASE)
_LISTS = (
    "", "val", "val_list", "list", "lists", "files", "images", "set", "split", "ids", "names", "filelist", "file_list",
)  # fmt: skip
_FEW_REPEAT = 0.1  # share of files with several rows, up to which these are mistakes
_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".wav", ".flac", ".mp3", ".ogg")


class Naming:
    """What files may be called in a table: by their path or the end of it, with their ending, without, or with another
    one, in any case; by a number without its zeros. What several are called is none's."""

    def __init__(self, found: LabelledFiles) -> None:
        self._found = found.files
        counts = [Counter[str]() for _ in range(2)]
        keys: list[dict[str, int]] = [{}, {}]
        for place, file in enumerate(found.files):
            parts = [part.casefold() for part in file.parts]
            ends = ["/".join(parts[at:]) for at in range(len(parts))]
            bare = {end.removesuffix(file.suffix.casefold()) for end in ends}
            bare |= {str(int(one)) for one in bare if one.isascii() and one.isdecimal()}
            for at, said in enumerate((set(ends), bare)):
                counts[at].update(said)
                keys[at] |= dict.fromkeys(said, place)
        self._whole, self._bare = (
            {key: at for key, at in of.items() if n[key] == 1} for of, n in zip(keys, counts, strict=True)
        )
        self.stems = {file.stem for file in found.files}
        self.count = max(1, len(found.files))

    def place(self, value: object, bare: bool) -> int | None:
        """Whose name a value is; None: of none, or several. `bare`: it may lack the ending."""
        text = plainly(value)
        parts = text.split("/")
        ends = ["/".join(parts[at:]) for at in range(len(parts))]
        whole = next((self._whole[end] for end in ends if end in self._whole), None)
        if whole is not None:
            own = {part.casefold() for part in self._found[whole].parts}
            return None if any(split_of(part) and part not in own for part in parts) else whole
        if text.endswith(_ENDINGS):
            return next((self._bare[end] for one in ends if (end := one.rpartition(".")[0]) in self._bare), None)
        return next((self._bare[end] for end in ends if end in self._bare), None) if bare else None

    def is_file(self, text: str) -> bool:
        """Whether a text with an ending names one of the files."""
        return "." in text and self.place(text, bare=False) is not None

    def names(self, text: str) -> bool:
        """Whether a text names one of the files, with or without its ending, and is more than a number; 0012 is."""
        return self.place(text, bare=not text.isdecimal() or (text[:1] == "0" and len(text) > 1)) is not None


@dataclass(frozen=True, eq=False)
class Table:
    """A table, or a list, and how it names files.

    Attributes:
        file: it.
        read: its columns.
        column: which of them names files.
        places: of each of its values the file's place, or None.
        share: of the files that it names.
    """

    file: PurePosixPath
    read: Read
    column: int
    places: list[int | None]
    share: float

    @classmethod
    def of(cls, read: Read, file: PurePosixPath, naming: Naming) -> "Table":
        """With the column that names the largest share of the files. Numbers do so only where they are called so: what
        counts epochs, or years of age, names no pictures."""
        best = cls(file, read, 0, [], 0.0)
        for at, column in enumerate(read.columns):
            if column.type not in ("string", "int64") or (column.type == "string" and column.form is not None):
                continue
            numbers = all(value is None or str(value).isdecimal() for value in column.values)
            bare = not numbers or bool(_CALLED_FILES.search(column.name)) or not column.name
            places = [None if value is None else naming.place(value, bare) for value in column.values]
            share = len({place for place in places if place is not None}) / naming.count
            if share > best.share:
                best = cls(file, read, at, places, share)
        return best

    @property
    def of_tables(self) -> bool:
        """Whether it is a table by its ending."""
        return self.file.name.lower().endswith(table_files.BESIDE)

    @property
    def is_about_files(self) -> bool:
        """Whether it names enough of the files: lists more than tables, that mean what they say."""
        called = self.of_tables and self.read.columns[self.column].name.lower() in _FILES
        return self.share > 0 and (self.share >= (0.5 if self.of_tables else 0.9) or called or self.is_partition)

    @property
    def split(self) -> str | None:
        """The split that all of its files are of, as its own name says."""
        return split_of_list(self.file)

    @property
    def is_partition(self) -> bool:
        """Whether it says nothing but splits."""
        others = self.others()
        return (self.split is not None and not others) or (
            len(others) == 1 and splits_said(others[0], self.file.stem) is not None
        )

    @property
    def rank(self) -> int:
        """How likely it is the one that labels the files, of several that name as many."""
        known = {column.name.lower() for column in self.others() if self.file.suffix not in lists.TEXTS}
        return 2 * bool(known & set(LABELS)) + bool(_LABELLING.search(self.file.stem))

    @property
    def repeats(self) -> bool:
        """Whether many of the files have several rows that differ, as in tables of boxes or captions."""
        files = self.files()
        rows = np.stack([files, *(column.places for column in self.others())], axis=1)[files >= 0]
        different = np.unique(rows, axis=0)[:, 0]
        _, counts = np.unique(different, return_counts=True)
        return bool((counts > 1).sum() > _FEW_REPEAT * len(counts))

    def followed_by(self, other: "Table") -> "Table":
        """The rows of both, whose columns have the same names."""
        columns = []
        for one, two in zip(self.read.columns, other.read.columns, strict=True):
            known = {(type(value), value): at for at, value in enumerate(one.values)}
            onto = [known.setdefault((type(value), value), len(known)) for value in two.values]
            places = np.concatenate([one.places, np.array(onto, np.int64)[two.places]])
            columns.append(replace(one, values=[value for _, value in known], places=places))
        values = columns[self.column].values
        of = dict(zip(self.read.columns[self.column].values, self.places, strict=True))
        of |= dict(zip(other.read.columns[other.column].values, other.places, strict=True))
        read = Read(columns, tuple(dict.fromkeys([*self.read.notes, *other.read.notes])))
        return replace(self, read=read, places=[of[value] for value in values], share=self.share + other.share)

    def others(self) -> list[Distinct]:
        """The columns that do not name files."""
        return [column for at, column in enumerate(self.read.columns) if at != self.column]

    def files(self) -> NDArray[np.int64]:
        """The place of each row's file, int64 [rows]; -1: it names none."""
        places = np.array([-1 if place is None else place for place in self.places], np.int64)
        return places[self.read.columns[self.column].places]


def split_of_list(file: PurePosixPath) -> str | None:
    """The split that a list's name says of all that is in it: `test.csv`, `train_list.txt`."""
    within = split_within(file.stem)  # of train_test_split.txt, and its kind, none is meant
    return within[0] if within and within[1].lower() in _LISTS else None


def plainly(value: object) -> str:
    return str(value).strip().replace("\\", "/").removeprefix("./").casefold()
