"""Real samples from a file or folder, as the generator would have given them."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latentserve.service.bundle import SampleSpec
from latentserve.service.errors import BundleError, one_line

KEPT = 2048  # real samples that are looked at, chosen at random
KEPT_BYTES = 1 << 29  # of them, at the most

LEAST = 32  # of them, for anything to be said by them
_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}
_SLACK = 0.1  # of the value range, by which values may leave it
_SEED = 0

Real = tuple[NDArray[np.float32], int]  # at most KEPT random real samples float32 [n, *shape], and how many there are


class RealRows(Protocol):
    """Samples [n, *shape]: an array, or what looks like one and makes the rows that it is asked for."""

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def ndim(self) -> int: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


def read_real(path: Path, spec: SampleSpec) -> Real:
    """From an .npy file [n, *shape], taken as it is, or a folder of pictures, brought to the sample's shape and range.
    Raises BundleError naming the path."""
    if path.is_dir():
        return _read_folder(path, spec)
    try:
        samples = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise BundleError(f"{path}: no such file or folder") from None
    except Exception as error:  # numpy fails in its own ways on files that are something else
        raise BundleError(f"{path}: not an .npy file ({one_line(error)})") from None
    if not isinstance(samples, np.ndarray):
        raise BundleError(f"{path}: not an .npy file (it holds several arrays)")
    return keep_real(samples, spec, str(path))


def keep_real(samples: RealRows, spec: SampleSpec, source: str) -> Real:
    """From real samples [n, *shape]. Raises BundleError naming `source`."""
    if samples.dtype.kind not in "fiu" or list(samples.shape[1:]) != spec.shape or samples.ndim < 1:
        raise BundleError(
            f"{source}: real samples of shape {list(samples.shape)} and type {samples.dtype}; "
            f"numbers of shape {['n', *spec.shape]} are needed".replace("'", "")
        )
    rows = _chosen(len(samples), spec, source)
    kept = np.asarray(samples[rows], dtype=np.float32)
    if not np.isfinite(kept).all():
        raise BundleError(f"{source}: holds real samples that are not finite")
    if spec.value_range is not None:
        low, high = spec.value_range
        slack = _SLACK * (high - low)
        if kept.min() < low - slack or kept.max() > high + slack:
            raise BundleError(
                f"{source}: its values go from {kept.min():g} to {kept.max():g}; samples are in [{low:g}, {high:g}]"
            )
    return kept, len(samples)


def _read_folder(path: Path, spec: SampleSpec) -> Real:
    if spec.kind != "image" or spec.value_range is None:
        raise BundleError(f"{path}: a folder of pictures for samples that are {spec.kind}; give an .npy file")
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES)
    low, high = spec.value_range
    channels, height, width = spec.shape
    rows = _chosen(len(files), spec, str(path))
    samples = np.empty((len(rows), channels, height, width), np.float32)
    for place, row in enumerate(rows):
        try:
            with Image.open(files[row]) as picture:
                seen = picture.convert(spec.channels)
                if seen.size != (width, height):
                    seen = seen.resize((width, height), Image.Resampling.LANCZOS)
                pixels = np.asarray(seen, np.float32).reshape(height, width, channels)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise BundleError(f"{files[row]}: not a picture ({one_line(error)})") from None
        samples[place] = np.moveaxis(pixels, -1, 0) / np.float32(255) * np.float32(high - low) + np.float32(low)
    return samples, len(files)


def require_enough(n: int, source: str) -> None:
    """Raises BundleError naming `source` where `n` real samples are too few."""
    if n < LEAST:
        raise BundleError(f"{source}: holds {n} real samples; {LEAST} are the least that say anything")


def _chosen(n: int, spec: SampleSpec, source: str) -> NDArray[np.int64]:
    require_enough(n, source)
    most = max(LEAST, min(KEPT, KEPT_BYTES // (4 * prod(spec.shape))))
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(_SEED).choice(n, most, replace=False))
