"""How samples are shown to simple models: pixels, encoded columns, log spectra, or the numbers themselves.

A view is fixed by the training part of the data alone, and is the same for every generator.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Column
from latentserve.training.data import Dataset

BANDS = 32  # of a spectrum
FRAME = 256  # values that a spectrum is taken of
_QUIET = 1e-6  # power that counts as silence
_FITTED_TO = 10_000  # rows
_TOGETHER = 1 << 26  # bytes of samples that something is computed of at once

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """What simple models see.

    Attributes:
        name: short and stable.
        sentence: what it is, for a reader.
        columns: what each number is called; None where nobody would ask.
        of: samples [n, *shape] float32 to [n, *seen] float32.
    """

    name: str
    sentence: str
    columns: list[str] | None
    of: Callable[[Samples], Samples]


def view_of(train: Dataset, labelled: bool = True) -> View:
    """How samples like these are shown; where not `labelled`, without the column of a table that is the label."""
    if train.kind == "image":
        return View("pixels", "pixels in [-1, 1]", None, lambda samples: samples)
    some = train.take(np.random.default_rng(0).permutation(len(train))[:_FITTED_TO])
    if train.kind == "table" and train.columns is not None:
        return _encoded(some, train.columns, None if labelled else label_column(train))
    if train.kind == "audio":
        frame = 2 ** min(int(np.log2(FRAME)), int(np.log2(train.samples.shape[-1])))
        raw: Callable[[Samples], Samples] = lambda samples: log_spectra(samples, frame)  # noqa: E731
        sentence = (
            f"mean and standard deviation over time of the log power in bands of {frame}-value Hann frames, each over "
            "its standard deviation in the training data"
        )
        return View("spectra", sentence, None, _scaled(raw, raw(some)))
    flat: Callable[[Samples], Samples] = lambda samples: samples.reshape(len(samples), -1)  # noqa: E731
    names = [f"number {at}" for at in range(prod(train.samples.shape[1:]))]
    sentence = "the numbers themselves, each over its standard deviation in the training data"
    return View("numbers", sentence, names, _scaled(flat, flat(some)))


def at_once(samples: Samples, most: int) -> int:
    """How many of samples [n, ...] something is computed of at once: `most`, or as many as 64 MiB hold."""
    return max(1, min(most, _TOGETHER // max(4, 4 * prod(samples.shape[1:]))))


def label_column(train: Dataset) -> int | None:
    """Which column of a table is also its label."""
    for at, column in enumerate(train.columns or []):
        names = [str(value) for value in column.categories or []]
        if names and names == train.label_names and np.array_equal(train.samples[:, at], train.labels):
            return at
    return None


def log_spectra(samples: Samples, frame: int) -> Samples:
    """Audio [n, C, L] to [n, 2 C bands]: mean and standard deviation over half-overlapping Hann frames of log10 of the
    power in at most BANDS bands, evenly spaced in log frequency."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, frame, axis=-1)[:, :, :: max(frame // 2, 1)]
    edges = np.unique(np.geomspace(1, frame // 2 + 1, BANDS + 1).astype(np.int64))
    power = np.abs(np.fft.rfft(frames * np.hanning(frame + 2)[1:-1], axis=-1)) ** 2
    bands = np.add.reduceat(power, edges[:-1], axis=-1) / np.diff(edges)
    logs = np.log10(bands + _QUIET)
    found: Samples = np.concatenate([logs.mean(axis=2), logs.std(axis=2)], axis=-1).astype(np.float32)
    return found.reshape(len(samples), -1)


def _encoded(some: Samples, columns: list[Column], without: int | None) -> View:
    """Numbers over their standard deviation, with whether they are missing; categories one-hot."""
    names: list[str] = []
    encoders: list[Callable[[Samples], Samples]] = []
    for at, column in enumerate(columns):
        if at == without:
            continue
        if column.categories is not None:
            names += [f"{column.name} = {'missing' if value is None else value}" for value in column.categories]
            encoders.append(_one_hot(at, len(column.categories)))
            continue
        present = some[:, at] if column.missing is None else some[some[:, at] != np.float32(column.missing), at]
        centre, spread = (float(present.mean()), float(present.std())) if len(present) else (0.0, 0.0)
        names += [column.name, *([f"{column.name} is missing"] if column.missing is not None else [])]
        encoders.append(_standardised(at, centre, spread or 1.0, column.missing))
    sentence = "columns: numbers over their standard deviation in the training data, categories one-hot"
    return View(
        "columns", sentence, names, lambda samples: np.concatenate([encode(samples) for encode in encoders], axis=1)
    )


def _one_hot(at: int, count: int) -> Callable[[Samples], Samples]:
    return lambda samples: np.eye(count, dtype=np.float32)[np.rint(samples[:, at]).astype(np.int64).clip(0, count - 1)]


def _standardised(at: int, centre: float, spread: float, missing: float | None) -> Callable[[Samples], Samples]:
    def encode(samples: Samples) -> Samples:
        values = samples[:, at]
        if missing is None:
            return ((values - centre) / spread)[:, None].astype(np.float32)
        absent = values == np.float32(missing)
        scaled = np.where(absent, 0.0, (values - centre) / spread)
        return np.stack([scaled, absent], axis=1).astype(np.float32)

    return encode


def _scaled(raw: Callable[[Samples], Samples], fitted_to: Samples) -> Callable[[Samples], Samples]:
    spread = fitted_to.std(axis=0)
    scale = np.where(spread > 0, spread, 1).astype(np.float32)
    return lambda samples: raw(samples) / scale
