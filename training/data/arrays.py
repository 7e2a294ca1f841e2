"""numpy's files. An `.npy` file is mapped, whatever its size; an `.npz` archive is unpacked into memory."""

import zipfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.errors import one_line
from latentserve.training.data.dataset import CHUNK, Dataset, Split, storage
from latentserve.training.errors import DataError

SUFFIXES = (".npy", ".npz")

_SAMPLES = ("samples", "images", "x", "data")
_LABELS = ("labels", "y")
_NAMES = ("label_names", "classes")


def load(name: str, path: Path, split: Split | None) -> Dataset:
    """Samples [N, ...]: of an `.npy` file without labels; of an `.npz` archive `samples` (or `images`, `x`, `data`),
    if they are there `labels` (or `y`) int [N] and `label_names`, and for the held-out part `x_test` and `y_test`.

    Pictures are uint8 [N, H, W], [N, H, W, C] or [N, C, H, W] with C of 1, 3 or 4 (the fourth is alpha: they are laid
    on white), or float [N, C, H, W] in [0, 1] or, without alpha, [-1, 1]. Anything else is an array, taken as it is.
    Raises DataError naming file and field.
    """
    if path.suffix.lower() == ".npy":
        if split == "test":
            raise DataError(f"{path}: an .npy file has no held-out part")
        return _described(name, path, str(path), _read(path), None, None)
    with _read(path) as archive:
        suffix = f"_{split or 'train'}"
        stems = [key + suffix for key in _SAMPLES] + ([] if split == "test" else [*_SAMPLES, "arr_0"])
        field = next((stem for stem in stems if stem in archive.files), None)
        if field is None:
            raise DataError(f"{path}: no array {' or '.join(stems)} in it; there are {', '.join(archive.files)}")
        of_labels = [key + suffix if field.endswith(suffix) else key for key in _LABELS]
        labels = next((_member(path, archive, key) for key in of_labels if key in archive.files), None)
        names = next((_member(path, archive, key) for key in _NAMES if key in archive.files), None)
        samples = _member(path, archive, field)
        seen = None
        if split == "test" and labels is not None and names is None:
            known = next((key + "_train" for key in _LABELS if key + "_train" in archive.files), None)
            seen = None if known is None else np.unique(_member(path, archive, known))
    return _described(name, path, f"{path}: `{field}`", samples, labels, names, seen)


def _described(
    name: str,
    path: Path,
    source: str,
    samples: NDArray[Any],
    labels: NDArray[Any] | None,
    names: NDArray[Any] | None,
    seen: NDArray[Any] | None = None,
) -> Dataset:
    if samples.dtype.kind not in "fiu" or samples.ndim < 2 or samples.size == 0:
        raise DataError(f"{source}: shape {list(samples.shape)} of {samples.dtype}; numbers [N, ...] are needed")
    places, label_names = _labels(path, labels, names, seen, len(samples))
    low, high = _span(samples, source)
    samples, is_picture = _as_pictures(samples)
    if not is_picture:
        return Dataset(name, samples, places, label_names, kind="array")
    if samples.dtype != np.uint8 and (low < -1 or high > 1):
        raise DataError(f"{source}: values from {low:g} to {high:g}; pictures are in [0, 1] or [-1, 1], or of uint8")
    notes: tuple[str, ...] = ()
    if samples.shape[1] == 4:
        samples, notes = _without_alpha(samples, low, source)
    stored = (0.0, 255.0) if samples.dtype == np.uint8 else (0.0, 1.0) if low >= 0 else None
    return Dataset(name, samples, places, label_names, stored_range=stored, notes=notes)


def _as_pictures(samples: NDArray[Any]) -> tuple[NDArray[Any], bool]:
    """As [N, C, H, W] with C of 1, 3 or 4, if they are pictures."""
    if samples.dtype == np.uint8 and samples.ndim == 3:
        return samples[:, None], True
    if samples.ndim != 4 or samples.dtype.kind not in "fu" or (samples.dtype.kind == "u" and samples.dtype != np.uint8):
        return samples, False
    if samples.shape[1] not in (1, 3, 4):
        if samples.dtype != np.uint8 or samples.shape[3] not in (1, 3, 4):
            return samples, False
        samples = samples.transpose(0, 3, 1, 2)
    return samples, True


def _without_alpha(samples: NDArray[Any], low: float, source: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Pictures [N, 4, H, W] as [N, 3, H, W], on white, and what was done. Raises DataError."""
    most = 255 if samples.dtype == np.uint8 else 1
    rows = max(1, CHUNK // (16 * prod(samples.shape[2:])))
    parts = [slice(start, start + rows) for start in range(0, len(samples), rows)]
    see_through = sum(int((samples[part, 3] < most).any(axis=(1, 2)).sum()) for part in parts)
    if not see_through:
        return samples[:, :3], ("left out: the fourth channel, which is opaque everywhere",)
    if low < 0:
        raise DataError(
            f"{source}: four channels with values below 0, which say nothing of what is transparent; values in [0, 1], "
            "of uint8, or three channels are needed"
        )
    laid = storage((len(samples), 3, *samples.shape[2:]), samples.dtype, source)
    for part in parts:
        alpha = samples[part, 3:].astype(np.float32) / most
        colours = samples[part, :3] * alpha + most * (1 - alpha)
        laid[part] = np.rint(colours) if most == 255 else colours
    return laid, (f"{see_through:,} are transparent and were laid on white",)


def _labels(
    path: Path, labels: NDArray[Any] | None, names: NDArray[Any] | None, seen: NDArray[Any] | None, count: int
) -> tuple[NDArray[np.int64], list[str]]:
    """Places int64 [N] in the names, and the names: those given, else the different labels."""
    if labels is None:
        return np.zeros(count, np.int64), []
    labels = labels.squeeze(1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.ndim != 1 or labels.dtype.kind not in "iuUb":
        raise DataError(f"{path}: labels of shape {list(labels.shape)} of {labels.dtype}; whole numbers [N] are needed")
    if len(labels) != count:
        raise DataError(f"{path}: {len(labels)} labels for {count} samples")
    if names is None:
        known = np.unique(labels) if seen is None else seen
        places = np.searchsorted(known, labels).clip(0, len(known) - 1)
        if (known[places] != labels).any():
            raise DataError(f"{path}: label {labels[known[places] != labels][0]} is in the held-out part alone")
        return places.astype(np.int64), [str(value) for value in known]
    if labels.dtype.kind == "U" or labels.min() < 0 or labels.max() >= len(names):
        wrong = next(value for value in labels if labels.dtype.kind == "U" or not 0 <= value < len(names))
        raise DataError(f"{path}: label {wrong}; `label_names` has 0 to {len(names) - 1}")
    return labels.astype(np.int64), [str(value) for value in names.tolist()]


def _span(samples: NDArray[Any], source: str) -> tuple[float, float]:
    """Least and largest value. Raises DataError naming the first sample that float32 cannot hold."""
    if samples.dtype == np.uint8:
        return 0.0, 255.0
    low, high = np.inf, -np.inf
    rows = max(1, CHUNK // (4 * prod(samples.shape[1:])))
    for start in range(0, len(samples), rows):
        with np.errstate(over="ignore"):
            chunk = samples[start : start + rows].astype(np.float32).reshape(len(samples[start : start + rows]), -1)
        finite = np.isfinite(chunk).all(axis=1)
        if not finite.all():
            raise DataError(
                f"{source}: sample {start + int(np.argmin(finite))} holds values that are no finite float32"
            )
        low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
    return low, high


def _read(path: Path) -> Any:
    """What a file holds: of `.npy` an array that is mapped, of `.npz` an archive."""
    suffix = path.suffix.lower()
    try:
        content = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy fails in its own ways on files that are something else
        raise DataError(f"{path}: cannot be read as {suffix}: {one_line(error)}") from None
    if isinstance(content, np.ndarray) != (suffix == ".npy"):
        raise DataError(f"{path}: cannot be read as {suffix}: it is the other one of .npy and .npz")
    return content


def _member(path: Path, archive: Any, key: str) -> NDArray[Any]:
    try:
        member: NDArray[Any] = archive[key]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: `{key}` cannot be read: {one_line(error)}") from None
    return member
