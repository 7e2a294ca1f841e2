"""Samples as a ZIP archive: pictures as PNG files and sounds as WAV files, a table as CSV, arrays as one `.npy` file.

`about.json` tells what is the same of all rows, `metadata.jsonl` what is known of each, with its `file_name` where it
has a file of its own: what the readers of image and audio folders of the `datasets` package look for. Where it is to be
signed each picture and sound is, and of the one file there is the manifest beside it, `samples.c2pa`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import IO, Any, cast
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import orjson
from numpy.typing import NDArray

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding import arrays, audio, images
from latentserve.service.encoding.document import CSV, HEAD_BYTES, NPY, PNG, WAV, ZIP, Document, Piece
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Rows, SampleArray, in_parts
from latentserve.service.encoding.signed import Signer, require_room
from latentserve.service.encoding.sink import Sink
from latentserve.service.encoding.tables import Csv
from latentserve.service.errors import TooLargeError

_MOST_MEMBERS = (1 << 16) - 1  # without an extension of the format that not every reader has
_OWN_MEMBERS = 2
_MEMBER_BYTES = 640  # of memory, for what the list at the end says of it
_LISTED_BYTES = 256  # of the archive, for its name and what precedes it
MANIFEST = "samples.c2pa"  # of the one file
STORED, FAST = 0, 1  # levels of compression: pictures are compressed already, random numbers cannot be
_METADATA_ROWS = 1024  # that are written at a time
_NOTHING = np.zeros(0, np.float32)


class Zip(Document):
    """An archive, written member after member."""

    headers = ((b"content-type", ZIP.encode()),)
    has_room = True

    def __init__(
        self,
        n: int,
        spec: SampleSpec,
        provenance: Provenance,
        dtype: arrays.Dtype,
        signer: Signer | None = None,
    ) -> None:
        self._n = n
        self._spec = spec
        self._provenance = provenance
        self._row = 0
        self._told: list[tuple[Rows, int]] = []  # without the samples, and the number of each one's first
        self._sink = Sink()
        self._zip = Archive(self._sink, "w")
        self._suffix = file_suffix(spec)
        self._inner: Document | None = None  # of the one file that holds all rows
        self._member: IO[bytes] | None = None  # which is being written
        self._signer = signer
        self._kept: list[bytes] = []  # of that file, where it is to be signed
        members = n if self._suffix is not None else 1
        if members > _MOST_MEMBERS - _OWN_MEMBERS:
            most = _MOST_MEMBERS - _OWN_MEMBERS
            raise TooLargeError(f"n: {n} files were asked for; a ZIP archive holds {most} of them")
        if self._suffix is None:
            self._inner = Csv(n, spec) if spec.kind == "table" else arrays.Values(NPY, n, spec, dtype)
        size = n * (_file_bytes(spec)) if self._inner is None else self._inner.size
        self.size = (
            HEAD_BYTES
            + size
            + n * provenance.facts_bytes
            + provenance.rows_mark_bytes(n)
            + _LISTED_BYTES * (members + _OWN_MEMBERS)
        )
        self.held = members * _MEMBER_BYTES + n * (16 + 4 * len(provenance.conditions))
        if signer is not None:
            if self._inner is not None:
                require_room(self._inner.size)
                self.held += 2 * self._inner.size
            self.size += members * (signer.size + provenance.mark_bytes) + provenance.rows_mark_bytes(n)

    def opening(self) -> bytes:
        """What is said of all rows; the beginning of the one file, where they have one."""
        with self._zip.open(member("about.json", FAST), "w") as file:
            file.write(orjson.dumps(self._provenance.mark(self._n), option=orjson.OPT_APPEND_NEWLINE))
        if self._inner is not None:
            table = self._spec.kind == "table"
            info = member("samples.csv" if table else "samples.npy", FAST if table else STORED)
            info.file_size = self._inner.size  # as it is known: there are two forms of what precedes a member
            self._member = self._zip.open(info, "w")
            self._put(self._inner.opening())
        return self._sink.taken()

    def rows(self, part: Rows) -> Iterator[Piece]:
        """The files of the rows, or the rows of the file."""
        first, self._row = self._row, self._row + len(part.samples)
        self._told.append((part._replace(samples=_NOTHING, numbers=self._provenance.numbers(part, first)), first))
        if self._member is None:
            yield from self._files(part, first)
            return
        for some in in_parts(part.samples):
            for piece in cast("Document", self._inner).rows(Rows(some)):
                self._put(piece)
                yield self._sink.taken()

    def _put(self, piece: Piece) -> None:
        """The next bytes of the one file."""
        cast("IO[bytes]", self._member).write(piece)
        if self._signer is not None:
            self._kept.append(bytes(piece))

    def _files(self, part: Rows, first: int) -> Iterator[bytes]:
        row = 0
        for some in in_parts(part.samples):
            for value in file_values(some, self._spec):
                provenance = self._provenance.of(part, row, first)
                with self._zip.open(member(self._name(provenance.offset), STORED), "w") as file:
                    for piece in self._row_file(value, provenance):
                        file.write(piece)
                        yield self._sink.taken()
                yield self._sink.taken()
                row += 1

    def _row_file(self, value: NDArray[Any], provenance: Provenance) -> Iterator[bytes]:
        if self._signer is None:
            yield from row_file(value, self._spec, provenance)
            return
        content = b"".join(row_file(value, self._spec, provenance))
        yield b""  # signing takes a turn of its own
        yield self._signer.sign(content, PNG if self._spec.kind == "image" else WAV, provenance.mark(1))

    def closing(self) -> Iterator[Piece]:
        """What is known of each row, and the list of members."""
        if self._member is not None:
            self._member.close()
            if self._signer is not None:
                content, media = b"".join(self._kept), CSV if self._spec.kind == "table" else NPY
                self._kept.clear()
                manifest = self._signer.beside(content, media, self._of_all().mark(self._n))
                with self._zip.open(member(MANIFEST, STORED), "w") as file:
                    file.write(manifest)
                yield self._sink.taken()
        with self._zip.open(member("metadata.jsonl", FAST), "w") as file:
            for part, first in self._told:
                lines = self._provenance.facts(part, first)
                if self._suffix is not None:
                    lines = [{"file_name": self._name(line["row"]), **line} for line in lines]
                for line in lines:
                    file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
                yield self._sink.taken()
        self._zip.close()
        yield self._sink.taken()

    def _of_all(self) -> Provenance:
        """With what is known of the rows by now."""
        if not self._provenance.chosen and self._n > 1:
            return self._provenance
        part = Rows.join([told for told, _ in self._told])._replace(samples=np.empty((self._n, 0), np.float32))
        return self._provenance.knowing(part, self._n)

    def _name(self, row: int) -> str:
        return f"{row:06}{self._suffix}"


class Archive(ZipFile):
    """A file of members; one that is given up is not ended."""

    def __del__(self) -> None:
        pass


def member(name: str, level: int) -> ZipInfo:
    """What is to be said of a member. Readers that do not look at the end first want all of them deflated."""
    info = ZipInfo(name)
    info.compress_type = ZIP_DEFLATED
    info._compresslevel = level  # type: ignore[attr-defined]
    info.external_attr = 0o644 << 16
    return info


def file_suffix(spec: SampleSpec) -> str | None:
    """Of the file that one row is: a picture, or a sound; None: rows of this kind have none of their own."""
    return ".png" if spec.kind == "image" else ".wav" if audio.is_wav(spec) else None


def file_values(samples: SampleArray, spec: SampleSpec) -> SampleArray:
    """Samples [n, *shape] as `row_file` takes them, one at a time."""
    return samples if spec.kind == "audio" else images.pixels(samples, spec)


def row_file(value: NDArray[Any], spec: SampleSpec, provenance: Provenance) -> Iterator[bytes]:
    """The file of one row, in pieces."""
    if spec.kind == "image":
        return images.png(value, provenance)
    return iter((audio.wav_header(1, spec, provenance), audio.pcm(value[None], spec)))


def _file_bytes(spec: SampleSpec) -> int:
    """Of one row's file, at the most."""
    width = math.prod(spec.shape)
    return HEAD_BYTES + (audio.data_bytes(1, spec) if spec.kind == "audio" else width + spec.shape[1])
