"""Reals that a run is judged by: the part of its data set that nobody trains on, where there is one."""

from collections.abc import Callable

import numpy as np

from latentserve.training.data import Dataset, Split
from latentserve.training.errors import DataError


def held_out(load: Callable[[Split], Dataset], dataset: Dataset) -> Dataset | None:
    """The data set's `test` part, or None where it has none, or one that looks otherwise.

    `load` reads a split; `dataset` is the other one, whose labels the part is given.
    """
    try:
        part = load("test")
    except DataError:
        return None
    if part.samples.shape[1:] != dataset.samples.shape[1:] or part.columns != dataset.columns:
        return None
    if part.label_names == dataset.label_names:
        return part
    if not set(part.label_names) <= set(dataset.label_names):
        return None
    places = np.array([dataset.label_names.index(name) for name in part.label_names], np.int64)
    labels = places[part.labels] if len(places) else part.labels
    return Dataset(part.name, part.samples, labels, dataset.label_names, part.kind, part.stored_range)
