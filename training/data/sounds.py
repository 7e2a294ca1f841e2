"""WAV files, alone or in folders, as audio. Each is read once; more than a GiB of them lie in a mapped file."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile

from latentserve.service.errors import one_line
from latentserve.training.data import conditions
from latentserve.training.data.dataset import Dataset, Split, storage
from latentserve.training.data.folders import find
from latentserve.training.errors import DataError

SUFFIXES = (".wav",)

# What becomes -1 and 1, by the type scipy reads a file as; 24 bits come as the upper ones of 32.
_RANGES = {
    "uint8": (0.0, 256.0),
    "int16": (-(2.0**15), 2.0**15),
    "int32": (-(2.0**31), 2.0**31),
    "float32": None,
    "float64": None,
}


def load(name: str, path: Path, split: Split | None, size: int | None) -> Dataset:
    """A WAV file, a folder of them, or of class folders of them, as audio [N, channels, length].

    Args:
        name: What the data set is called.
        path: Where they are.
        split: The part, where the folder has `train` and `test`.
        size: Frames of a sample, into which longer files are cut, the rest left out; None: all must be of one length.

    Raises:
        DataError: Names the first file that is broken, or that differs from the first in rate, type or length.
    """
    labelled = find(path, SUFFIXES, "WAV files", split) if path.is_dir() else None
    files = [path] if labelled is None else labelled.files
    beside = None if labelled is None else conditions.beside_files(labelled.folder, files, "WAV files")
    first_rate, first = _read(files[0])
    pieces = []
    for file in files:
        rate, frames = _read(file)
        if rate != first_rate:
            raise DataError(f"{file}: {rate} Hz; {files[0].name} has {first_rate}")
        if frames.dtype != first.dtype or frames.shape[1] != first.shape[1]:
            given, expected = (f"{of.shape[1]} channels of {of.dtype}" for of in (frames, first))
            raise DataError(f"{file}: {given}; {files[0].name} has {expected}")
        if size is None and len(frames) != len(first):
            lengths = f"{len(frames)} frames; {files[0].name} has {len(first)}"
            raise DataError(f"{file}: {lengths}; `size` in the configuration cuts all to one length")
        if size is not None and len(frames) < size:
            raise DataError(f"{file}: {len(frames)} frames; `size` asks for {size}")
        pieces.append(1 if size is None else len(frames) // size)
    length = len(first) if size is None else size
    samples = storage((sum(pieces), first.shape[1], length), first.dtype, str(path))
    row = 0
    for file, count in zip(files, pieces, strict=True):
        frames = _read(file)[1][: count * length]
        if frames.dtype.kind == "f" and not np.isfinite(frames).all():
            raise DataError(f"{file}: frame {int(np.argmin(np.isfinite(frames).all(axis=1)))} is not finite")
        samples[row : row + count] = frames.reshape(count, length, -1).transpose(0, 2, 1)
        row += count
    labels = np.zeros(len(samples), np.int64) if labelled is None else np.repeat(labelled.labels, pieces)
    names = [] if labelled is None else labelled.label_names
    stored = _RANGES[first.dtype.name]
    of_pieces = None if beside is None else beside.take(np.repeat(np.arange(len(files)), pieces))
    return Dataset(name, samples, labels, names, "audio", stored, first_rate, conditions=of_pieces)


def _read(file: Path) -> tuple[int, NDArray[np.generic]]:
    """Rate in hertz, and frames [length, channels]."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks that hold no sound
            rate, frames = wavfile.read(file)
    except Exception as error:  # scipy fails in its own ways on files that are something else
        raise DataError(f"{file}: cannot be read as WAV: {one_line(error)}") from None
    if len(frames) == 0:
        raise DataError(f"{file}: no sound in it")
    if frames.dtype.name not in _RANGES:
        raise DataError(f"{file}: samples of type {frames.dtype}; 8 to 32 bits are read")
    return int(rate), frames.reshape(len(frames), -1)
