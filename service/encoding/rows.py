"""Rows as documents take them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SampleArray = NDArray[np.float32] | NDArray[np.uint8]  # as they are, or 8-bit images already
Labels = NDArray[np.int64]
Conditions = NDArray[np.float32]
Numbers = NDArray[np.int64]


class Rows(NamedTuple):
    """Samples [n, *shape], and what is known of each.

    `labels` int64 [n] or None, `conditions` float32 [n, k] or None. `numbers` int64 [n]: which row of its seed each is;
    None: they follow one another.
    """

    samples: SampleArray
    labels: Labels | None = None
    conditions: Conditions | None = None
    numbers: Numbers | None = None
