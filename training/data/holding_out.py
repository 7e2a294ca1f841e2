"""Samples that are kept from training where a data set has no part for that: without some that the critic never sees,
nobody knows whether it learns or remembers."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from latentserve.training.data.dataset import IN_MEMORY, Dataset, Split
from latentserve.training.errors import DataError, NoHeldOutError

LEAST = 64  # samples; of fewer no distance means anything
MOST = 1 / 4  # of all samples


def split_off(load: Callable[[Split], Dataset], split: Split, share: float) -> Dataset:
    """A split of what `load` reads, of which `share` is held out where it has no held-out part of its own.

    Whatever has one stays as it is, and so does what is small (LEAST would be more than MOST of it), or more than a
    GiB, which would have to be kept twice. The same data are always divided in the same way. Raises DataError as
    `load` does, of a split that there is not.
    """
    own = None
    try:
        own = load("test")
        alike(own, dataset := load("train"))
    except DataError as error:
        dataset = dataset if own is not None else load("train")
        held = rows(dataset.labels, share) if dataset.samples.nbytes <= IN_MEMORY else np.zeros(0, np.int64)
        if split == "test":
            if not len(held):
                raise
            return dataset.subset(held)
        if not isinstance(error, NoHeldOutError):
            note = f"left out: its own held-out part: {error}"
            dataset = replace(dataset, notes=(*dataset.notes, note))
        if not len(held):
            return dataset
        note = (
            f"of {len(dataset):,} samples {len(held):,} are held out by chance, to see whether they are learnt or "
            "remembered; --set hold_out=0 learns all"
        )
        return dataset.subset(np.setdiff1d(np.arange(len(dataset)), held), note)
    return own if split == "test" else dataset


def alike(held: Dataset, train: Dataset) -> Dataset:
    """The held-out part with the training part's labels. Raises DataError where its samples or labels are others."""
    if held.samples.shape[1:] != train.samples.shape[1:] or held.columns != train.columns:
        raise DataError(f"{held.name}: held-out samples are of another shape")
    if held.stored_range != train.stored_range:
        raise DataError(f"{held.name}: held-out samples are of another range of values")
    if bool(held.label_names) != bool(train.label_names):
        raise DataError(f"{held.name}: held-out samples have {'' if held.label_names else 'no '}labels")
    strange = sorted(set(held.label_names) - set(train.label_names))
    if strange and all(name.isdecimal() for name in (*held.label_names, *train.label_names)):  # 00007 is 7
        known = {int(name): name for name in train.label_names}
        names = [known.get(int(name), name) if name in strange else name for name in held.label_names]
        held = replace(held, label_names=names)
        strange = sorted(set(names) - set(train.label_names))
    if strange:
        raise DataError(f"{held.name}: held-out samples have labels that the others lack, such as {strange[0]}")
    if sorted(held.condition_names) != sorted(train.condition_names):
        raise DataError(f"{held.name}: held-out samples have other conditions")
    if held.conditions is not None:
        held = replace(held, conditions=held.conditions.in_order(train.condition_names))
    if held.label_names == train.label_names:
        return held
    places = np.array([train.label_names.index(name) for name in held.label_names], np.int64)
    return replace(held, labels=places[held.labels], label_names=train.label_names)


def rows(labels: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Which samples are held out, ascending: of each label as large a share as of the others, by chance. None where
    there are too few."""
    count = max(LEAST, round(share * len(labels)))
    if not share > 0 or count > MOST * len(labels):
        return np.zeros(0, np.int64)
    order = np.random.default_rng(0).permutation(len(labels))
    place = np.empty(len(labels))  # in the order of their own label, in (0, 1)
    for label in np.unique(labels):
        own = order[labels[order] == label]
        place[own] = (np.arange(len(own)) + 0.5) / len(own)
    return np.sort(order[np.argsort(place[order], kind="stable")[:count]])
