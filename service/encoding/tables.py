"""Table samples as rows: values of the columns' own types, as JSON and CSV have them; and the CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import SampleSpec, plain, typed
from latentserve.service.encoding.document import HEAD_BYTES, NUMBER_BYTES, Document, Headers, Piece
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Rows

_FORM_BYTES = 192  # of a value that is written in a form, at the most


def rows(samples: NDArray[np.float32], spec: SampleSpec) -> Iterable[tuple[Any, ...]]:
    """Rows of Python values, missing ones None, from samples float32 [n, columns]."""
    columns = spec.columns or []
    return zip(*(plain(typed(samples[:, at], column)) for at, column in enumerate(columns)), strict=True)


def csv_lines(lines: Iterable[Iterable[Any]]) -> bytes:
    """Lines of a CSV file (RFC 4180, UTF-8); a missing value is an empty field."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(lines)
    return buffer.getvalue().encode()


def row_bytes(spec: SampleSpec) -> int:
    """Of a row as text, at the most."""
    longest = [max((len(str(one)) for one in column.categories or ()), default=0) for column in spec.columns or ()]
    written = sum(_FORM_BYTES for column in spec.columns or () if column.form is not None)
    return written + sum(max(NUMBER_BYTES, 4 * length) for length in longest)


class Address:
    """Columns that tell what is known of each row of a table, beside its own: `$seed` and `$row` (int64), `$label`
    (text), `$condition.NAME` (float32), `$score` (float32).

    Attributes:
        names: of the columns.
        types: as Arrow calls them.
    """

    def __init__(self, provenance: Provenance) -> None:
        self._provenance = provenance
        told = [("$row", "int64")]
        if provenance.told_seed is not None:
            told.insert(0, ("$seed", "int64"))
        if provenance.labels:
            told.append(("$label", "string"))
        told += [(f"$condition.{name}", "float32") for name in provenance.conditions]
        if provenance.scored:
            told.append(("$score", "float32"))
        self.names: Sequence[str] = [name for name, _ in told]
        self.types: Sequence[str] = [kind for _, kind in told]

    def columns(self, part: Rows, first: int) -> list[NDArray[Any] | list[str]]:
        """Their values; the answer's row `first` is the part's first."""
        provenance = self._provenance
        values: list[NDArray[Any] | list[str]] = [provenance.numbers(part, first)]
        if (seed := provenance.told_seed) is not None:
            values.insert(0, np.full(len(part.samples), seed))
        if provenance.labels:
            values.append(provenance.label_names(part))
        if part.conditions is not None:
            values += list(part.conditions.T)
        if part.scores is not None:
            values.append(part.scores)
        return values


class Csv(Document):
    """A line of the columns' names, then a line for each row of a table, with columns of its address where there are
    such."""

    headers: Headers = ((b"content-type", b"text/csv; charset=utf-8; header=present"),)
    text = True

    def __init__(
        self, n: int, spec: SampleSpec, address: Address | None = None, provenance: Provenance | None = None
    ) -> None:
        """With `provenance`, the headers hold the mark."""
        if provenance is not None:
            self.headers = (*self.headers, provenance.header(n))
        self._spec = spec
        self._address = address
        self._row = 0
        self.has_room = address is not None
        self.size = HEAD_BYTES + n * (row_bytes(spec) + len(address.names if address else ()) * NUMBER_BYTES)

    def opening(self) -> bytes:
        """The names."""
        names = [column.name for column in self._spec.columns or []]
        return csv_lines([[*names, *(self._address.names if self._address else ())]])

    def rows(self, part: Rows) -> Iterator[Piece]:
        """The lines."""
        for some in part.in_parts():
            lines = rows(cast("NDArray[np.float32]", some.samples), self._spec)
            if self._address is not None:
                told = [plain(np.asarray(column)) for column in self._address.columns(some, self._row)]
                lines = ((*line, *address) for line, address in zip(lines, zip(*told, strict=True), strict=True))
            self._row += len(some.samples)
            yield csv_lines(lines)
