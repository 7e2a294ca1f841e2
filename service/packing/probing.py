"""Rows of a graph that is not known yet: enough to judge what samples are, over all its labels and conditions."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Condition, Inputs, Latent
from latentserve.service.errors import BundleError, one_line
from latentserve.service.packing.progress import Progress
from latentserve.service.sampling.latents import draw_conditions, draw_latents
from latentserve.service.sampling.memory import rows_that_fit

_SEED = 0
_ROWS = 256  # at least, and one a label, where there is room and time
_MOST_ROWS = 1024
_BYTES = 64 << 20  # of rows that are kept
_LEAST_ROWS = 4
_SECONDS = 60.0


def probe_rows(
    run: Callable[[Inputs], NDArray[Any]],
    source: str,
    latent: Latent,
    labels: int | None = None,
    conditions: Sequence[Condition] | None = None,
    at_once: int | None = None,
) -> NDArray[Any]:
    """Rows [n, ...] of a graph, for latents and conditions from their priors (the ends of all conditions' ranges among
    them) and labels in turn.

    `run` gives the rows of inputs, in a session in which no call was made yet. How many are run at once and kept is
    bounded by memory and time; `at_once` tells the former, where `run` is slow. Raises BundleError naming `source`: it
    does not run, gives another number of rows than it is asked for, or values that are not finite.
    """
    wanted = max(_ROWS, min(labels or 0, _MOST_ROWS))

    def inputs(start: int, rows: int) -> Inputs:
        condition = None
        if conditions is not None:
            condition = draw_conditions(latent, conditions, _SEED, start, rows)
            if start == 0:
                condition[:2] = np.array([one.range for one in conditions], np.float32).T[:rows]
        # Of more labels than rows, some from everywhere.
        label = None if labels is None else np.arange(start, start + rows) * max(1, labels // wanted) % labels
        return Inputs(draw_latents(latent, _SEED, start, rows), label, condition)

    def checked(rows: int, start: int = 0) -> NDArray[Any]:
        try:
            made = run(inputs(start, rows))
        except BundleError:
            raise
        except Exception as error:
            raise BundleError(f"{source}: does not run on a batch of latents ({one_line(error)})") from None
        if not isinstance(made, np.ndarray) or made.ndim < 1 or len(made) != rows:
            given = list(getattr(made, "shape", []))
            raise BundleError(f"{source}: gives samples of shape {given} for {rows} latents; one a latent is needed")
        if not made.size:
            raise BundleError(f"{source}: gives samples of shape {list(made.shape[1:])}, which hold no numbers")
        if made.dtype.kind not in "fiub":
            raise BundleError(f"{source}: gives samples of type {made.dtype}; numbers are needed")
        if not np.isfinite(made).all():
            raise BundleError(f"{source}: gives values that are not finite for latents from the prior")
        return made

    batch = rows_that_fit(checked, _ROWS) if at_once is None else at_once
    first = checked(1)
    wanted_rows = max(_LEAST_ROWS, min(wanted, _BYTES // max(1, first.nbytes)))
    progress = Progress("probing", wanted_rows, _SECONDS)
    until = time.monotonic() + _SECONDS
    parts: list[NDArray[Any]] = []
    made = 0
    while made < wanted_rows and (made < _LEAST_ROWS or time.monotonic() < until):
        count = min(batch, wanted_rows - made)
        parts.append(checked(count, made))
        if other := other_shapes([first, parts[-1]]):
            raise BundleError(f"{source}: {other}")
        made += count
        progress.at(made)
    return np.concatenate(parts)


def other_shapes(parts: Sequence[NDArray[Any]]) -> str | None:
    """What is to be said of rows [n, ...] of several runs that are not of one shape; None: they are."""
    shapes = {part.shape[1:]: None for part in parts}
    if len(shapes) == 1:
        return None
    one, other = (list(shape) for shape in list(shapes)[:2])
    return f"gives samples of shape {one} for some latents and {other} for others; export it with one length for all"
