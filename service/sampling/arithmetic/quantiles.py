"""A part of a latent as standard normal numbers, whatever its prior and its truncation, and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from latentserve.service.bundle import LatentPart

Floats = NDArray[np.float64]

_LEAST, _LARGEST = 2.0**-54, 1 - 2.0**-53  # as probabilities of latents are drawn


def normal_of(part: LatentPart, z: NDArray[np.float32], truncation: float) -> Floats:
    """What columns z of a part were, had it been drawn from a standard normal prior: float64 of the same shape. A
    value that the prior cannot give is taken as the nearest one that it can. `truncation` is the request's."""
    unit = (z.astype(np.float64) - part.shift) / part.scale
    truncation *= part.truncation
    if part.prior == "normal":
        if truncation == 1:
            return unit
        u = ndtr(unit)
    else:
        u = (unit + 1) / 2
    return np.asarray(ndtri(np.clip(0.5 + (u - 0.5) / truncation, _LEAST, _LARGEST)))


def column_of(part: LatentPart, normal: Floats, truncation: float) -> NDArray[np.float32]:
    """The reverse: columns of the part, float32."""
    truncation *= part.truncation
    if part.prior == "normal" and truncation == 1:
        unit = normal
    else:
        u = 0.5 + truncation * (np.clip(ndtr(normal), _LEAST, _LARGEST) - 0.5)
        unit = ndtri(u) if part.prior == "normal" else 2 * u - 1
    return (part.scale * unit + part.shift).astype(np.float32)
