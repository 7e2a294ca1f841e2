"""Samples that are sent to be scored: in arrays where they are numbers, else in JSON, a part at a time."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from latentserve.service.client.rows import Samples
from latentserve.service.client.server import ServerError
from latentserve.service.errors import one_line

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]
    from PIL.Image import Image

    Scored: TypeAlias = Samples | NDArray[Any] | pandas.DataFrame | Sequence[Image] | Sequence[Any]

_ARRAY_BYTES = 8 << 20  # of a part: half of what a server takes
_JSON_BYTES = 1 << 19  # likewise, of JSON
_EACH = ("labels", "conditions")  # that there is one of a sample


def with_what_is_known(samples: Scored, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, and of rows of a server what they were made for, unless that is said."""
    known = {name: value for name, value in fields.items() if value is not None}
    if isinstance(samples, Samples):
        if samples.labels is not None and "label" not in known:
            known.setdefault("labels", samples.labels)
        if samples.conditions is not None and "condition" not in known:
            known.setdefault("conditions", samples.conditions)
        known.setdefault("model", samples.model)
    return known


def scored_parts(samples: Scored, fields: Mapping[str, Any], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The fields of one request after the other, each with its own samples, labels and conditions: all of them arrays,
    or none. `names` are those of the model's conditions, in order. Raises ServerError."""
    rows = _rows(samples)
    each = {name: fields[name] for name in _EACH if name in fields}
    if isinstance(rows, np.ndarray):
        each = {name: _as_array(values, names) for name, values in each.items()}
    else:
        each = {name: _as_list(values, names) for name, values in each.items()}
    for name, values in each.items():
        if len(values) != len(rows):
            raise ServerError(f"{name}: there are {len(values)}, and {len(rows)} samples")
    start = 0
    for stop in _stops(rows):
        of_each = {name: values[start:stop] for name, values in each.items()}
        yield {**fields, **of_each, "samples": rows[start:stop]}
        start = stop


def _as_array(values: Any, names: Sequence[str]) -> NDArray[Any]:
    """Labels, or conditions by their places: what an object of these leaves out is NaN."""
    if len(values) and isinstance(values[0], Mapping):
        return np.array([[one.get(name, np.nan) for name in names] for one in values], np.float64)
    return np.asarray(values)


def _as_list(values: Any, names: Sequence[str]) -> list[Any]:
    """Labels, or conditions by their names."""
    if isinstance(values, np.ndarray) and values.ndim > 1:
        return [dict(zip(names, row, strict=False)) for row in values.tolist()]
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


def _rows(samples: Scored) -> NDArray[Any] | list[Any]:
    if isinstance(samples, Samples):
        return samples.array
    if hasattr(samples, "to_json"):  # a data frame: as JSON has its values, by column
        found: list[Any] = orjson.loads(samples.to_json(orient="records", double_precision=15))
        return found
    if isinstance(samples, np.ndarray):
        return samples
    return [_png(one) if hasattr(one, "save") else one for one in samples]


def _png(image: Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _stops(rows: NDArray[Any] | list[Any]) -> Iterator[int]:
    """Where parts end."""
    count = len(rows)
    if isinstance(rows, np.ndarray):
        each = max(1, _ARRAY_BYTES // max(1, rows[:1].nbytes))
        yield from range(each, count, each)
    else:
        size = 0
        for at, row in enumerate(rows):
            try:
                size += len(orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY)) + 1
            except TypeError as error:
                raise ServerError(f"samples[{at}] cannot be sent: {one_line(error)}") from None
            if size > _JSON_BYTES and at:
                yield at
                size = 0
    yield count
