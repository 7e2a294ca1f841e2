"""Data sets of the package `datasets`, where it is installed: `hf:NAME`, or `hf:NAME:CONFIGURATION`.

The package keeps them on disk and maps them; pictures are decoded once, of a table each different value is in memory.
"""

from pathlib import Path
from typing import Any

import numpy as np

from latentserve.service.errors import one_line
from latentserve.training.data import pictures
from latentserve.training.data.columns import Distinct, Read, arrow_column
from latentserve.training.data.dataset import Dataset, Split
from latentserve.training.data.reading import Reading
from latentserve.training.data.tables import table
from latentserve.training.errors import DataError

_PREFIX = "hf:"
_SPLITS: dict[Split, tuple[str, ...]] = {"train": ("train",), "test": ("test", "validation")}


def is_name(path: Path) -> bool:
    """Whether this is the name of such a data set rather than a path."""
    return str(path).startswith(_PREFIX)


def load(path: Path, split: Split, reading: Reading) -> Dataset:
    """A data set with a column of pictures, labelled by `label` or its column of classes; or a table.

    Raises DataError naming the data set and the column.
    """
    source = str(path)
    try:
        import datasets
    except ModuleNotFoundError:
        raise DataError(f"{source}: the package `datasets` is not installed: pip install datasets") from None
    name, _, configuration = source.removeprefix(_PREFIX).partition(":")
    try:
        parts = datasets.load_dataset(name, configuration or None)
        part = next((parts[known] for known in _SPLITS[split] if known in parts), None)
    except Exception as error:  # it fails in many ways, most of them of the network
        raise DataError(f"{source}: cannot be loaded: {one_line(error)}") from None
    if part is None:
        raise DataError(f"{source}: no part {' or '.join(_SPLITS[split])}; there are {', '.join(parts)}")
    if len(part) == 0:
        raise DataError(f"{source}: no rows")
    shown = next((key for key, kind in part.features.items() if isinstance(kind, datasets.Image)), None)
    stem = Path(name).name
    if shown is None:
        reading.refuse("a table", "size", "folders", "broken", "background")
        return table(stem, source, Read(_columns(part, source)), reading)
    classes = reading.label or next(
        (key for key, kind in part.features.items() if isinstance(kind, datasets.ClassLabel)), None
    )
    if classes is not None and not isinstance(part.features.get(classes), datasets.ClassLabel):
        raise DataError(f"{source}: column `{classes}` is none of classes")
    labels = np.zeros(len(part), np.int64) if classes is None else np.array(part[classes], np.int64)
    label_names = [] if classes is None else list(part.features[classes].names)
    if labels.min() < 0:
        raise DataError(f"{source}: row {int(labels.argmin())} has no label")
    names = [f"{source}, row {row}" for row in range(len(part))]
    files = [Path(file["filename"]) for file in part.cache_files]
    asked = {"hub": source, "column": shown, "rows": len(part)}
    made = pictures.decode(names, lambda row: part[row][shown], reading, files, asked)
    return Dataset(
        stem,
        made.samples,
        labels[made.rows],
        label_names,
        stored_range=pictures.STORED_RANGE,
        notes=pictures.told(made, reading),
        entry=made.entry,
    )


def _columns(part: Any, source: str) -> list[Distinct]:
    """The columns of a table, classes by their names."""
    whole = part.with_format("arrow")[:]
    columns = []
    for name, kind in part.features.items():
        column = arrow_column(whole[name], name, source)
        if hasattr(kind, "names"):
            values = [kind.names[at] if at in range(len(kind.names)) else None for at in column.values]
            column = Distinct(name, "string", values, column.places)
        columns.append(column)
    return columns
