"""One step of a player: what a batch costs it, and the gradient of that applied to its weights.

A batch may go through the networks in several parts, of which only one is held at a time, and several processes may
take some each. What a part costs is a mean over its rows, so the gradients of equal parts, added up over their number,
are the batch's (up to rounding; networks that normalise over the batch see the part alone).
"""

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.utils import clip_grads_with_norm_
from torch.optim import Optimizer

from latentserve.training.distributed import Ranks
from latentserve.training.game import optimizers
from latentserve.training.game.augmentation import Alteration, instance_noise
from latentserve.training.game.losses import between, loss_named, one_centred_penalty, zero_centred_penalty
from latentserve.training.recipe.config import Config
from latentserve.training.reporting.stats import collecting

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Part:
    """Some rows of a batch, on their way through the turns of critic and generator.

    Attributes:
        real: float32 [n, *shape].
        label: int64 [n].
        z: float32 [n, latent].
        condition: float32 [n, k], the reals', which fakes are made for; only where the data have any.
        place: float32 [n] in [0, 1], of the gradient penalty's samples between fakes and reals; only where it is used.
        noise: float32 [n, *shape] on reals, and on fakes, that the critic sees; only where there is any.
        altered: what is done to reals, and to fakes, before the critic sees them; only where there is augmentation.
        fake: the generator's for z, from the critic's turn to the generator's.
    """

    real: Tensor
    label: Tensor
    z: Tensor
    condition: Tensor | None = None
    place: Tensor | None = None
    noise: tuple[Tensor, Tensor] | None = None
    altered: tuple[Alteration, Alteration] | None = None
    fake: Tensor | None = None

    @property
    def asked(self) -> tuple[Tensor, ...]:
        """What networks are told beside a sample, or z: the label, and the condition if there is one."""
        return (self.label,) if self.condition is None else (self.label, self.condition)

    def halves(self) -> "list[Part]":
        """The same rows in two parts, with what was drawn for them; fakes are to be made again."""
        noises = [None, None] if self.noise is None else [*zip(*(on.chunk(2) for on in self.noise), strict=True)]
        altered = [None, None] if self.altered is None else [*zip(*(on.split(2) for on in self.altered), strict=True)]
        return [
            Part(
                real=self.real.chunk(2)[at],
                label=self.label.chunk(2)[at],
                z=self.z.chunk(2)[at],
                condition=None if self.condition is None else self.condition.chunk(2)[at],
                place=None if self.place is None else self.place.chunk(2)[at],
                noise=noises[at],
                altered=altered[at],
            )
            for at in range(2)
        ]


class Cost(NamedTuple):
    """What a part costs a player, a scalar with a gradient, and the statistics of it."""

    total: Tensor
    statistics: dict[str, Tensor]


class Update(NamedTuple):
    """How a player's step went.

    Attributes:
        finite: whether it was, and so was made.
        overflowed: whether it was not because its costs had been scaled too far, and are less from now on.
        norm: Euclidean norm of the gradient before it was clipped, float32 [].
        statistics: of each part.
    """

    finite: bool
    overflowed: bool
    norm: Tensor
    statistics: list[dict[str, Tensor]]


class Game:
    """What a part of a batch costs each player. It knows networks and losses, no optimisers and no schedules."""

    def __init__(
        self,
        config: Config,
        generator: nn.Module,
        critic: nn.Module,
        device: torch.device,
        ranks: Ranks = Ranks(),  # noqa: B008, it is frozen
    ) -> None:
        self.config, self.loss = config, loss_named(config.loss)
        self.generator, self.critic = generator, critic
        self.device, self.ranks = device, ranks

    def parts(
        self,
        real: Tensor,
        label: Tensor,
        probability: float,
        strongest: float = 0.0,
        condition: Tensor | None = None,
    ) -> list[Part]:
        """Draw all that a step leaves to chance, for the whole batch at once, and cut this rank's share of it.

        `real` float32 [n, *shape], `label` int64 [n] and `condition` float32 [n, k] are the share, all of the batch
        where there is one rank. `probability` is that of each alteration of reals and of fakes, `strongest` the
        standard deviation of the strongest noise on them.
        """
        config, share = self.config, self.ranks.share
        count, batch = config.accumulate, config.batch
        given = [real, label, share(torch.randn(batch, config.latent)), *([] if condition is None else [condition])]
        cut = [each.to(self.device).chunk(count) for each in given]
        parts = [Part(*each) for each in zip(*cut, strict=True)]
        if config.gradient_penalty:
            for part, place in zip(parts, share(torch.rand(batch)).to(self.device).chunk(count), strict=True):
                part.place = place
        if strongest > 0:
            shape = (batch, *real.shape[1:])
            noises = (share(instance_noise(strongest, shape)).to(self.device).chunk(count) for _ in range(2))
            for part, on in zip(parts, zip(*noises, strict=True), strict=True):
                part.noise = on
        if config.augment:
            draws = (Alteration.draw(config.augment, probability, batch, *real.shape[2:]) for _ in range(2))
            both = (Alteration(*map(share, draw)).to(self.device).split(count) for draw in draws)
            for part, altered in zip(parts, zip(*both, strict=True), strict=True):
                part.altered = altered
        return parts

    def critic_cost(self, part: Part, gamma: float, keep: bool) -> Cost:
        """The critic's loss and penalties. The part's fakes are kept for the generator if it is its turn next."""
        with collecting() as reported:
            cost = self._critic_cost(part, gamma, keep)
        return Cost(cost.total, reported | cost.statistics)

    def generator_cost(self, part: Part) -> Cost:
        """The generator's loss, for fakes that are made anew where they were not kept."""
        with collecting() as reported:
            cost = self._generator_cost(part)
        return Cost(cost.total, reported | cost.statistics)

    def _critic_cost(self, part: Part, gamma: float, keep: bool) -> Cost:
        config, loss, penalised = self.config, self.loss, self.config.penalised
        with torch.set_grad_enabled(keep), self.precision():
            fake = self.generator(part.z, *part.asked)
        part.fake = fake if keep else None
        critic_real = self.seen(part, part.real, 0).requires_grad_(penalised)
        critic_fake = self.seen(part, fake.detach(), 1).requires_grad_(penalised)
        real_score = self.score(part, critic_real)
        fake_score = self.score(part, critic_fake)
        total = critic_loss = loss.critic(real_score, fake_score)
        real_right, fake_right = loss.right(real_score.detach(), fake_score.detach())
        statistics = {
            "critic_loss": critic_loss,
            "real_score": real_score,
            "fake_score": fake_score,
            "real_accuracy": real_right,
            "fake_accuracy": fake_right,
        }
        if penalised:
            statistics["r1"] = zero_centred_penalty(real_score, critic_real)
            statistics["r2"] = zero_centred_penalty(fake_score, critic_fake)
            total = total + gamma / 2 * (statistics["r1"] + statistics["r2"]).mean()
        if config.gradient_penalty:
            assert part.place is not None  # noqa: S101, drawn wherever there is this penalty
            middle = between(critic_real, critic_fake, part.place).requires_grad_()
            statistics["gradient_penalty"] = one_centred_penalty(self.score(part, middle), middle)
            total = total + config.gradient_penalty * statistics["gradient_penalty"].mean()
        return Cost(total, statistics)

    def _generator_cost(self, part: Part) -> Cost:
        fake, part.fake = part.fake, None  # its graph is not to outlive this turn
        if fake is None:
            with self.precision():
                fake = self.generator(part.z, *part.asked)
        fake_score = self.score(part, self.seen(part, fake, 1))
        real_score = fake_score
        if self.loss.paired:
            with torch.no_grad():
                real_score = self.score(part, self.seen(part, part.real, 0))
        loss = self.loss.generator(real_score, fake_score)
        return Cost(loss, {"generator_loss": loss})

    @torch.no_grad()
    def scores_of_others(
        self, parts: list[Part], real: Tensor, label: Tensor, condition: Tensor | None = None
    ) -> list[Tensor]:
        """The critic's scores of other reals, as many as all parts hold, with what is done to reals of each part; as
        with `parts`, they are this rank's share. Nothing is drawn by chance.

        Raises torch.OutOfMemoryError on all ranks where one of them has too little for a part.
        """
        others = [real, label, *([] if condition is None else [condition])]
        scores: list[Tensor] = []
        lacking = False
        try:
            cut = [each.to(self.device).chunk(len(parts)) for each in others]
            for part, (some, of, *numbers) in zip(parts, zip(*cut, strict=True), strict=True):
                other = replace(part, real=some, label=of, condition=numbers[0] if numbers else None)
                scores.append(self.score(other, self.seen(other, other.real, 0)))
        except torch.OutOfMemoryError:
            lacking = True
        self.ranks.require_memory(lacking, self.device)
        return scores

    def seen(self, part: Part, samples: Tensor, side: int) -> Tensor:
        """What the critic sees of reals (side 0) or fakes (1): samples float32, with noise and alterations, if any."""
        samples = samples.float()
        if part.noise is not None:
            samples = samples + part.noise[side]
        return samples if part.altered is None else part.altered[side](samples)

    def score(self, part: Part, sample: Tensor) -> Tensor:
        """The critic's score of a part's samples, float32 [n], or [n/m] of packs."""
        with self.precision():
            score: Tensor = self.critic(sample, *part.asked)[0]
        return score.float()

    def precision(self) -> AbstractContextManager[object]:
        """What a network runs in."""
        if self.config.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, HALF[self.config.precision])


def update(
    optimizer: Optimizer,
    costs: Iterable[Cost],
    parts: int,
    clip: float | None,
    ranks: Ranks = Ranks(),  # noqa: B008, it is frozen
    scaler: GradScaler | None = None,
) -> Update:
    """One step of a player along the gradient of the mean of its parts' costs, `parts` on each rank.

    Costs are asked for one by one, and each one's graph is freed before the next. A gradient longer than `clip` is
    shortened to it (Pascanu et al. 2013, algorithm 1). Where a cost or a gradient is not finite, on whichever rank, no
    weight changes. With a `scaler`, costs are scaled before they are differentiated, so that float16 holds small
    gradients, and gradients scaled back (Micikevicius et al. 2018, section 3.2).

    Raises torch.OutOfMemoryError on all ranks where one of them has too little for a part; no weight has changed.
    """
    optimizer.zero_grad()
    statistics: list[dict[str, Tensor]] = []
    spent: Tensor | float = 0.0
    lacking = False
    try:
        for total, of_part in costs:
            cost = total / (parts * ranks.count)
            (cost if scaler is None else scaler.scale(cost)).backward()  # type: ignore[no-untyped-call]
            spent = spent + total.detach()
            statistics.append({name: value.detach() for name, value in of_part.items()})
    except torch.OutOfMemoryError:
        lacking = True  # and no more of the error, which holds on to what was there
    ranks.require_memory(lacking, optimizer.param_groups[0]["params"][0].device)
    if ranks.count > 1:
        spent = torch.as_tensor(spent)
        ranks.add_up([*(one.grad for one in optimizers.parameters(optimizer) if one.grad is not None), spent])
    scaled = 1.0 if scaler is None else scaler.get_scale()
    if scaler is not None:
        scaler.unscale_(optimizer)
        scaler.update()
    norm = optimizers.gradient_norm(optimizer)
    finite = math.isfinite((spent + norm).item())
    overflowed = not finite and scaled > 1 and math.isfinite(torch.as_tensor(spent).item())
    if finite:
        if clip is not None:
            clip_grads_with_norm_(optimizers.parameters(optimizer), clip, norm)
        optimizer.step()
    return Update(finite, overflowed, norm, statistics)


@torch.no_grad()
def clip_weights(critic: nn.Module, bound: float) -> None:
    """Keep each weight within plus and minus `bound` (Arjovsky et al. 2017, algorithm 1, line 7)."""
    for parameter in critic.parameters():
        parameter.clamp_(-bound, bound)
