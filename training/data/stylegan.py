"""Labels of pictures as StyleGAN's `dataset_tool.py` writes them, in a `dataset.json`."""

import json
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from latentserve.service.errors import one_line
from latentserve.training.data.conditions import LEAST_RANGE, MOST, Conditions
from latentserve.training.data.folders import LabelledFiles
from latentserve.training.data.naming import plainly
from latentserve.training.errors import DataError


def labels_of(found: LabelledFiles, file: PurePosixPath) -> tuple[LabelledFiles, Conditions | None]:
    """The files with the labels or the numbers that a file says: `{"labels": [["00000/img00000000.png", 6], ...]}`,
    each a class or a list of numbers; or null. Folders are shards. Raises DataError naming the file."""
    path = found.listing.name(file)
    try:
        with found.listing.open(file) as opened:
            said = json.load(opened)
        listed: Any = said["labels"] if isinstance(said, dict) else None
        pairs = listed.items() if isinstance(listed, dict) else listed
        labels = None if listed is None else {plainly(name): label for name, label in pairs}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: not as StyleGAN's dataset_tool.py writes it: {one_line(error)}") from None
    plain = replace(found, labels=np.zeros(len(found.files), np.int64), label_names=[])
    if labels is None:
        return replace(plain, notes=(f"{file} has no labels, and folders are shards",)), None
    try:
        values = [labels[plainly(one.relative_to(file.parent))] for one in found.files]
    except KeyError as error:
        raise DataError(f"{path}: no label for {error.args[0]}") from None
    except ValueError:
        raise DataError(f"{path}: names pictures from where it lies on, and others lie elsewhere") from None
    try:
        vectors = np.array(values, np.float32)
    except (ValueError, TypeError):
        vectors = np.zeros((0, 0, 0), np.float32)
    whole = all(type(value) is int for value in values)
    one_hot = vectors.ndim == 2 and ((vectors == 0) | (vectors == 1)).all() and (vectors.sum(axis=1) == 1).all()
    if whole or one_hot:
        known, places = (
            np.unique(values, return_inverse=True) if whole else (range(vectors.shape[1]), vectors.argmax(1))
        )
        names = [str(value) for value in known]
        said_so = (f"labels are those of {file}",)
        return replace(plain, labels=places.astype(np.int64), label_names=names, notes=said_so), None
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise DataError(f"{path}: labels are neither whole numbers nor lists of as many numbers each")
    notes: list[str] = [f"numbers are those of {file}"]
    varied = np.flatnonzero(np.ptp(vectors, axis=0) >= LEAST_RANGE)[:MOST]
    if len(varied) < vectors.shape[1]:
        notes.append(f"left out: {vectors.shape[1] - len(varied)} numbers that are the same of all, or beyond {MOST}")
    known_by = [f"c{at}" for at in varied]
    conditions = Conditions(vectors[:, varied], known_by, [None] * len(varied)) if known_by else None
    return replace(plain, notes=tuple(notes)), conditions
