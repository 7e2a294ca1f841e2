"""Samples as an `.npz` file, which `numpy.load` reads: an array of the rows, and beside it what is known of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding import arrays
from latentserve.service.encoding.archive import STORED, Archive, member
from latentserve.service.encoding.document import HEAD_BYTES, NPY, NPZ, Document, Piece
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Rows
from latentserve.service.encoding.sink import Sink

_FACT_BYTES = 16  # of a row: its number, and its label


class Npz(Document):
    """`samples` [n, *shape]; `rows` int64 [n], each one's number in its seed; and where the model has them `labels`
    int64 [n], indices, and `conditions` float32 [n, k], in the order of the manifest. The mark is the archive's
    comment."""

    headers = ((b"content-type", NPZ.encode()),)
    has_room = True

    def __init__(self, n: int, spec: SampleSpec, provenance: Provenance, dtype: arrays.Dtype) -> None:
        self._n = n
        self._provenance = provenance
        self._row = 0
        self._numbers: list[NDArray[np.int64]] = []
        self._labels: list[NDArray[np.int64]] = []
        self._conditions: list[NDArray[np.float32]] = []
        self._sink = Sink()
        self._zip = Archive(self._sink, "w")
        self._values = arrays.Values(NPY, n, spec, dtype)
        self.held = n * (_FACT_BYTES + 4 * len(provenance.conditions))
        self.size = HEAD_BYTES + self._values.size + self.held

    def opening(self) -> bytes:
        """The beginning of the samples' member."""
        info = member("samples.npy", STORED)
        info.file_size = self._values.size  # as it is known: there are two forms of what precedes a member
        self._member: IO[bytes] = self._zip.open(info, "w")
        self._member.write(self._values.opening())
        return self._sink.taken()

    def rows(self, part: Rows) -> Iterator[Piece]:
        """The values."""
        first, self._row = self._row, self._row + len(part.samples)
        self._numbers.append(self._provenance.numbers(part, first))
        if part.labels is not None:
            self._labels.append(part.labels)
        if part.conditions is not None:
            self._conditions.append(part.conditions)
        for piece in self._values.rows(part):
            self._member.write(piece)
            yield self._sink.taken()

    def closing(self) -> Iterator[Piece]:
        """What is known of each row, and the list of members."""
        self._member.close()
        for name, found in (("rows", self._numbers), ("labels", self._labels), ("conditions", self._conditions)):
            if found:
                with self._zip.open(member(f"{name}.npy", STORED), "w") as inner:
                    np.lib.format.write_array(inner, np.concatenate(found), allow_pickle=False)
                yield self._sink.taken()
        self._zip.comment = self._provenance.mark_text(self._n, short=True).encode()
        self._zip.close()
        yield self._sink.taken()
