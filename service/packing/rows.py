"""The generator's own samples by the hundred thousand, looked at batch by batch and not kept."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Bundle, Inputs
from latentserve.service.cores import whole_cores
from latentserve.service.packing.progress import Progress
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.latents import DRAWN_BYTES
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.watching import given as expectations
from latentserve.service.watching.feature_space import FeatureMap, FeatureSpace, compressed
from latentserve.service.watching.given import GivenConditions
from latentserve.service.watching.signals import CRITIC_SCORE, sample_signals
from latentserve.service.watching.spots import MOST_ROWS, PLACES, Spots

REFERENCE_SEED = 1

_BATCH = 256
_FEW = 32  # samples to judge distances by
_BATCH_BYTES = 32 << 20
_LESSON, _LESSON_SECONDS = 1 << 42, 10.0  # rows of the seed, out of the reference's way, on what conditions do
_FEATURE_BYTES = 256 << 20  # of all features that are kept

Singles = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """What is kept of n samples: signals float64 [n] by name, labels int64 [n] or None, and features float32 [m, d] of
    the first m <= n of them."""

    signals: dict[str, NDArray[np.float64]]
    labels: Labels | None
    features: Singles
    seconds: float

    def __len__(self) -> int:
        return len(next(iter(self.signals.values())))

    def take(self, rows: NDArray[np.intp]) -> Rows:
        """Only these rows, ascending."""
        return Rows(
            {name: values[rows] for name, values in self.signals.items()},
            None if self.labels is None else self.labels[rows],
            self.features[rows[rows < len(self.features)]],
            self.seconds,
        )


class Drawer:
    """Draws rows of a bundle's generator on all cores (or the GPU), and looks at them."""

    def __init__(self, bundle: Bundle) -> None:
        self._manifest = bundle.manifest
        self._engine = Engine(bundle, "auto", threads=whole_cores(), max_batch=_BATCH)
        size = 4 * math.prod(bundle.manifest.sample.shape) + DRAWN_BYTES * bundle.manifest.latent.dim
        self.batch = min(self._engine.max_batch, max(1, _BATCH_BYTES // size))
        self.space = self._settle(bundle)
        self._map: FeatureMap = self.space.mapper(bundle.manifest.sample, bundle.manifest.conditions)

    def draw(
        self,
        n: int,
        offset: int,
        seconds: float,
        truncation: float = 1.0,
        labels: int | None = None,
    ) -> Rows:
        """Rows `offset` to `offset + n - 1` of the reference's seed, as many as there is time for. Their labels are
        drawn from the prior; or take turns, of `labels`."""
        began = time.monotonic()
        signals: dict[str, list[NDArray[np.float64]]] = {}
        features: list[Singles] = []
        asked: list[Labels] = []
        made = kept = 0
        progress = Progress(f"reference, truncation {truncation:g}", n, seconds)
        while made < n and (made == 0 or time.monotonic() - began < seconds):
            count = min(self.batch, n - made)
            turns = None if labels is None else np.arange(made, made + count) % labels
            inputs = self._inputs(count, offset + made, truncation, turns)
            samples, columns = self._run(inputs)
            score, of_critic = self._engine.criticise(samples, inputs) if self._engine.has_critic else (None, None)
            for name, values in sample_signals(samples, self._manifest.sample, columns).items():
                signals.setdefault(name, []).append(values)
            if score is not None:
                signals.setdefault(CRITIC_SCORE, []).append(score.astype(np.float64))
            if kept < _FEATURE_BYTES:
                features.append(self._map.features(samples, of_critic, inputs.condition))
                kept += features[-1].nbytes
            if inputs.label is not None:
                asked.append(inputs.label)
            made += count
            progress.at(made)
        return Rows(
            {name: np.concatenate(parts) for name, parts in signals.items()},
            np.concatenate(asked) if asked else None,
            np.concatenate(features),
            time.monotonic() - began,
        )

    def samples(self, n: int, offset: int) -> Singles:
        """Samples float32 [n, *shape] of one batch."""
        return self._engine.generate(self._inputs(n, offset))

    def unconditioned(self, n: int, offset: int) -> Singles:
        """Features float32 [n, d] of rows as if their conditions were not known, as those of real samples are."""
        starts = range(0, n, self.batch)
        parts = [self.features(self.samples(min(self.batch, n - start), offset + start)) for start in starts]
        return np.concatenate(parts)

    def features(self, samples: Singles) -> Singles:
        """Features float32 [n, d] of samples that are there already, whatever their labels and conditions."""
        parts: Iterable[Singles] = np.array_split(samples, -(-len(samples) // self.batch))
        any_inputs = self._inputs(self.batch, 0, labels=np.zeros(self.batch, np.int64))
        looked = []
        for part in parts:
            asked = any_inputs.take(slice(len(part)))
            of_critic = self._engine.criticise(part, asked)[1] if self._engine.has_critic else None
            looked.append(self._map.features(part, of_critic))
        return np.concatenate(looked)

    def spots(self, seconds: float) -> Spots:
        """Of as many rows as there is time for, a batch at the least; at the values that vary most among so many that
        are spread over the sample. Some are made again in other batches, to see how far these are off."""
        began = time.monotonic()
        size = math.prod(self._manifest.sample.shape)
        blank = Spots(np.arange(0), np.zeros((MOST_ROWS, 0), np.float32), 0.0)

        def samples(start: int, count: int) -> Singles:
            request = blank.request(self._manifest, start, count)
            return self._engine.generate(request.inputs(self._manifest, 0, count)).reshape(count, -1)

        first = samples(0, self.batch)
        spread = np.unique(np.linspace(0, size - 1, min(size, 16 * PLACES)).astype(np.int64))
        most = np.argsort(-first[:, spread].std(axis=0), kind="stable")[:PLACES]
        places = np.sort(spread[most])
        found = [first[:, places]]
        made = len(first)
        while made < MOST_ROWS and time.monotonic() - began < seconds:
            found.append(samples(made, min(self.batch, MOST_ROWS - made))[:, places])
            made += len(found[-1])
        spots = Spots(places, np.concatenate(found), 0.0)
        off = 0.0
        for start in range(0, min(made, 4 * self.batch), 7):
            again = samples(start, min(7, made - start))
            off = max(off, float(spots.off(again, start).max()))
            if time.monotonic() - began > 2 * seconds:
                break
        return replace(spots, measured=off)

    def _inputs(self, n: int, offset: int, truncation: float = 1.0, labels: Labels | None = None) -> Inputs:
        request = RowsRequest(n=n, seed=REFERENCE_SEED, offset=offset, truncation=truncation, labels=labels)
        return request.inputs(self._manifest, 0, n)

    def _run(self, inputs: Inputs) -> tuple[Singles, Singles | None]:
        """Samples, and their signals where the served graph computes them."""
        if "signals" not in self._engine.outputs:
            return self._engine.generate(inputs), None
        samples, columns = self._engine.run(inputs, ("sample", "signals"))
        return samples, columns

    def _settle(self, bundle: Bundle) -> FeatureSpace:
        """The critic's features where they are of use, else random ones; less what is expected by the conditions."""
        golden, spec, conditions = bundle.golden, bundle.manifest.sample, bundle.manifest.conditions
        space = None
        if self._engine.has_critic:
            asked = golden.inputs, golden.inputs.take(np.roll(np.arange(len(golden.z)), 1))
            of_critic, relabelled = (self._engine.criticise(golden.sample, inputs)[1] for inputs in asked)
            if of_critic is not None and relabelled is not None:
                space = FeatureSpace.of_critic(of_critic, relabelled)
        if conditions is None:
            return space or FeatureSpace.of_samples(self._some(golden.sample), spec)
        values, condition = self._lesson(critic=space is not None)
        common = space is None and spec.kind != "table"
        given = GivenConditions.fit(values, condition, conditions, common=common)
        if space is not None:
            return replace(space, given=given)
        values, condition = values[:_BATCH], condition[:_BATCH]
        if given is not None:
            values = given.standardised(values, condition, conditions)
        elif len(values) < _FEW:
            values = np.concatenate([compressed(golden.sample, spec), values])
        return FeatureSpace.of_values(values, spec, given)

    def _lesson(self, *, critic: bool) -> tuple[NDArray[np.float64], Singles]:
        """Values float64 [n, d] of rows, or what the critic sees in them, and their conditions float32 [n, k]: as many
        as there is time for."""
        began = time.monotonic()
        values: list[NDArray[np.float64]] = []
        asked: list[Singles] = []
        made = 0
        while made < expectations.ROWS and (made == 0 or time.monotonic() - began < _LESSON_SECONDS):
            inputs = self._inputs(min(self.batch, expectations.ROWS - made), _LESSON + made)
            samples = self._engine.generate(inputs)
            if critic:
                features = self._engine.criticise(samples, inputs)[1]
                assert features is not None  # noqa: S101, it gave some of the golden samples
                values.append(features.reshape(len(features), -1).astype(np.float64))
            else:
                values.append(compressed(samples, self._manifest.sample))
            assert inputs.condition is not None  # noqa: S101, only a model with conditions has something to learn
            asked.append(inputs.condition)
            made += len(samples)
        return np.concatenate(values), np.concatenate(asked)

    def _some(self, golden: Singles) -> Singles:
        """Samples that distances can be judged by: of very large ones a batch is too few, and the golden are added."""
        samples = self.samples(self.batch, 0)
        return samples if self.batch >= _FEW else np.concatenate([golden, samples])
