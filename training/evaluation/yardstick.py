"""Real samples in one feature space: what generated ones are measured by, and how real ones do, the floor."""

import numpy as np
from numpy.typing import NDArray

from latentserve.training.evaluation import kernel, neighbours
from latentserve.training.evaluation.features import FeatureSpace
from latentserve.training.evaluation.moments import moment_distances
from latentserve.training.evaluation.resampling import Floats, Measured, Resampling
from latentserve.training.evaluation.statistic import Statistic
from latentserve.training.evaluation.wasserstein import directions, some_columns, wasserstein_distance


class Yardstick:
    """Reference and held-out samples of one feature space, as many of each as there will be generated ones."""

    def __init__(
        self, space: FeatureSpace, reference: Floats, held: Floats, chances: tuple[Resampling, Resampling], split: str
    ) -> None:
        """
        Args:
            space: Where features come from.
            reference: Features [N, d] of the training part.
            held: Features [N, d] of the held-out part.
            chances: What resamples the reference, and what resamples generated samples.
            split: What the two parts are called.
        """
        self.space = space
        self._reference, self._chances, self._split = reference, chances, split
        self._kernel = kernel.Within(reference, chances[0])
        self._reaches = neighbours.both_reaches(reference)
        self.spread = float(reference.var(axis=0, ddof=1).sum())  # trace of the reference's covariance
        self._floors = {name: found.value for name, found in self._measure(held, resample=False)[0].items()}

    def measure(self, fake: Floats) -> tuple[list[Statistic], NDArray[np.bool_]]:
        """All statistics of features [N, d] of generated samples, and which reference samples they cover, [N]."""
        found, covered = self._measure(fake, resample=True)
        width = fake.shape[1]
        statistics = [
            Statistic(name, self.space.name, measured, self._floors[name], len(fake), self._split, {"width": width})
            for name, measured in found.items()
        ]
        return statistics, covered

    def _measure(self, fake: Floats, *, resample: bool) -> tuple[dict[str, Measured], NDArray[np.bool_]]:
        real, (of_real, of_fake) = self._reference, self._chances
        chances = self._chances if resample else None
        frechet, mahalanobis = moment_distances(real, fake, chances)
        between = kernel.block_sums(real, fake, of_real, of_fake)
        within = neighbours.within_reach(real, fake, self._reaches, neighbours.reaches(fake), of_real, of_fake)
        axes = directions(real.shape[1])
        found = {
            "frechet": frechet,
            "kernel": kernel.kernel_distance(self._kernel, kernel.Within(fake, of_fake), between),
            **within.measured(of_real, of_fake),
            "mahalanobis": mahalanobis,
            "sliced_wasserstein": wasserstein_distance(real @ axes, fake @ axes, chances),
        }
        if self.space.name in ("columns", "numbers", "spectra"):
            columns = some_columns(real.shape[1])
            found["column_wasserstein"] = wasserstein_distance(real @ columns, fake @ columns, chances)
        return found, np.logical_or.reduce(within.covered, axis=0)
