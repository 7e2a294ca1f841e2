"""Looking at a run from outside: it changes no weight, draws nothing by chance, and costs some per cent of a tick."""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentserve.training.data import Dataset
from latentserve.training.recipe.config import Config
from latentserve.training.watching import statistics
from latentserve.training.watching.space import Labels, Samples, Space

ROWS = 512  # samples that are compared once a tick, and as many reals
REFERENCE = 2_048  # reals that they are compared with, at the most
NUMBERS = 1 << 24  # in the samples that are kept to compare with
LEAST = 32  # below, no distance means anything

Right = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
See = Callable[[Samples], Samples]


class Watch:
    """Fixed latents, reals that are held out, and the fixed space they are compared in.

    Reals are held out where the data set has a part for that. Where it has none, samples are compared with reals that
    the critic is shown, and what needs unseen ones is not reported.
    """

    def __init__(
        self, config: Config, dataset: Dataset, held_out: Dataset | None, see: See = lambda rows: rows
    ) -> None:
        """`held_out` has samples and labels like those of `dataset`; `see` makes of them what networks see."""
        self._held_out = held_out is not None
        others = dataset if held_out is None else held_out
        kinds = len(dataset.label_names)
        most = NUMBERS // math.prod(others.samples.shape[1:])
        rows = np.random.default_rng(0).permutation(len(others))[: min(ROWS + REFERENCE, max(4 * LEAST, most))]
        reals = see(others.take(rows))
        whole = np.isfinite(reals).reshape(len(reals), -1).all(axis=1)
        rows, reals = rows[whole], reals[whole]
        self.rows = min(ROWS, len(rows) // 2) // config.packing * config.packing
        self.labels = others.labels[rows[: self.rows]]
        if self.rows < LEAST:
            self.labels = np.arange(20 * max(1, kinds)) % max(1, kinds)
        self._reals = reals[: self.rows]
        self._latents = np.random.default_rng(config.seed).standard_normal(
            (len(self.labels), config.latent), np.float32
        )
        self._part = config.batch // config.accumulate
        self._space: Space | None = None
        self._floor, self._floor_deviation = math.nan, math.nan
        some = statistics.some_of_each(dataset.labels)
        self._real_spread = statistics.spread(see(dataset.take(some)), dataset.labels[some])
        if self.rows >= LEAST:
            rest = slice(self.rows, None)
            self._space = Space(reals[rest], others.labels[rows[rest]], kinds, standardise=dataset.kind != "image")
            self._floor, self._floor_deviation = self._space.floor(reals, others.labels[rows], self.rows)

    @torch.no_grad()
    def look(
        self, critic: nn.Module, average: nn.Module, right: Right, shown: Samples, labels: Labels
    ) -> dict[str, float]:
        """What there is to say of the averaged generator and of the critic.

        `latentserve.training.reporting.report.Stats` says what each means.

        Args:
            critic: As it stands.
            average: The averaged generator.
            right: The loss's `right`.
            shown: Reals that the critic was shown last, [rows, ...].
            labels: Theirs.
        """
        fakes = self._through(average, self._latents, self.labels)[0]
        some = statistics.some_of_each(self.labels)
        told = {"diversity": statistics.diversity(fakes.numpy()[some], self.labels[some], self._real_spread)}
        if self._space is None:
            return told
        told["frechet"] = self._space.distance(fakes.numpy(), self.labels)
        told["frechet_floor"], told["frechet_floor_deviation"] = self._floor, self._floor_deviation
        told["real_frechet"] = self._space.distance(shown, labels)
        real_score, real_features = self._through(critic, self._reals, self.labels)
        fake_score, fake_features = self._through(critic, fakes.numpy(), self.labels)
        fake_rank, real_rank = (statistics.effective_rank(features) for features in (fake_features, real_features))
        told["effective_rank"] = fake_rank / real_rank if real_rank > 0 else math.nan
        if self._held_out:
            shown_score, _ = self._through(critic, shown, labels)
            told["held_out_score"] = real_score.mean().item()
            told["held_out_accuracy"] = right(real_score, fake_score)[0].double().mean().item()
            told["held_out_gap"] = gap(shown_score, real_score, fake_score)
        return told

    def _through(self, network: nn.Module, rows: NDArray[np.float32], labels: Labels) -> tuple[Tensor, ...]:
        """What a network makes of rows [N, ...], on the CPU, not as in training: without dropout, without compiling."""
        device = next(network.parameters()).device
        training = network.training
        network.eval()
        made = []
        for start in range(0, len(rows), self._part):
            part = slice(start, start + self._part)
            out = network.forward(torch.from_numpy(rows[part]).to(device), torch.from_numpy(labels[part]).to(device))
            made.append([each.float().cpu() for each in (out if isinstance(out, tuple) else (out,))])
        network.train(training)
        return tuple(torch.cat(parts) for parts in zip(*made, strict=True))


def gap(shown: Tensor, unseen: Tensor, fake: Tensor) -> float:
    """How much lower unseen reals score than those shown, over the lead of the latter over fakes, of scores [N] each.

    NaN where there is no lead to speak of, within four standard errors: it would be a ratio of two accidents.
    """
    lead = shown.mean() - fake.mean()
    error = ((shown.var() + fake.var()) / len(shown)).sqrt()
    return ((shown.mean() - unseen.mean()) / lead).item() if lead > 4 * error else math.nan
