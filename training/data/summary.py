"""What was understood of the data, in words, before anything is learnt of it."""

from collections.abc import Iterator

import numpy as np

from latentserve.service.bundle import Column, plain, typed
from latentserve.training.data.dataset import Dataset

_SHOWN = 12  # classes, or columns, in words
_CATEGORIES = 4
LOOKED_AT = 64 << 20  # bytes of samples that are compared with held-out ones


def summary(dataset: Dataset, held_out: Dataset | None = None, why: str = "") -> Iterator[str]:
    """Lines for a reader: what there is, of which size and classes, what is held out, or `why` nothing is, and what was
    left out."""
    shape = "x".join(map(str, dataset.samples.shape[1:]))
    what = {"image": "pictures", "audio": "recordings", "table": "rows", "array": "arrays"}[dataset.kind]
    about = f"{len(dataset):,} {what}"
    if dataset.kind == "table":
        about += f" of {dataset.samples.shape[1]:,} columns"
    elif dataset.kind == "audio":
        channels, frames = dataset.samples.shape[1:]
        seconds = frames / (dataset.sample_rate or 1)
        about += f" of {frames:,} frames ({seconds:.3g} s at {dataset.sample_rate:,} Hz), {channels} channel" + "s" * (
            channels > 1
        )
    else:
        about += f" of {shape}" + (" (grey)" if dataset.kind == "image" and dataset.samples.shape[1] == 1 else "")
    yield about
    if dataset.label_names:
        counts = np.bincount(dataset.labels, minlength=len(dataset.label_names))
        shown = [f"{printable(name)} {count:,}" for name, count in zip(dataset.label_names, counts, strict=True)][
            :_SHOWN
        ]
        more = f", and {len(dataset.label_names) - _SHOWN:,} more" if len(dataset.label_names) > _SHOWN else ""
        yield f"{len(dataset.label_names):,} classes: {', '.join(shown)}{more}"
    elif dataset.kind != "table":
        yield "no classes"
    for at, column in enumerate((dataset.columns or [])[:_SHOWN]):
        yield f"`{column.name}`: {_column(column, dataset, at)}"
    if dataset.columns and len(dataset.columns) > _SHOWN:
        yield f"and {len(dataset.columns) - _SHOWN:,} more columns"
    none = "none, so that overfitting goes unseen" + (f" ({why})" if why else "")
    if held_out is None:
        yield f"held out: {none}"
    else:
        again = _again(held_out, dataset)
        yield f"held out: {len(held_out):,} {what}" + (
            f", {again:,} of which are among the others, too" if again else ""
        )
    yield from map(printable, dataset.notes)


def _again(held_out: Dataset, dataset: Dataset) -> int:
    """How many held-out samples are among those that are learnt, to the bit; 0 where there are too many to look."""
    if dataset.samples.nbytes > LOOKED_AT or held_out.samples.dtype != dataset.samples.dtype:
        return 0
    learnt = {np.ascontiguousarray(sample).tobytes() for sample in dataset.samples}
    return sum(np.ascontiguousarray(sample).tobytes() in learnt for sample in held_out.samples)


def printable(word: str) -> str:
    """A word in one line."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in word)


def _column(column: Column, dataset: Dataset, at: int) -> str:
    """What a column holds."""
    if column.categories is not None:
        words = [str(value) for value in column.categories if value is not None]
        shown = ", ".join(map(printable, words[:_CATEGORIES]))
        missing = ", or missing" if None in column.categories else ""
        return f"{len(words):,} categories: {shown}{', ...' if len(words) > _CATEGORIES else ''}{missing}"
    values = np.asarray(dataset.samples[:, at])
    absent = values == np.float32(column.missing) if column.missing is not None else np.zeros(len(values), np.bool_)
    present = values[~absent]
    low, high = plain(typed(np.array([present.min(), present.max()], np.float32), column))
    kind = "times" if column.form is not None and column.form.time else "numbers"
    written = f", written as {column.form.time}" if column.form is not None and column.form.time else ""
    missing = f", {int(absent.sum()):,} missing" if absent.any() else ""
    return f"{kind} from {low} to {high}{written}{missing}"
