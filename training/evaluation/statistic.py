"""One number of a report, with everything that is needed to read it."""

from dataclasses import dataclass, field
from typing import Any

from latentserve.training.evaluation.meanings import MEANINGS
from latentserve.training.evaluation.resampling import Measured


@dataclass(frozen=True)
class Statistic:
    """A number about generated samples, and the same number about real ones in their place.

    Attributes:
        name: what is measured: a key of `latentserve.training.evaluation.meanings.MEANINGS`.
        features: name of the feature space; None: it needs none.
        measured: of generated samples.
        floor: of held-out real samples in their place, as many; None: there are none.
        n: samples on each side.
        split: parts of the data that samples were held against, and that the floor is of.
    """

    name: str
    features: str | None
    measured: Measured
    floor: float | None
    n: int
    split: str
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Its name in report.json."""
        return self.name if self.features is None else f"{self.name}_{self.features}"

    @property
    def value(self) -> float:
        return self.measured.value

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of 95 %, as far as the number can be; None where nothing was resampled."""
        interval = self.measured.interval()
        if interval is None:
            return None
        least, most = MEANINGS[self.name].bounds
        return max(least, interval[0]), min(most, interval[1])

    def to_json(self) -> dict[str, Any]:
        """What report.json says of it."""
        return {
            "value": self.value,
            "floor": self.floor,
            "interval": self.interval,
            "n": self.n,
            "features": self.features,
            "split": self.split,
            **self.more,
        }
