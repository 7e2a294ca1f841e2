"""What every data set looks like to the rest of the code."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from latentserve.service.bundle import Column
from latentserve.training.data.conditions import Conditions
from latentserve.training.data.transform import TableTransform
from latentserve.training.errors import NoRoomError

Kind = Literal["image", "array", "audio", "table"]
Split = Literal["train", "test"]  # `test` is held out

IN_MEMORY = 1 << 28  # bytes; a larger decoded data set lies in a file that is mapped, and is gone with the process
CHUNK = 16 << 20  # bytes that are looked at together
LEFT_FREE = 1 << 30  # bytes of a disk that what is kept for later leaves to others

_SERIES_ROWS, _SMOOTH = 200, 0.1  # rows that may be one series, and how little they jump

_files: ContextVar[list[Path] | None] = ContextVar("_files", default=None)


class Entry(Protocol):
    """Where samples are kept from one start to the next, with what was computed of them."""

    def once(self, name: str, compute: Callable[[], str]) -> str:
        """What was computed under this name, now or before."""


@dataclass(frozen=True)
class Description:
    """What a run must remember of its data set to be resumed and exported without it. It survives JSON.

    Attributes:
        name: what the data set is called.
        sha256: hex digest of its content.
        shape: of one sample: [C, H, W] of an image, [C, L] of audio, [columns] of a table.
        label_names: one name a class; none for a data set without labels.
        label_counts: samples of each class.
        kind: what a sample is.
        sample_rate: of audio, in hertz.
        mean, std: of each entry of an array's or audio's first axis; what a network's scale starts from.
        columns: a table's, as the manifest has them.
        transform: a table's, as `TableTransform.to_json` gives it.
        shares: how often a table's categories and modes are, as `TableTransform.shares` gives it.
        conditions: that samples are made for, as the manifest has them; None: there are none.
    """

    name: str
    sha256: str
    shape: list[int]
    label_names: list[str]
    label_counts: list[int]
    kind: Kind = "image"
    sample_rate: int | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    columns: list[Any] | None = None
    transform: list[dict[str, Any]] | None = None
    shares: list[list[float]] | None = None
    conditions: list[Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values that make it again; without conditions as it was when there were none."""
        told = asdict(self)
        if self.conditions is None:
            del told["conditions"]
        return told


@dataclass(frozen=True)
class Dataset:
    """Samples, labelled or not.

    Attributes:
        name: what it is called.
        samples: [N, *shape] in the type they are stored in, possibly mapped from a file.
        labels: int64 [N], each an index into `label_names`; zeros where there are none.
        label_names: one name a class; none for a data set without labels.
        kind: what a sample is: an image [C, H, W], audio [C, L], a table's row [columns], or any other array.
        stored_range: values of `samples` that become -1 and 1; None: they are taken as they are.
        sample_rate: of audio, in hertz.
        columns: of a table, whose samples hold values, places in a column's categories, and its `missing`.
        conditions: numbers that samples are made for; None: there are none.
        notes: what was understood of the files, and what of them was left out; no part of the content.
        entry: where the samples are kept; None: they were read or decoded for this process.
    """

    name: str
    samples: NDArray[Any]
    labels: NDArray[np.int64]
    label_names: list[str]
    kind: Kind = "image"
    stored_range: tuple[float, float] | None = None
    sample_rate: int | None = None
    columns: list[Column] | None = None
    conditions: Conditions | None = None
    notes: tuple[str, ...] = ()
    entry: Entry | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def take(self, rows: NDArray[np.int64] | slice) -> NDArray[np.float32]:
        """Samples of these rows, float32 [n, *shape]: images and audio in [-1, 1]."""
        taken = np.require(self.samples[rows], np.float32, "W")  # torch warns of what is mapped and cannot be written
        if self.stored_range is None:
            return taken
        low, high = self.stored_range
        scaled: NDArray[np.float32] = taken - np.float32(low)
        scaled /= np.float32((high - low) / 2)
        scaled -= np.float32(1)
        return scaled

    def chunks(self) -> Iterator[NDArray[np.float32]]:
        """All samples in order, as `take` gives them, some megabytes at a time."""
        rows = max(1, CHUNK // (4 * prod(self.samples.shape[1:]) or 1))
        for start in range(0, len(self), rows):
            yield self.take(slice(start, start + rows))

    def subset(self, rows: NDArray[np.int64], *notes: str) -> "Dataset":
        """Only these rows, copied, of the same labels; with more to be told of them, if there is."""
        samples = storage((len(rows), *self.samples.shape[1:]), self.samples.dtype, self.name)
        for start in range(0, len(rows), 1024):
            samples[start : start + 1024] = self.samples[rows[start : start + 1024]]
        more = (self.kind, self.stored_range, self.sample_rate, self.columns)
        conditions = None if self.conditions is None else self.conditions.take(rows)
        told = (*self.notes, *notes) if notes else ()
        return Dataset(self.name, samples, self.labels[rows], self.label_names, *more, conditions, told)

    def conditions_of(self, rows: NDArray[np.int64] | slice) -> NDArray[np.float32] | None:
        """What these rows are made for, [n, k]; None where there are no conditions."""
        return None if self.conditions is None else self.conditions.values[rows]

    @property
    def condition_names(self) -> list[str]:
        """What its samples are made for; none for most data."""
        return [] if self.conditions is None else self.conditions.names

    def without_conditions(self) -> "Dataset":
        """The same samples, made for nothing."""
        return replace(self, conditions=None)

    @cached_property
    def transform(self) -> TableTransform | None:
        """What makes of a table's rows what networks see, fitted to these; None for anything else."""
        return None if self.columns is None else TableTransform.fit(self.samples, self.columns)

    def digest(self) -> str:
        """SHA-256 of shape, samples and labels, as little-endian bytes in C order, and of what a table's columns and
        the conditions are, if there are any: the same content has the same digest whatever the files it came in."""
        beside = self._update(hashlib.sha256(repr(self.stored_range).encode())).hexdigest()
        return self._once(f"sha256-{beside[:32]}", self._digest)

    def _digest(self) -> str:
        digest = hashlib.sha256(repr(self.samples.shape).encode())
        for chunk in self.chunks():
            digest.update(np.ascontiguousarray(chunk, dtype="<f4").data)
        return self._update(digest).hexdigest()

    def _update(self, digest: Any) -> Any:
        """Let a digest be of all that lies beside the samples, too."""
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        if self.columns is not None:
            digest.update(repr([column.model_dump(mode="json") for column in self.columns]).encode())
        if self.conditions is not None:
            digest.update(self.conditions.content())
        return digest

    def _once(self, name: str, compute: Callable[[], str]) -> str:
        return compute() if self.entry is None else self.entry.once(name, compute)

    @cached_property
    def description(self) -> Description:
        """Its description."""
        columns = None if self.columns is None else [column.model_dump(mode="json") for column in self.columns]
        mean = std = None
        if self.kind in ("array", "audio"):
            mean, std = json.loads(self._once("moments", lambda: json.dumps(moments(self))))
        return Description(
            name=self.name,
            sha256=self.digest(),
            shape=list(self.samples.shape[1:]),
            label_names=self.label_names,
            label_counts=np.bincount(self.labels, minlength=len(self.label_names)).tolist() if self.label_names else [],
            kind=self.kind,
            sample_rate=self.sample_rate,
            mean=mean,
            std=std,
            columns=columns,
            transform=None if self.transform is None else self.transform.to_json(),
            shares=None
            if self.transform is None
            else self.transform.shares(self.samples, self.labels, max(1, len(self.label_names))),
            conditions=None
            if self.conditions is None
            else [condition.model_dump(mode="json") for condition in self.conditions.described()],
        )


def moments(dataset: Dataset) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each entry of the samples' first axis; a constant one deviates by 1."""
    entries = dataset.samples.shape[1]
    count, total, squares = 0, np.zeros(entries), np.zeros(entries)
    origin = dataset.take(slice(0, 1)).astype(np.float64).reshape(entries, -1).mean(axis=1)
    for chunk in dataset.chunks():
        flat = chunk.astype(np.float64).reshape(len(chunk), entries, -1) - origin[:, None]
        count += len(chunk) * flat.shape[2]
        total += flat.sum(axis=(0, 2))
        squares += (flat**2).sum(axis=(0, 2))
    std = np.sqrt(np.maximum(squares / count - (total / count) ** 2, 0))
    return (origin + total / count).tolist(), np.where(std > 0, std, 1.0).tolist()


@contextmanager
def stored_in(file: Path) -> Iterator[None]:
    """Within the block the first `storage` that is asked for is this file, however small, and stays there."""
    token = _files.set([file])
    try:
        yield
    finally:
        _files.reset(token)


def storage(shape: tuple[int, ...], dtype: DTypeLike, source: str) -> NDArray[Any]:
    """Room for samples that are read or decoded once: memory, or where they are many a mapped file without a name.

    Raises NoRoomError naming `source` where the disk has no room for it.
    """
    size = prod(shape) * np.dtype(dtype).itemsize
    kept = _files.get()
    if size == 0 or (not kept and size <= IN_MEMORY):
        return np.empty(shape, dtype)
    where = kept[0].parent if kept else Path(tempfile.gettempdir())
    if kept and shutil.disk_usage(where).free < size + LEFT_FREE:
        raise NoRoomError(f"{source}: {size >> 20:,} MiB decoded leave too little of {where}")
    try:
        with kept.pop().open("w+b") if kept else tempfile.TemporaryFile() as file:
            # A mapped file that cannot grow would kill the process when it is written.
            os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, dtype, "r+", shape=shape)
    except OSError as error:
        raise NoRoomError(f"{source}: {size >> 20:,} MiB decoded do not fit {where} ({error.strerror})") from None


def follow_on(rows: NDArray[Any]) -> bool:
    """Whether rows [N, d] are most likely one series, each close to the one before."""
    return len(rows) >= _SERIES_ROWS and jumps(rows[None, : 10 * _SERIES_ROWS], 1) < _SMOOTH


def jumps(samples: NDArray[Any], axis: int) -> float:
    """The mean square of steps along an axis, over the variance: 2 of numbers without an order, less of what goes on
    smoothly (von Neumann 1941). What lies along the other axis is scaled by its own mean and deviation."""
    values = samples.astype(np.float64)
    values = values - values.mean(axis=(0, axis), keepdims=True)
    scale = values.std(axis=(0, axis), keepdims=True)
    values = np.divide(values, scale, out=np.zeros_like(values), where=scale > 0)
    spread = float((values**2).mean())
    return float((np.diff(values, axis=axis) ** 2).mean()) / spread if spread else 2.0
