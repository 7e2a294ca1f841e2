"""A generator's graph with a bundle's inputs, for any number of rows, shown to give what the file gives."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from latentserve.service.bundle import Inputs
from latentserve.service.errors import BundleError
from latentserve.service.packing.foreign.adapt import adapt_inputs
from latentserve.service.packing.foreign.batchwise import batchwise, is_coarse
from latentserve.service.packing.foreign.fixed_batch import in_blocks, set_free
from latentserve.service.packing.foreign.original import Original, draw_rows
from latentserve.service.packing.foreign.understood import Understood
from latentserve.service.packing.probes import DEPENDENT
from latentserve.service.packing.spans import share_off

_ROUNDED = 2e-3  # of the span, root mean square of a row: further off, float32 is not what made it
_EXACT = 2e-5  # the same of graphs with operators that go over rows
_ALONE, _SECONDS = 8, 5.0  # rows that are run alone, and how long they may take
_SAME = 1e-3  # of the span, root mean square of a row: further off, a graph that was set free computes something else


def for_any_rows(
    found: Understood, source: str, labels: int, say: Callable[[str], None]
) -> tuple[onnx.ModelProto, list[str]]:
    """The graph with a bundle's inputs, of any number of rows; and where it runs so many of them at a time, what that
    costs. `labels`: how many there are. Raises BundleError: it is too old to be run so."""
    model, signature, batch = found.model, found.signature, found.batch
    if batch is None:
        adapt_inputs(model, signature)
        return model, []
    free = set_free(model, batch)
    if (off := _differs(found.original, free, source, labels)) is not None:
        say(f"batch: {batch} in the file; set free, it gives the same rows (off by {off:.2g} of their span)")
        adapt_inputs(free, signature)
        return free, []
    adapt_inputs(model, signature, batch)
    cost = f"in blocks of {batch}, and a single row costs as much as {batch}"
    if batch == 1:
        cost = "one by one, and a large batch is no cheaper a row"
    try:
        wrapped = in_blocks(model, batch)
    except BundleError as error:
        raise BundleError(f"{source}: {error}") from None
    return wrapped, [
        f"the graph takes {batch} row{'s' * (batch > 1)} at a time, and fails or gives others for any other number: "
        f"rows run {cost}; export it with a dynamic batch if that is too slow"
    ]


def alone_and_together(original: Original, source: str, inputs: Inputs) -> NDArray[Any]:
    """What the file gives for these rows. Raises BundleError: a row is another beside others."""
    rows = original.rows(inputs)
    why = batchwise(original.model)
    share = DEPENDENT if is_coarse(original.model) else _ROUNDED if why is None else _EXACT
    bound = share * float(np.ptp(rows.astype(np.float64)))
    vectors = rows.ndim in (2, 3) and rows.dtype.kind == "f"
    until = time.monotonic() + _SECONDS
    for place in range(_ALONE):
        # The first with the second, then each alone, of which all but the first were run among others.
        taken = slice(0, 2) if place == 0 else slice(place, place + 1)
        few = original.run(inputs.take(taken))
        off = _off(few, rows[taken].astype(np.float64))
        if off > bound or (vectors and share_off(few, rows[taken], rows) > DEPENDENT):
            raise BundleError(
                f"{source}: a row's sample is another alone than in a batch (off by {off:.3g}, root mean square); rows "
                f"must not depend on their batch{'' if why is None else f'. {why}'}"
            )
        if place + 1 >= len(rows) or time.monotonic() > until:
            break
    return rows


def _differs(original: Original, free: onnx.ModelProto, source: str, labels: int) -> float | None:
    """How far rows of a graph that was set free are from the original's, root mean square, as a share of their span;
    None: too far, or it does not run."""
    batch = original.batch or 1
    inputs = draw_rows(original.signature, batch + 2, labels)
    wanted = original.run(inputs).astype(np.float64)
    span = float(np.ptp(wanted)) or 1.0
    try:
        freed = Original(free, source, original.signature, None)
        made = [freed.run(inputs.take(slice(0, size))) for size in (1, batch + 2)]
    except BundleError:
        return None
    worst = max(_off(rows, wanted[: len(rows)]) for rows in made) / span
    columns = max(share_off(rows, wanted[: len(rows)], wanted) for rows in made)
    most = _SAME if batchwise(free) is None else _EXACT
    return worst if worst <= most and (wanted.ndim not in (2, 3) or columns <= DEPENDENT) else None


def _off(rows: NDArray[np.generic], wanted: NDArray[np.float64]) -> float:
    if rows.shape != wanted.shape:
        return np.inf
    return float(np.sqrt(((rows.astype(np.float64) - wanted) ** 2).reshape(len(rows), -1).mean(axis=1)).max())
