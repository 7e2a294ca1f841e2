"""Whether samples give away what was trained on: two measures, beside what real samples get in a generator's place.

*Distance to closest record* (Platzer & Reutterer 2021, Holdout-Based Empirical Assessment of Mixed-Type Synthetic
Data): of as many training records as held-out ones, the share of samples whose closest record is a training one. Half
where nothing was learnt by heart.

*Membership inference* by DOMIAS (van Breugel et al. 2023, Membership Inference Attacks against Synthetic Data through
Overfitting Detection): an attacker who has samples, and other real records of the same kind, takes a record for trained
on where p_G / p_R is large, the density of samples about it over that of those real records. Both densities are by the
distance to the nearest neighbour (Loftsgaarden & Quesenberry 1965), which needs no bandwidth, is found for columns of
any kind, and in high dimension: p_G / p_R grows as r_R / r_G does. Told by the area under the ROC curve, and by the
share that is recognised where one of a hundred others is mistaken (Carlini et al. 2022, Membership Inference Attacks
From First Principles, section 3).

Neither is a guarantee: other attacks may tell more.
"""

import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue

from latentserve.training.data import Dataset
from latentserve.training.data.dataset import CHUNK
from latentserve.training.evaluation.classifier import Told
from latentserve.training.evaluation.distances import squared_distances
from latentserve.training.evaluation.features import FeatureSpace, plain_space
from latentserve.training.evaluation.memorisation import memorisation
from latentserve.training.evaluation.reals import Reals
from latentserve.training.evaluation.resampling import Floats, Measured, Resampling
from latentserve.training.evaluation.statistic import Statistic
from latentserve.training.evaluation.subject import BATCH, Subject
from latentserve.training.evaluation.views import Samples, view_of

LEAST = 60  # real samples of either part
MOST = 10_000  # samples, and records of each kind, that are compared
ATTACKED = 4_000  # records of either kind that the attacker is asked about
SECONDS = 60.0  # for drawing samples for this alone
MISTAKEN = 0.01  # share of records that were not trained on, of which the attacker may be wrong

DCR, MEMBERSHIP = "dcr", "membership"
NAMES = (DCR, MEMBERSHIP)

_AT_ONCE = 500  # rows whose distances are held
_SAME = 1e-3  # of the usual distance between real records: what is nearer than that is one and the same


class _Records(NamedTuple):
    """Real records of one part, by what they are for: features float64 [n, d] each.

    Attributes:
        known: what samples are held against; those that the attacker is asked about come first.
        others: they play a generator that has not seen the known ones.
    """

    known: Floats
    others: Floats


@dataclass(frozen=True)
class _Found:
    """Of something that plays a generator."""

    closest: Measured
    membership: Measured
    recognised: float


def unmeasured(reals: Reals) -> str | None:
    """Why these say nothing of it; None where they do."""
    if not reals.unseen:
        return "no real samples are known that were not trained on"
    if (fewest := min(len(reals.train), len(reals.held))) < LEAST:
        return f"{fewest} real samples of a part are too few, of fewer than {LEAST}"
    return None


class PrivacyBaseline:
    """Records of both parts, and what real ones get in a generator's place."""

    def __init__(self, reals: Reals, space: FeatureSpace, told: Told = lambda _: None) -> None:
        """
        Args:
            reals: Of `LEAST` samples each, whose held-out part was not trained on.
            space: In which distances are taken.
            told: Of how many more statistics are known: both, twice.
        """
        self.space = space
        self._split = f"{reals.splits[0]}; floor: {reals.splits[1]}"
        third = min(len(reals.train), len(reals.held)) // 3
        count = self.attacked = min(third, ATTACKED)
        self._held = self._records(reals.held, count, min(third, MOST - count), seed=1)
        self._train = self._records(reals.train, count, min(third, MOST - count), seed=2)
        # The attacker's real records: held out, and not those that they are asked about.
        self._near_reals = _nearest(
            np.concatenate([self._train.known[:count], self._held.known[:count]]), self._held.known[count:]
        )[0]
        # Training records that are not among the known ones differ from held-out records as honest samples do, where
        # the parts are not quite alike.
        self._floor, self._honest = (self._of(part.others, told) for part in (self._held, self._train))

    def _records(self, part: Dataset, attacked: int, more: int, seed: int) -> _Records:
        rows = np.random.default_rng(seed).permutation(len(part))
        known = attacked + more
        step = max(1, CHUNK // (4 * part.samples[0].size))

        def features(of: NDArray[np.int64]) -> Floats:
            starts = range(0, len(of), step)
            return np.concatenate([self.features(part.take(of[start : start + step])) for start in starts])

        return _Records(features(rows[:known]), features(rows[known : known + MOST]))

    def features(self, samples: Samples) -> Floats:
        """Float64 [n, d] of samples [n, *shape], some at a time."""
        step = max(1, CHUNK // (4 * samples[0].size))
        starts = range(0, len(samples), step)
        return np.concatenate([self.space.of(samples[start : start + step], None, None) for start in starts])

    def measure(self, made: Floats, told: Told = lambda _: None) -> list[Statistic]:
        """Both statistics of features [n, d] of generated samples; it is told of how many more are known."""
        found = self._of(made, told)
        shared: dict[str, Any] = {"space": self.space.name}
        closest = {"training_rows": self._honest.closest.value, "records": 2 * len(self._train.known)}
        membership = {
            "training_rows": self._honest.membership.value,
            "attacked": 2 * self.attacked,
            "recognised": found.recognised,
            "recognised_floor": self._floor.recognised,
        }
        return [
            Statistic(name, None, measured, floor.value, len(made), self._split, shared | more)
            for name, measured, floor, more in (
                (DCR, found.closest, self._floor.closest, closest),
                (MEMBERSHIP, found.membership, self._floor.membership, membership),
            )
        ]

    def _of(self, made: Floats, told: Told) -> _Found:
        near = _nearest(np.concatenate([self._train.known[: self.attacked], self._held.known[: self.attacked]]), made)
        same = _SAME * float(np.median(self._near_reals)) or 1.0
        ratio = (near[0] + same) / (self._near_reals + same)
        trained_on, unseen = ratio[: self.attacked], ratio[self.attacked :]
        chances = Resampling.of(self.attacked, 3), Resampling.of(self.attacked, 2)
        bound = np.sort(unseen)[int(MISTAKEN * len(unseen))]
        recognised = float((trained_on < bound).mean())
        membership = memorisation(trained_on, unseen, chances)
        told(1)
        closest = self._closest(made)
        told(1)
        return _Found(closest, membership, recognised)

    def _closest(self, made: Floats) -> Measured:
        """Share of features [n, d] whose closest record is a training one. Of two at the same distance each counts
        half. It is resampled by records, with the samples that are closest to each: in many dimensions a few records
        are closest to many samples, and which of them are training ones is chance."""
        sides = self._train.known, self._held.known
        (of_train, train_row), (of_held, held_row) = (_nearest(made, side) for side in sides)
        share = np.where(of_train == of_held, 0.5, of_train < of_held)
        count = len(sides[0])
        taken = np.zeros((2, count))
        np.add.at(taken[0], train_row, share)
        np.add.at(taken[1], held_row, 1 - share)
        # Records of both kinds side by side, so that they are in each block.
        chances = Resampling.of(count, 4)
        trained_on, all_taken = chances.block_sums(taken[0]), chances.block_sums(taken.sum(axis=0))
        drawn = (chances.weights @ trained_on) / np.maximum(chances.weights @ all_taken, 1e-9)
        return Measured(float(share.mean()), drawn)


def _nearest(rows: Floats, among: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Of features [n, d] the distance [n] to the nearest of `among` [m, d], and which it is."""
    others = torch.from_numpy(among)
    parts = [
        squared_distances(torch.from_numpy(rows[start : start + _AT_ONCE]), others).argmin(dim=1).numpy()
        for start in range(0, len(rows), _AT_ONCE)
    ]
    nearest = np.concatenate(parts)
    # Once more for the one that was found: of equal rows a difference of squares is rarely exactly 0.
    return np.linalg.norm(rows - among[nearest], axis=1), nearest


def privacy_of(subject: Subject, reals: Reals) -> dict[str, JsonValue]:
    """What a manifest says of it: both statistics, of samples that are drawn for this alone, row by row of seed 0, as
    many as there is time for; or why there are none, as `unmeasured`."""
    if why := unmeasured(reals):
        return {"unmeasured": why}
    baseline = PrivacyBaseline(reals, plain_space(view_of(reals.train), reals.train))
    inputs = subject.inputs(MOST, 0)
    made: list[Floats] = []
    began = time.monotonic()
    for start in range(0, MOST, BATCH):
        made.append(baseline.features(subject.make(inputs.take(slice(start, start + BATCH)))))
        if time.monotonic() - began > SECONDS:
            break
    told: dict[str, JsonValue] = {}
    for statistic in baseline.measure(np.nan_to_num(np.concatenate(made))):
        kept = {key: value for key, value in statistic.to_json().items() if key != "features"}
        told[statistic.name] = kept | {"interval": list(statistic.interval or ()) or None}
    return told
