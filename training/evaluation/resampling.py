"""How sure a number is: bootstrap draws that everything measured on the same rows shares.

Rows are resampled in at most 200 blocks of rows that lie side by side. They are independent, so blocks of them are, too
(Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 8), and sums over blocks are made once for all
draws. Two generators measured with the same draws are compared draw by draw: a paired bootstrap.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

DRAWS = 200
BLOCKS = 200
LEVEL = 0.95

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Resampling:
    """Draws of N rows in blocks.

    Attributes:
        rows: N.
        weights: float64 [DRAWS, G], how often each block is drawn.
    """

    rows: int
    weights: Floats

    @classmethod
    def of(cls, rows: int, seed: int) -> "Resampling":
        blocks = min(rows, BLOCKS)
        drawn = np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1 / blocks), DRAWS)
        return cls(rows, drawn.astype(np.float64))

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """First row of each block, int64 [G]."""
        blocks = self.weights.shape[1]
        return np.arange(blocks) * self.rows // blocks

    @cached_property
    def sizes(self) -> Floats:
        """Rows of each block, [G]."""
        return np.diff(self.starts, append=self.rows).astype(np.float64)

    @property
    def blocks(self) -> list[slice]:
        """The rows of each block."""
        return [slice(start, end) for start, end in pairwise([*self.starts.tolist(), self.rows])]

    @cached_property
    def per_row(self) -> Floats:
        """How often each row is drawn, float64 [DRAWS, N]."""
        return np.repeat(self.weights, self.sizes.astype(np.int64), axis=1)

    def block_sums(self, values: Floats) -> Floats:
        """Sums float64 [G, ...] over each block of values [N, ...]."""
        return np.add.reduceat(values, self.starts, axis=0)

    def means(self, values: NDArray[np.generic]) -> Floats:
        """Mean in each draw, float64 [DRAWS], of values [N]."""
        drawn: Floats = self.weights @ self.block_sums(values.astype(np.float64)) / (self.weights @ self.sizes)
        return drawn


@dataclass(frozen=True)
class Measured:
    """A number, and what it is in each bootstrap draw.

    Attributes:
        value: on the rows as they are.
        drawn: float64 [DRAWS]; None where resampling it would take too long.
    """

    value: float
    drawn: Floats | None = None

    def interval(self) -> tuple[float, float] | None:
        """The standard 95 % interval, 1.96 deviations of the draws about the value. Their mean has no say: rows drawn
        twice make distances between samples larger than they are, by the same in each draw."""
        if self.drawn is None:
            return None
        reach = float(ndtri((1 + LEVEL) / 2) * np.std(self.drawn, ddof=1))
        return self.value - reach, self.value + reach


def share(of: NDArray[np.generic], resampling: Resampling | None) -> Measured:
    """The mean of truths or numbers [N]."""
    return Measured(float(of.mean(dtype=np.float64)), None if resampling is None else resampling.means(of))
