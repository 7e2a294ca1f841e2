"""Rows to the files of a shard. What a row's bytes are is written elsewhere, once for all: `service/encoding/`."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import Any

import orjson

from latentserve.service.bulk.job import Form, Job, Shard
from latentserve.service.bundle import Manifest
from latentserve.service.encoding.archive import file_suffix, file_values, row_file
from latentserve.service.encoding.arrays import npy_header, raw
from latentserve.service.encoding.document import NPZ, PARQUET
from latentserve.service.encoding.documents import make_document, media_types
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Rows
from latentserve.service.errors import LatentserveError

METADATA = "metadata.jsonl"

_MEDIA = {"parquet": PARQUET, "npz": NPZ}


def require_form(form: Form, manifest: Manifest) -> None:
    """Raises LatentserveError: a package is missing."""
    if form == "parquet" and PARQUET not in media_types(manifest.sample):
        raise LatentserveError("--format parquet needs latentserve[tables]")


class ShardFiles:
    """The files of a job's shards. Equal rows are equal bytes: nothing in them says when they were written."""

    def __init__(self, job: Job, manifest: Manifest, *, tells_scores: bool) -> None:
        """`tells_scores`: rows that were chosen by scores come with them."""
        self._job = job
        self._manifest = manifest
        self._spec = manifest.sample
        scored = tells_scores and job.is_scored(manifest)
        truncation = float(job.asked.get("truncation", 1))
        self._provenance = Provenance(
            manifest.name, manifest.version, job.seed, job.offset, truncation, labels=manifest.labels or (),
            conditions=manifest.condition_names, label_bytes=manifest.label_bytes, scored=scored,
            producer=job.producer,
        )  # fmt: skip

    def content(self, shard: Shard, rows: int, parts: Iterator[Rows]) -> Iterator[tuple[str, bytes]]:
        """The next bytes of a file, by its path, of a shard with so many rows, which come in `parts` that are cut the
        same way always: a document's bytes depend on that."""
        provenance = self._provenance if self._job.searches else self._provenance._replace(offset=shard.first)
        if self._job.form in _MEDIA:
            return ((shard.name, piece) for piece in self._document(rows, provenance, parts))
        if self._job.form == "webdataset":
            return ((shard.name, piece) for piece in self._tar(provenance, parts))
        return self._folder(shard, provenance, parts)

    def _document(self, n: int, provenance: Provenance, parts: Iterator[Rows]) -> Iterator[bytes]:
        """Each row's label, conditions and, of a search, number stand beside it."""
        job = self._job
        address = job.searches or bool(provenance.labels or provenance.conditions)
        document = make_document(_MEDIA[job.form], n, self._spec, provenance, job.dtype, address=address)
        yield document.opening()
        for part in parts:
            yield from map(bytes, document.rows(part))
        yield from map(bytes, document.closing())

    def _tar(self, provenance: Provenance, parts: Iterator[Rows]) -> Iterator[bytes]:
        """Of each row KEY.png (.wav, .npy), KEY.json with what is known of it and, where it has a label, KEY.cls, its
        index: what readers of WebDataset take."""
        size = 0
        for key, suffix, content, facts, label in self._rows(provenance, parts):
            entry = _member(key + suffix, content) + _member(key + ".json", orjson.dumps(facts))
            if label is not None:
                entry += _member(key + ".cls", b"%d" % label)
            size += len(entry)
            yield entry
        end = 2 * tarfile.BLOCKSIZE
        yield b"\0" * (end + -(size + end) % tarfile.RECORDSIZE)

    def _folder(self, shard: Shard, provenance: Provenance, parts: Iterator[Rows]) -> Iterator[tuple[str, bytes]]:
        """A file a row, and one with a line for each of what is known of it: what readers of image folders take."""
        lines = []
        for key, suffix, content, facts, _ in self._rows(provenance, parts):
            lines.append(orjson.dumps({"file_name": key + suffix, **facts}, option=orjson.OPT_APPEND_NEWLINE))
            yield f"{shard.name}/{key}{suffix}", content
        yield f"{shard.name}/{METADATA}", b"".join(lines)

    def _rows(
        self, provenance: Provenance, parts: Iterator[Rows]
    ) -> Iterator[tuple[str, str, bytes, dict[str, Any], int | None]]:
        """Of each row its key, its file's suffix and content, what is known of it, and its label's index."""
        suffix, first = file_suffix(self._spec), 0
        head = npy_header(tuple(self._spec.shape), self._job.dtype)
        for part in parts:
            values = part.samples if suffix is None else file_values(part.samples, self._spec)
            for row, facts in enumerate(provenance.facts(part, first)):
                if suffix is None:
                    content = b"".join((head, *raw(values[row : row + 1], self._spec, self._job.dtype)))
                else:
                    content = b"".join(row_file(values[row], self._spec, provenance.of(part, row, first)))
                label = None if part.labels is None else int(part.labels[row])
                yield f"{facts['row']:0{self._job.digits}}", suffix or ".npy", content, facts, label
            first += len(part.samples)


def _member(name: str, content: bytes) -> bytes:
    """Of a tar archive."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info.tobuf(tarfile.USTAR_FORMAT) + content + b"\0" * (-len(content) % tarfile.BLOCKSIZE)
