"""Staleness: how far the real data of today is from that of the export, and from what the generator makes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.watching.features import FeatureHead
from latentserve.service.watching.kernel import Distance, kernel_distance, permutation_p

LEAST_CHANCE = 1e-3  # of a division of the data as uneven as that into then and now
LEAST_DISTANCE = 0.0075  # what a shift of all features by a twentieth of their standard deviation makes: 3 * 0.05^2

_LEAST = 4  # rows that can be halved, and have a distance

Singles = NDArray[np.float32]


@dataclass(frozen=True)
class Staleness:
    """Kernel distances over standardised features, each with its 95 % interval.

    Attributes:
        samples: real ones of today that were looked at.
        from_reference: of today's real data from that of the export.
        from_generator: of today's real data from the generator's samples; None where these are not finite.
        halves: of one random half of the export's real data from the other: what no distance at all looks like.
        chance: of a permutation test that today's real data is that of the export.
    """

    samples: int
    from_reference: Distance
    from_generator: Distance | None
    halves: Distance
    chance: float

    @classmethod
    def of(cls, head: FeatureHead, today: Singles, stored: Singles, generated: Singles) -> Staleness:
        """From features float32 [n, d] of each kind, _LEAST rows or more of real data."""
        now, then, made = (head.standardised(features) for features in (today, stored, generated))
        made = made[np.isfinite(made).all(axis=1)]
        mixed = np.random.default_rng(0).permutation(then)
        return cls(
            len(now),
            kernel_distance(now, then),
            kernel_distance(now, made) if len(made) >= _LEAST else None,
            kernel_distance(*np.array_split(mixed, 2)),
            permutation_p(now, then),
        )

    @property
    def moved(self) -> bool:
        """Whether the real data changed: chance gives such a difference once in a thousand times at the most, and its
        interval lies above what would matter. One that is certain and tiny is no reason to train again."""
        return self.chance <= LEAST_CHANCE and self.from_reference.low > LEAST_DISTANCE

    def numbers(self) -> dict[str, Any]:
        """All of it, for a verdict's evidence."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def __str__(self) -> str:
        value, low, high = self.from_reference
        return f"at a kernel distance of {value:.3g} ({low:.3g} to {high:.3g}) from that of the export"
