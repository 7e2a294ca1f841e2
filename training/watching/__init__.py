"""Looking at a run from outside: it changes no weight, draws nothing by chance, and costs some per cent of a tick."""

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.linalg import vector_norm

from latentserve.training.data import Dataset, Split, alike
from latentserve.training.errors import DataError, NoHeldOutError
from latentserve.training.game.losses import lead
from latentserve.training.recipe.config import Config
from latentserve.training.watching.space import (
    Labels,
    Numbers,
    Samples,
    Space,
    diversity,
    effective_rank,
    reals_of_each,
    some_of_each,
    spread,
)

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
            few = max(1, min(kinds, most // 20))
            self.labels = np.arange(20 * few) % few
        self._conditions = others.conditions_of(np.resize(rows, len(self.labels)))
        self._reals = reals[: self.rows]
        self._latents = np.random.default_rng(config.seed).standard_normal(
            (len(self.labels), config.latent), np.float32
        )
        self._part = config.batch // config.accumulate
        self._space: Space | None = None
        self._floor, self._floor_deviation = math.nan, math.nan
        self._real_spread = _spread_of(dataset, see)
        if self.rows >= LEAST:
            rest, standardise = rows[self.rows :], dataset.kind != "image"
            self._space = Space(reals[self.rows :], others.labels[rest], kinds, standardise, others.conditions_of(rest))
            conditions = others.conditions_of(rows)
            self._floor, self._floor_deviation = self._space.floor(reals, others.labels[rows], self.rows, conditions)

    @torch.no_grad()
    def look(
        self,
        critic: nn.Module,
        ema: nn.Module,
        right: Right,
        shown: Samples,
        labels: Labels,
        conditions: Numbers = None,
    ) -> dict[str, float]:
        """What there is to say of the averaged generator and of the critic.

        `latentserve.training.reporting.stats.Stats` says what each means.

        Args:
            critic: As it stands.
            ema: The averaged generator.
            right: The loss's `right`.
            shown: Reals that the critic was shown last, [rows, ...].
            labels: Theirs.
            conditions: Theirs, [rows, k]; None: the data have none.
        """
        asked = (self.labels, self._conditions)
        fakes = self._through(ema, self._latents, *asked)[0]
        some = some_of_each(self.labels)
        statistics = {"diversity": diversity(fakes.numpy()[some], self.labels[some], self._real_spread)}
        if self._space is None:
            return statistics
        statistics["frechet"] = self._space.distance(fakes.numpy(), *asked)
        statistics["frechet_floor"], statistics["frechet_floor_deviation"] = self._floor, self._floor_deviation
        statistics["real_frechet"] = self._space.distance(shown, labels, conditions)
        real_score, real_features = self._through(critic, self._reals, *asked)
        fake_score, fake_features = self._through(critic, fakes.numpy(), *asked)
        fake_rank, real_rank = (effective_rank(features) for features in (fake_features, real_features))
        statistics["effective_rank"] = fake_rank / real_rank if real_rank > 0 else math.nan
        if self._held_out:
            shown_score, _ = self._through(critic, shown, labels, conditions)
            statistics["held_out_score"] = real_score.mean().item()
            statistics["held_out_accuracy"] = right(real_score, fake_score)[0].double().mean().item()
            statistics["held_out_gap"] = gap(shown_score, real_score, fake_score)
            statistics["shown_lead"] = lead(shown_score, fake_score).item()
            statistics["held_out_lead"] = lead(real_score, fake_score).item()
        return statistics

    def _through(
        self, network: nn.Module, rows: NDArray[np.float32], labels: Labels, conditions: Numbers
    ) -> tuple[Tensor, ...]:
        """What a network makes of rows [N, ...], on the CPU, not as in training: without dropout, without compiling."""
        device = next(network.parameters()).device
        training = network.training
        network.eval()
        parts = []
        given: list[NDArray[Any]] = [rows, labels, *([] if conditions is None else [conditions])]
        for start in range(0, len(rows), self._part):
            part = slice(start, start + self._part)
            out = network.forward(*(torch.from_numpy(each[part]).to(device) for each in given))
            parts.append([each.float().cpu() for each in (out if isinstance(out, tuple) else (out,))])
        network.train(training)
        return tuple(torch.cat(of) for of in zip(*parts, strict=True))


def _spread_of(dataset: Dataset, see: See) -> float:
    """How far reals of a label lie apart, on average over labels, of which one is looked at after the other."""
    of_each = reals_of_each(dataset.labels, math.prod(dataset.samples.shape[1:]))
    found = [spread(see(dataset.take(rows)), np.zeros(len(rows), np.int64)) for rows in of_each]
    apart = [each for each in found if not math.isnan(each)]
    return float(np.mean(apart)) if apart else math.nan


def gap(shown: Tensor, unseen: Tensor, fake: Tensor) -> float:
    """How much lower unseen reals score than those shown, over the lead of the latter over fakes, of scores [N] each.

    NaN where there is no lead to speak of, within four standard errors: it would be a ratio of two accidents.
    """
    lead = shown.mean() - fake.mean()
    error = ((shown.var() + fake.var()) / len(shown)).sqrt()
    return ((shown.mean() - unseen.mean()) / lead).item() if lead > 4 * error else math.nan


def held_out(
    load: Callable[[Split], Dataset], dataset: Dataset, tell: Callable[[str], None] | None = None
) -> Dataset | None:
    """The data set's `test` part, or None where it has none, or one that cannot be read or looks otherwise, of which
    `tell` is told.

    `load` reads a split; `dataset` is the other one, whose labels the part is given.
    """
    try:
        return alike(load("test"), dataset)
    except NoHeldOutError:
        return None
    except DataError as error:
        if tell is not None:
            tell(str(error))
        return None


def layer_norms(player: str, network: nn.Module) -> dict[str, float]:
    """Euclidean norm of the gradient of each module that has parameters of its own, as it was applied.

    The names are `<player>_gradient_norm/<module>`. Modules without a gradient are left out.
    """
    layers: dict[str, list[Tensor]] = defaultdict(list)
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            layers[name.rpartition(".")[0]].append(vector_norm(parameter.grad))
    return {
        f"{player}_gradient_norm/{layer}": vector_norm(torch.stack(norms)).item() for layer, norms in layers.items()
    }
