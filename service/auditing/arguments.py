"""All that rows depend on, beside their model, as a line of the account holds it: a request for rows -> JSON.

What is long is kept beside the lines, as a file that is named by its SHA-256, and the line holds that.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from latentserve.service.sampling.request import RowsRequest

LONG_BYTES = 1024  # of a list, in a line

Keep = Callable[[bytes, str], str]  # content and suffix -> its SHA-256

Arguments = dict[str, Any]


def arguments_of(request: RowsRequest, more: Mapping[str, Any] | None, keep: Keep) -> Arguments:
    """Of rows that are asked for. `more`: what else says which they are, where it is not the request alone; of rows
    worked out from others that is all.

    Raises what `keep` does.
    """
    told: Arguments = {}
    if request.derived:
        return {name: _short(value, keep) for name, value in (more or {}).items()}
    told["seed"] = request.seed  # of latents that were sent, too: labels and conditions are drawn by it
    told["offset"] = request.offset
    if request.latents is not None:
        told["latents"] = _array(request.latents, keep)
    elif request.truncation != 1:
        told["truncation"] = request.truncation
    if request.labels is not None:
        if _is_one(request.labels):
            told["label"] = int(request.labels[0])
        else:
            told["labels"] = _array(request.labels, keep)
    if request.conditions is not None:
        if _is_one(request.conditions):
            told["condition"] = _numbers(request.conditions[0])
        else:
            told["conditions"] = _array(request.conditions, keep)
    if request.deterministic:
        told["deterministic"] = True
    for name, value in (more or {}).items():
        told[name] = _short(value, keep)
    return told


def _is_one(rows: NDArray[Any]) -> bool:
    """Whether all rows are the same, because one was stated for all."""
    return len(rows) == 1 or rows.strides[0] == 0


def _numbers(row: NDArray[np.float32]) -> list[float | None]:
    """Those that are NaN were drawn."""
    return [None if np.isnan(value) else float(value) for value in row]


def _array(rows: NDArray[Any], keep: Keep) -> object:
    if rows.nbytes <= LONG_BYTES:
        return [_numbers(row) for row in rows] if rows.ndim > 1 else rows.tolist()
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(rows), allow_pickle=False)
    return {"sha256": keep(file.getvalue(), ".npy"), "rows": len(rows)}


def _short(value: object, keep: Keep) -> object:
    content = orjson.dumps(value)
    return value if len(content) <= LONG_BYTES else {"sha256": keep(content, ".json")}
