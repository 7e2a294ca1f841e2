"""What it costs to draw a generator's noise for each row."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from latentserve.service.bundle import Inputs
from latentserve.service.packing.foreign.original import Original
from latentserve.service.sampling.latents import Span, draw_noise_of

_MUCH = 4096  # numbers a row: the time that fewer take is nobody's matter
_TRY_SECONDS, _LEAST_TRIES = 0.1, 3


def noise_cost(original: Original, inputs: Inputs) -> str | None:
    """What is to be said of noise that takes longer to draw than half of what the network takes."""
    latent = original.signature.latent
    numbers = latent.dim - latent.width
    rows = original.batch or 1
    if numbers < _MUCH:
        return None
    drawing = _seconds(lambda: draw_noise_of(latent, [Span(0, 0, rows)])) / rows
    running = _seconds(lambda: original.run(inputs.take(np.arange(rows) % len(inputs.z)))) / rows
    if drawing < running / 2:
        return None
    return (
        f"noise: {numbers:,} numbers a row take {drawing * 1e3:.2g} ms to draw, and the network {running * 1e3:.2g} ms "
        "on this processor; --noise constant draws them once for all rows"
    )


def _seconds(act: Callable[[], object]) -> float:
    """How long it takes, at best: what is short is tried often, for others may have the processor meanwhile."""
    best, tries, end = math.inf, 0, time.perf_counter() + _TRY_SECONDS
    while tries < _LEAST_TRIES or time.perf_counter() < end:
        began = time.perf_counter()
        act()
        best, tries = min(best, time.perf_counter() - began), tries + 1
    return best
