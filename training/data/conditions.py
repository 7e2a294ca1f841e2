"""What samples are made for: numbers beside them, such as an energy or an angle, in a table `conditions.csv`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Condition
from latentserve.service.sampling.latents import condition_at
from latentserve.training.data.lines import NUMBER, Open, csv_lines
from latentserve.training.data.listing import Listing
from latentserve.training.data.names import split_of
from latentserve.training.errors import DataError

FILE = "conditions.csv"
MOST = 64
QUANTILES = 65

_HEADER = re.compile(r"([^\[\]]*?)\s*(?:\[([^\[\]]+)\])?\Z")  # energy [GeV]
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")  # as the manifest has it
_LONGEST_UNIT = 32
LARGEST, LEAST_RANGE = 1e37, 1e-30  # float32 holds any difference of numbers, and its inverse
_SAMPLES = "file"  # the column that names each row's sample


@dataclass(frozen=True)
class Conditions:
    """The numbers of all samples.

    Attributes:
        values: float32 [N, k], finite.
        names: k different ones, as clients will say them.
        units: of each; None: none is known.
    """

    values: NDArray[np.float32]
    names: list[str]
    units: list[str | None]

    def take(self, rows: NDArray[np.int64]) -> "Conditions":
        """Those of some samples."""
        return Conditions(self.values[rows], self.names, self.units)

    def in_order(self, names: Sequence[str]) -> "Conditions":
        """The same columns, in the order of their names."""
        columns = [self.names.index(name) for name in names]
        return Conditions(self.values[:, columns], list(names), [self.units[column] for column in columns])

    @property
    def sentence(self) -> str:
        """Each with its range, for a reader."""
        return ", ".join(
            f"{name} from {column.min():g} to {column.max():g}" + (f" {unit}" if unit else "")
            for name, unit, column in zip(self.names, self.units, self.values.T, strict=True)
        )

    def described(self) -> list[Condition]:
        """As the manifest has them: each between its least and its largest value, drawn as it is distributed here."""
        return [
            Condition(name=name, unit=unit, range=(known[0], known[-1]), prior="quantiles", quantiles=known)
            for name, unit, known in zip(self.names, self.units, map(quantiles, self.values.T), strict=True)
        ]

    def content(self) -> bytes:
        """What they are, for a digest."""
        return repr((self.names, self.units)).encode() + np.ascontiguousarray(self.values, dtype="<f4").tobytes()


def quantiles(values: NDArray[np.float32]) -> list[float]:
    """Values [N] at QUANTILES equal steps of probability, from the least to the largest: float32 numbers, ascending."""
    steps = np.quantile(values.astype(np.float64), np.linspace(0, 1, QUANTILES))
    return np.maximum.accumulate(steps).astype(np.float32).astype(np.float64).tolist()


def ranks(values: NDArray[np.float32], known: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Which share of the data lies below each of the values [N, k], float64, by the `quantiles` of each column."""
    steps = np.linspace(0, 1, QUANTILES)
    columns = [np.interp(column, of_it, steps) for column, of_it in zip(values.T, known, strict=True)]
    return np.stack(columns, axis=1)


def along(conditions: Sequence[Condition], steps: int) -> NDArray[np.float32]:
    """For each condition so many values of all of them, float32 [k, steps, k]: it goes from its least to its largest
    value by equal steps of probability, the others stay in their middle."""
    places = np.full((len(conditions), steps, len(conditions)), 0.5)
    for place in range(len(conditions)):
        places[place, :, place] = np.linspace(0, 1, steps)
    columns = [condition_at(condition, places[:, :, place]) for place, condition in enumerate(conditions)]
    return np.stack(columns, axis=2)


def beside_rows(folder: Path, count: int, what: str) -> Conditions | None:
    """Those that a folder holds for `count` samples that have no names: a row each, in order; None where it holds none.

    Raises DataError naming file, row and column.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    names, units, files, _, values = _read(path)
    if files is not None:
        raise DataError(f"{path}: column `{_SAMPLES}`: {what} has no files to be named; its rows are in order")
    if len(values) != count:
        raise DataError(f"{path}: {len(values):,} rows; {what} has {count:,} samples")
    return _varied(path, Conditions(values, names, units))


def beside_files(
    listing: Listing, folder: PurePosixPath, files: Sequence[PurePosixPath], what: str
) -> Conditions | None:
    """Those that the folder of a split holds for files in it, in the files' order, whatever that of the rows is; None
    where it holds none.

    Raises DataError naming file, row and column.
    """
    there = [file for file in listing.files if file.name == FILE]
    stray = next((file for file in there if folder in file.parent.parents), None)
    if stray is not None:
        belongs = f"belongs into {listing.name(folder)}, with the files of all classes in it"
        raise DataError(f"{listing.name(stray)}: {belongs}")
    above = [file for file in there if folder.is_relative_to(file.parent)]
    if not above:
        return None
    of_split = any(map(split_of, folder.parts))
    outside = next((file for file in above if of_split and file.parent != folder), None)
    if outside is not None:
        raise DataError(f"{listing.name(outside)}: of which samples? Each of the folders beside it has its own")
    at = max(above, key=lambda file: len(file.parts))
    path = Path(listing.name(at))
    names, units, named, lines, values = _read(path, lambda: listing.open(at))
    if named is None:
        raise DataError(f"{path}: its first column must be `{_SAMPLES}`, and name each of the {what}")
    places = {file.relative_to(at.parent).as_posix(): place for place, file in enumerate(files)}
    row_of = np.full(len(files), -1, np.int64)
    for row, (line, name) in enumerate(zip(lines, named, strict=True)):
        place = places.get(PurePosixPath(name).as_posix())
        if place is None:
            raise DataError(
                f"{path}: line {line}, column `{_SAMPLES}`: `{name}` is none of the {what} in {path.parent}"
            )
        if row_of[place] >= 0:
            raise DataError(
                f"{path}: line {line}, column `{_SAMPLES}`: `{name}` has a row already, on line {lines[row_of[place]]}"
            )
        row_of[place] = row
    missing = np.flatnonzero(row_of < 0)
    if len(missing):
        raise DataError(f"{path}: no row for {files[missing[0]].relative_to(at.parent).as_posix()}")
    return _varied(path, Conditions(values[row_of], names, units))


def _varied(path: Path, conditions: Conditions) -> Conditions:
    """The same, if there is something to learn of each. Raises DataError."""
    for name, column in zip(conditions.names, conditions.values.T, strict=True):
        if len(column) > 1 and np.ptp(column) < LEAST_RANGE:
            raise DataError(f"{path}: column `{name}` is {column[0]:g} in every row: nothing can be learnt of it")
    return conditions


def _read(
    path: Path, source: Open | None = None
) -> tuple[list[str], list[str | None], list[str] | None, list[int], NDArray[np.float32]]:
    """Names, units, what the column `file` says if there is one, the line of each row, and the numbers [rows, k]."""
    lines = csv_lines(path, None, source)
    _, header = next(lines)
    if header[0] == _SAMPLES:
        header = header[1:]
        named: list[str] | None = []
    else:
        named = None
    names, units = _columns(path, header)
    numbers: list[int] = []
    rows: list[list[float]] = []
    for number, fields in lines:
        if named is not None:
            named.append(fields[0])
            fields = fields[1:]
        rows.append(
            [_number(text, f"{path}: line {number}, column `{name}`") for name, text in zip(names, fields, strict=True)]
        )
        numbers.append(number)
    if not rows:
        raise DataError(f"{path}: no rows")
    return names, units, named, numbers, np.array(rows, np.float32)


def _columns(path: Path, header: Sequence[str]) -> tuple[list[str], list[str | None]]:
    """Names and units of a header without `file`."""
    if not header:
        raise DataError(f"{path}: no column beside `{_SAMPLES}`")
    if len(header) > MOST:
        raise DataError(f"{path}: {len(header)} columns; {MOST} can be learnt at most")
    names: list[str] = []
    units: list[str | None] = []
    for text in header:
        parts = _HEADER.match(text)
        name, unit = (text, None) if parts is None else (parts[1], parts[2] and parts[2].strip())
        if not NAME.match(name):
            raise DataError(
                f"{path}: column `{text}`: a name is a letter or _, then letters, digits, _ . and -, 64 at most, and "
                "may have a unit, as in `energy [GeV]`"
            )
        if name == _SAMPLES:
            raise DataError(f"{path}: column `{_SAMPLES}`: must be the first")
        if name in names:
            raise DataError(f"{path}: two columns are named `{name}`")
        if unit is not None and not 0 < len(unit) <= _LONGEST_UNIT:
            raise DataError(f"{path}: column `{name}`: a unit has 1 to {_LONGEST_UNIT} characters")
        names.append(name)
        units.append(unit)
    return names, units


def _number(text: str, where: str) -> float:
    if not text:
        raise DataError(f"{where} is empty; each sample needs a number")
    value = float(text) if NUMBER.match(text) else np.nan
    if not abs(value) <= LARGEST:
        raise DataError(f"{where}: `{text[:40]}` is no number between -{LARGEST:g} and {LARGEST:g}")
    return value
