"""numpy's files. An `.npy` file is mapped, whatever its size; an `.npz` archive is unpacked into memory.

Arrays are known by their names, in an archive or as files of a folder: `x_train`, `train_images`, `trainX` and `X` are
samples, `y_test` and `labels` what they are.
"""

import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import isqrt, prod
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentserve.service.errors import one_line
from latentserve.training.data.conditions import MOST, Conditions
from latentserve.training.data.dataset import CHUNK, Dataset, Split, follow_on, jumps, storage
from latentserve.training.data.names import HELD_OUT, split_of
from latentserve.training.errors import DataError, NoHeldOutError

SUFFIXES = (".npy", ".npz")

_ROLES = {
    "samples": ("samples", "sample", "images", "image", "imgs", "img", "pictures", "x", "data", "inputs", "features"),
    "labels": ("labels", "label", "y", "targets", "target"),
    "names": ("labelnames", "classes", "classnames"),
}
_WORD = re.compile(r"[A-Za-z][a-z]*|\d+")  # trainX, X_train, train-images
_LEAST_SIDE, _LEAST_FLAT = 8, 16  # pixels of what is no picture by its type, or by its shape alone
_LONG = 2  # times as many steps as channels, that a series has where its numbers do not tell
_SERIES, _LOOKED_AT = 200, 10_000  # series that tell which are steps, and whether some are padded
_ZEROS, _SOME = 3, 0.05  # steps of a padded series, and such series of all, at the least
_LEVELS, _DARK = 255, 64  # the brightest of bytes, and what some of them are at the least


class Named(NamedTuple):
    """What an array's name says of it.

    Attributes:
        role: `samples`, `labels` or `names`; None: something else.
        split: `train`, `val` or `test`; None: none is said.
        rank: the less, the likelier its word is meant.
    """

    role: str | None
    split: str | None
    rank: int = 0


class Span(NamedTuple):
    """Least and largest value, and whether all are whole numbers."""

    low: float
    high: float
    whole: bool


def load(name: str, path: Path, split: Split | None) -> Dataset:
    """Samples [N, ...]: of an `.npy` file without labels; of an `.npz` archive those of its arrays that are named so,
    with labels [N] and names of them, and a held-out part, if they are there.

    Pictures are uint8 [N, H, W], [N, H, W, C] or [N, C, H, W] with C of 1, 3 or 4 (the fourth is alpha: they are laid
    on white), or other numbers in [0, 1], in whole steps in [0, 255] or, without alpha, in [-1, 1]; of these [N, H, W]
    only where they are square. Anything else is an array, taken as it is. Raises DataError naming file and field.
    """
    if path.suffix.lower() == ".npy":
        if split == "test":
            raise NoHeldOutError(f"{path}: an .npy file has no held-out part")
        return _described(name, str(path), _read(path))
    with _read(path) as archive:
        return _of_arrays(name, path, {key: partial(_member, path, archive, key) for key in archive.files}, split)


def load_folder(name: str, folder: Path, files: Mapping[str, Path], split: Split) -> Dataset:
    """The same of `.npy` files that lie beside each other, by their names without the ending."""
    return _of_arrays(name, folder, {key: partial(_read, file) for key, file in files.items()}, split)


def together(files: Sequence[PurePosixPath]) -> dict[str, PurePosixPath]:
    """Files of one folder that are the arrays of one data set, by their names without the ending; none where they are
    not, or are not several."""
    stems = {file.stem: file for file in files}
    said = [named(stem) for stem in stems]
    one = len({file.parent for file in files}) == 1 and all(file.suffix.lower() == ".npy" for file in files)
    known = all(each.role for each in said) and any(each.role == "samples" for each in said)
    return stems if one and known and len(files) > 1 else {}


def named(key: str) -> Named:
    """What a name says."""
    words = [word for part in re.split(r"[^A-Za-z0-9]+", key) for word in _WORD.findall(part)]
    splits = [split_of(word) for word in words]
    rest = "".join(word for word, split in zip(words, splits, strict=True) if split is None).lower()
    split = next((each for each in splits if each), None)
    for role, known in _ROLES.items():
        if rest in known:
            return Named(role, split, known.index(rest))
    return Named(None, split)


def _of_arrays(name: str, path: Path, arrays: Mapping[str, Callable[[], NDArray[Any]]], split: Split | None) -> Dataset:
    """The samples of a split among arrays, and what belongs to them."""
    said = {key: named(key) for key in arrays}

    def find(role: str, part: str | None) -> str | None:
        fitting = [key for key, one in said.items() if (one.role, one.split) == (role, part)]
        return min(fitting, key=lambda key: said[key].rank, default=None)

    train = "train" if find("samples", "train") else None
    held = next((each for each in HELD_OUT if find("samples", each)), None)
    part = train if split != "test" else held
    if split == "test" and held is None:
        raise NoHeldOutError(
            f"{path}: no array of held-out samples such as x_test in it; there are {', '.join(arrays)}"
        )
    field = find("samples", part)
    labels = find("labels", part) if field else None
    if field is None and split != "test":
        field, labels = _unnamed(path, arrays)
    if field is None:
        raise DataError(
            f"{path}: no array of samples in it; there are {', '.join(arrays)}: name one of them samples, images or "
            "x_train, and its labels labels or y_train"
        )
    names = find("names", None)
    used = {field, labels, names}
    if split != "test" and held is not None:
        used |= {find("samples", held), find("labels", held)}
    label_names = None if names is None else arrays[names]()
    seen = None
    of_train = find("labels", train)
    if split == "test" and labels is not None and label_names is None and of_train is not None:
        seen = arrays[of_train]()
    dataset = _described(
        name,
        f"{path}: `{field}`",
        arrays[field](),
        (f"{path}: `{labels}`", arrays[labels]()) if labels else None,
        label_names,
        seen,
    )
    left = [key for key in arrays if key not in used]
    notes = [f"`{field}` holds the samples" + (f", `{labels}` their labels" if labels else "")]
    notes += [f"left out: {', '.join(left[:5])}{', ...' if len(left) > 5 else ''}"] if left else []
    return replace(dataset, notes=(*notes, *dataset.notes))


def _unnamed(path: Path, arrays: Mapping[str, Callable[[], NDArray[Any]]]) -> tuple[str | None, str | None]:
    """Samples and labels among arrays whose names say nothing, as `numpy.savez(path, x, y)` leaves them. Raises
    DataError where they cannot be known."""
    keys = list(arrays)
    if len(keys) == 1:
        return keys[0], None
    if not all(re.match(r"arr_\d+\Z", key) for key in keys):
        return None, None
    x, y = (arrays[key]() for key in ("arr_0", "arr_1"))
    if len(keys) == 2 and len(x) == len(y) and x.ndim > 1 >= y.squeeze().ndim:
        return "arr_0", "arr_1"
    raise DataError(
        f"{path}: which of {', '.join(keys)} are samples, and which labels? Save them by names: "
        "numpy.savez(path, x_train=..., y_train=..., x_test=..., y_test=...)"
    )


def _described(
    name: str,
    source: str,
    samples: NDArray[Any],
    labels: tuple[str, NDArray[Any]] | None = None,
    names: NDArray[Any] | None = None,
    seen: NDArray[Any] | None = None,
) -> Dataset:
    samples = samples.view(np.uint8) if samples.dtype == np.bool_ else samples
    if samples.dtype.kind not in "fiu" or samples.ndim < 2 or samples.size == 0:
        raise DataError(f"{source}: shape {list(samples.shape)} of {samples.dtype}; numbers [N, ...] are needed")
    numbers = None
    places, label_names = np.zeros(len(samples), np.int64), list[str]()
    span = _span(samples, source)
    shown, notes = _as_pictures(samples, span, source)
    if labels is not None:
        if labels[1].shape[:1] != samples.shape[:1]:
            raise DataError(f"{labels[0]}: {len(labels[1])} labels for {len(samples)} samples")
        numbers = _numbers(*labels)
        if numbers is None:
            places, label_names = _labels(*labels, names, seen)
    if shown is None:
        if samples.ndim == 3:
            samples, said = _channels_first(samples)
            notes += (*said, *_padding(samples))
        elif samples.ndim == 2 and follow_on(samples):
            notes += (
                "each row is close to the one before, as in one series: to learn windows of it, save them as "
                "[N, channels, length]",
            )
        return Dataset(name, samples, places, label_names, kind="array", conditions=numbers, notes=notes)
    stored = _stored(shown, span)
    if stored is None and (span.low < -1 or span.high > 1):
        raise DataError(
            f"{source}: values from {span.low:g} to {span.high:g}; pictures are in [0, 1] or [-1, 1], or whole numbers "
            "up to 255"
        )
    if shown.shape[1] == 4:
        shown, laid = _without_alpha(shown, span.low, stored, source)
        notes += laid
    if stored == (0.0, 1.0) and span.whole:
        notes += ("values are 0 and 1 alone: 1 is white",)
    elif samples.dtype == np.uint8 and span.high < _DARK:
        notes += (f"the brightest value is {span.high:g}, and 255 is white: if it is meant to be, scale them",)
    return Dataset(name, shown, places, label_names, stored_range=stored, conditions=numbers, notes=notes)


def _channels_first(samples: NDArray[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Series [N, channels, steps], which may be stored as [N, steps, channels], and what is to be told of it: steps go
    on smoothly, which channels need not; where both do, or neither, there are more steps than channels."""
    first, last = samples.shape[1:]
    if min(first, last) < 2:
        turned, sure = last == 1 < first, True
    else:
        along_first, along_last = (jumps(samples[:_SERIES], axis) for axis in (1, 2))
        sure = (along_first < 1) != (along_last < 1)
        turned = along_first < 1 if sure else first > _LONG * last
    told = "[N, {0}, {1}] are taken as series of {2} channels and {3} steps"
    if turned:
        told += ", channels first: bring them back in samples by numpy.moveaxis(x, 1, -1)"
        return np.moveaxis(samples, 1, 2), (told.format(first, last, last, first),)
    if sure or first <= last:
        return samples, ()
    told += ": if they are of {2} steps and {3} channels, bring these first by numpy.moveaxis(x, -1, 1)"
    return samples, (told.format(first, last, first, last),)


def _padding(samples: NDArray[Any]) -> tuple[str, ...]:
    """What to tell of series [N, channels, steps] some of which begin or end in zeros alone."""
    empty = (samples[:_LOOKED_AT] == 0).all(axis=1)
    padded = int((empty[:, :_ZEROS].all(axis=1) | empty[:, -_ZEROS:].all(axis=1)).sum())
    if padded < 2 or padded < _SOME * len(empty) or empty.shape[1] <= 2 * _ZEROS:
        return ()
    return (f"{padded:,} of {len(empty):,} begin or end in zeros, as padded series do: these are learnt, too",)


def _stored(samples: NDArray[Any], span: Span) -> tuple[float, float] | None:
    """Which values are black and white; None: -1 and 1 are, or none."""
    if span.low < 0 or span.high > _LEVELS:
        return None
    if span.high <= 1:
        return (0.0, 1.0)
    return (0.0, float(_LEVELS)) if samples.dtype == np.uint8 or (span.whole and span.high > _LEVELS / 2) else None


def _as_pictures(samples: NDArray[Any], span: Span, source: str) -> tuple[NDArray[Any] | None, tuple[str, ...]]:
    """As [N, C, H, W] with C of 1, 3 or 4, if they are pictures; and what is to be told of it. Raises DataError where
    the shape is of pictures, and the samples do not come first."""
    shape, of_bytes = samples.shape, samples.dtype == np.uint8
    in_range = _stored(samples, span) is not None
    if of_bytes and samples.ndim == 3 and shape[2] in (3, 4) and min(shape[:2]) >= _LEAST_SIDE:
        raise DataError(
            f"{source}: shape {list(shape)} is one picture; samples come first: [N, H, W, C], by numpy.stack"
        )
    square = samples.ndim > 2 and shape[0] == shape[1] >= _LEAST_SIDE
    if (
        of_bytes
        and square
        and (
            (samples.ndim == 4 and shape[2] in (1, 3) and shape[3] not in (1, 3, 4))
            or (samples.ndim == 3 and shape[2] > 4 * shape[1])
        )
    ):
        raise DataError(
            f"{source}: shape {list(shape)} has the samples last; bring them first by numpy.moveaxis(x, -1, 0)"
        )
    if samples.ndim == 4:
        if shape[1] in (1, 3, 4) and (samples.dtype.kind == "f" or in_range):
            return samples, ()
        if shape[3] in (1, 3, 4):
            last = samples.transpose(0, 3, 1, 2)
            signed = samples.dtype.kind == "f" and span.low >= -1 and span.high <= 1
            if of_bytes or (min(shape[1:3]) >= _LEAST_SIDE and (in_range or signed)):
                return last, ()
            return None, (_no_pictures(shape, span),) if min(shape[1:3]) >= _LEAST_SIDE else ()
    if samples.ndim == 3:
        if of_bytes:
            return samples[:, None], ()
        if shape[1] == shape[2] >= _LEAST_SIDE:
            if in_range:
                return samples[:, None], (f"[N, {shape[1]}, {shape[2]}] are taken as grey pictures",)
            return None, (_no_pictures(shape, span),)
    if samples.ndim == 2 and of_bytes and (side := isqrt(shape[1])) ** 2 == shape[1] and side >= _LEAST_FLAT:
        return samples.reshape(len(samples), 1, side, side), (
            f"{shape[1]} bytes each are taken as {side}x{side} pixels",
        )
    return None, ()


def _no_pictures(shape: tuple[int, ...], span: Span) -> str:
    of = ", ".join(map(str, shape[1:]))
    return (
        f"[N, {of}] with values from {span.low:g} to {span.high:g} are no pictures, whose values are in [0, 1], or "
        "whole numbers up to 255"
    )


def _without_alpha(
    samples: NDArray[Any], low: float, stored: tuple[float, float] | None, source: str
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Pictures [N, 4, H, W] as [N, 3, H, W], on white, and what was done. Raises DataError."""
    most = 1 if stored is None else stored[1]
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
        laid[part] = colours if samples.dtype.kind == "f" else np.rint(colours)
    return laid, (f"{see_through:,} are transparent and were laid on white",)


def _numbers(source: str, labels: NDArray[Any]) -> Conditions | None:
    """Labels that are numbers which samples are made for: several each, or with decimals; None: they are classes."""
    several = labels.ndim == 2 and labels.shape[1] > 1
    if labels.dtype.kind not in "fiub" or labels.ndim > 2:
        return None
    values = labels.reshape(len(labels), -1).astype(np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"{source}: not all are finite numbers")
    if (several and _one_hot(labels)) or (not several and (values == np.rint(values)).all()):
        return None
    varied = np.flatnonzero(np.ptp(values, axis=0) > 0)
    if len(varied) > MOST:
        raise DataError(f"{source}: {len(varied)} numbers of each sample; {MOST} can be asked for at most")
    if not len(varied):
        return None
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", source.rpartition("`")[0].rpartition("`")[2]).strip("_") or "y"
    names = [f"{stem}_{at}" if several else stem for at in varied]
    return Conditions(values[:, varied], names, [None] * len(names))


def _one_hot(labels: NDArray[Any]) -> bool:
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all())


def _labels(
    source: str, labels: NDArray[Any], names: NDArray[Any] | None, seen: NDArray[Any] | None
) -> tuple[NDArray[np.int64], list[str]]:
    """Places int64 [N] in the names, and the names: those given, else the different labels."""
    labels = _as_classes(labels)
    names, seen = (None if one is None else _as_classes(one) for one in (names, seen))
    if labels.ndim != 1 or labels.dtype.kind not in "iuUb":
        raise DataError(
            f"{source}: labels of shape {list(labels.shape)} of {labels.dtype}; whole numbers [N] are needed"
        )
    if names is None or labels.dtype.kind == "U":
        listed = np.unique(labels if seen is None else seen) if names is None else names
        order = np.argsort(listed, kind="stable")
        places = order[np.searchsorted(listed[order], labels).clip(0, len(listed) - 1)]
        if (strange := listed[places] != labels).any():
            where = "is in the held-out part alone" if names is None else "is none of the names of labels"
            raise DataError(f"{source}: label {labels[strange][0]} {where}")
        return places.astype(np.int64), [str(value) for value in listed]
    if labels.min() < 0 or labels.max() >= len(names):
        wrong = next(value for value in labels if not 0 <= value < len(names))
        raise DataError(f"{source}: label {wrong}; `label_names` has 0 to {len(names) - 1}")
    return labels.astype(np.int64), [str(value) for value in names.tolist()]


def _as_classes(labels: NDArray[Any]) -> NDArray[Any]:
    """As whole numbers or texts, [N] where that can be."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels.squeeze(1)
    if labels.ndim == 2 and labels.dtype.kind in "fiub" and _one_hot(labels):
        return labels.argmax(axis=1)
    if labels.dtype.kind == "f" and (labels == np.rint(labels)).all():
        return labels.astype(np.int64)
    return np.char.decode(labels, "utf-8", "replace") if labels.dtype.kind == "S" else labels


def _span(samples: NDArray[Any], source: str) -> Span:
    """The span of the samples; of bytes up to the first that is bright. Raises DataError naming the first sample that
    float32 cannot hold."""
    rows = max(1, CHUNK // (4 * prod(samples.shape[1:])))
    parts = [slice(start, start + rows) for start in range(0, len(samples), rows)]
    if samples.dtype == np.uint8:
        most = 0
        for part in parts:
            most = max(most, int(samples[part].max()))
            if most >= _DARK:
                return Span(0.0, float(_LEVELS), whole=True)
        return Span(0.0, float(most or _LEVELS), whole=True)
    low, high, whole = np.inf, -np.inf, True
    for part in parts:
        with np.errstate(over="ignore"):
            chunk = samples[part].astype(np.float32).reshape(len(samples[part]), -1)
        finite = np.isfinite(chunk).all(axis=1)
        if not finite.all():
            raise DataError(
                f"{source}: sample {part.start + int(np.argmin(finite))} holds values that are no finite float32"
            )
        low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
        whole = whole and bool((chunk == np.rint(chunk)).all())
    return Span(low, high, whole)


def _read(path: Path) -> Any:
    """What a file holds: of `.npy` an array that is mapped, of `.npz` an archive."""
    suffix = path.suffix.lower()
    try:
        content = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy fails in its own ways on files that are something else
        raise DataError(f"{path}: cannot be read as {suffix}: {_why(error)}") from None
    if isinstance(content, np.ndarray) != (suffix == ".npy"):
        raise DataError(f"{path}: cannot be read as {suffix}: it is the other one of .npy and .npz")
    return content


def _member(path: Path, archive: Any, key: str) -> NDArray[Any]:
    try:
        member: NDArray[Any] = archive[key]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: `{key}` cannot be read: {_why(error)}") from None
    return member


def _why(error: Exception) -> str:
    if "bject" in str(error):  # numpy says so in two ways
        return "it holds objects, as of uneven lengths, which are pickled and never opened: bring all to one length"
    return one_line(error)
