"""Points of known mixtures of Gaussians: 8 on a ring and 25 on a grid, as they have been since VEEGAN.

"VEEGAN: Reducing Mode Collapse in GANs using Implicit Variational Learning" (Srivastava et al. 2017), section 4.1;
numbers from "PacGAN" (Lin et al. 2018), section 4.1. All of a mixture's Gaussians are alike and equally likely.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentserve.training.data.dataset import Dataset

POINTS = 100_000  # of either split

_SEEDS = {"train": 0, "test": 1}
_ANGLES = 2 * np.pi * np.arange(8) / 8
_TICKS = np.arange(-4, 5, 2)


class Mixture(NamedTuple):
    """Equally likely Gaussians in the plane: their means float64 [M, 2], and the standard deviation of each number."""

    means: NDArray[np.float64]
    std: float

    def draw(self, count: int, seed: int) -> NDArray[np.float32]:
        """Points float32 [count, 2]; the same seed draws the same."""
        rng = np.random.default_rng(seed)
        means = self.means[rng.integers(len(self.means), size=count)]
        return (means + self.std * rng.standard_normal((count, 2))).astype(np.float32)


MIXTURES = {
    "ring": Mixture(np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1), std=0.01),
    "grid": Mixture(np.stack(np.meshgrid(_TICKS, _TICKS), axis=-1).reshape(-1, 2).astype(np.float64), std=0.05),
}


def load(name: str, split: Literal["train", "test"]) -> Dataset:
    """Points of the mixture `name`, samples float32 [N, 2] without labels. No run draws its own: data have one name."""
    points = MIXTURES[name].draw(POINTS, _SEEDS[split])
    return Dataset(name, points, np.zeros(POINTS, np.int64), [], kind="array")
