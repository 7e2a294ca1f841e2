"""The real samples that a generator is held against: those it may have learnt from, and others that it has not seen."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latentserve.training.data import AT_HAND, Dataset, Split, alike, load, pictures
from latentserve.training.errors import DataError
from latentserve.training.evaluation.subject import Subject

LEAST = 20  # real samples of each part


@dataclass(frozen=True)
class Reals:
    """Two parts of a data set.

    Attributes:
        train: that generators are trained on, or half of it.
        held: that they have not seen; where there is no such part, the other half.
        splits: what the two are called.
        sha256: of all that generators are trained on.
        warnings: what a reader must know of them.
    """

    train: Dataset
    held: Dataset
    splits: tuple[str, str]
    sha256: str
    warnings: tuple[str, ...]

    @property
    def unseen(self) -> bool:
        """Whether `held` was kept from training."""
        return self.splits == SEPARATE

    def some(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of either part, int64 [count] each, or as many as there are: by chance, always the same."""
        train, held = (np.random.default_rng(0).permutation(len(part))[:count] for part in (self.train, self.held))
        return train, held


SEPARATE, HALVES = ("train", "test"), ("half of train", "other half of train")


def load_reals(subject: Subject, data: Path | None) -> Reals:
    """The data that `--data` names, which must look like the subject's samples.

    Args:
        subject: What is evaluated; a run knows more of its data than a bundle.
        data: `digits`, `ring`, `grid`, or where the data are; None: a run's, if they need no place.

    Raises:
        DataError: No data, data that look otherwise, or too few.
    """
    split_of = _source(subject, data)
    name = str(data) if data is not None else f"{subject.path}'s data"
    train = split_of("train")
    require_fit(train, subject, name)
    sha256 = train.description.sha256
    warnings = []
    if subject.conditions is not None and train.conditions is None:
        warnings.append(
            f"These data have no conditions: {subject.name} was asked for some of its own, and whether it "
            "keeps to them was not measured."
        )
    if subject.dataset_sha256 not in (None, sha256):
        warnings.append(f"These are not the data that {subject.name} was trained on.")
    try:
        held, splits = alike(split_of("test"), train), SEPARATE
    except DataError as error:
        order = np.random.default_rng(0).permutation(len(train))
        train, held = train.subset(np.sort(order[len(train) // 2 :])), train.subset(np.sort(order[: len(train) // 2]))
        splits = HALVES
        warnings.append(
            f"The data have no held-out part ({error}). Two random halves stand in for one: a generator trained on "
            "both may have learnt either by heart, and that would not be seen here."
        )
    if min(len(train), len(held)) < LEAST:
        raise DataError(f"{name}: {len(train)} and {len(held)} real samples; at least {LEAST} of each part are needed")
    return Reals(train, held, splits, sha256, tuple(warnings))


def _source(subject: Subject, data: Path | None) -> Callable[[Split], Dataset]:
    """What loads a split of the data, with conditions if the subject has some."""
    config, conditions = subject.config, subject.conditions is not None
    name = config.data if config is not None else "files"
    if data is None:
        if name not in AT_HAND:
            raise DataError(f"--data: is needed: the real samples that those of {subject.path} are held against")
        return lambda split: load(name, None, split, conditions=conditions)
    if str(data) in AT_HAND:
        return lambda split: load(str(data), None, split, conditions=conditions)
    if config is not None and name not in AT_HAND:
        reading = {**config.reading, "conditions": conditions}
        return lambda split: load(name, data, split, **reading)
    size, label = _size(data, subject), _label(subject)
    return lambda split: load("files", data, split, size=size, label=label, conditions=conditions)


def _size(data: Path, subject: Subject) -> int | None:
    """What pictures of any size, and long recordings, are brought to."""
    if not data.is_dir() and data.suffix.lower() not in (".zip", ".parquet"):
        return subject.shape[-1] if subject.kind == "audio" else None
    if subject.kind == "image":
        loose = not data.is_dir() or any(file.suffix.lower() in pictures.SUFFIXES for file in data.rglob("*"))
        return subject.shape[-1] if loose and subject.shape[-1] == subject.shape[-2] else None
    return subject.shape[-1] if subject.kind == "audio" else None


def _label(subject: Subject) -> str | None:
    """The column of a table that is its label, by the names that it has."""
    for column in subject.columns or []:
        if column.categories and [str(value) for value in column.categories] == subject.labels:
            return column.name
    return None


def require_fit(train: Dataset, subject: Subject, name: str) -> None:
    """See that samples look like those of the subject. Raises DataError."""
    shape = list(train.samples.shape[1:])
    if train.kind != subject.kind or shape != subject.shape:
        raise DataError(
            f"{name}: holds samples that are {train.kind} of shape {shape}; "
            f"{subject.path} makes {subject.kind} of shape {subject.shape}"
        )
    for column, made in zip(train.columns or [], subject.columns or [], strict=True):
        if (column.name, column.categories, column.missing) != (made.name, made.categories, made.missing):
            raise DataError(f"{name}: its column `{column.name}` is not what {subject.path} makes")
    if subject.labels is not None and train.label_names and set(subject.labels) != set(train.label_names):
        found, learnt = _few(train.label_names), _few(subject.labels)
        raise DataError(f"{name}: its labels are {found}; those of {subject.path} are {learnt}")
    asked = [condition.name for condition in subject.conditions or []]
    if asked and train.conditions is not None and set(asked) != set(train.condition_names):
        found, learnt = _few(train.condition_names), _few(asked)
        raise DataError(f"{name}: its conditions are {found}; those of {subject.path} are {learnt}")


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
