"""How conditions enter the networks of any family: beside z into a generator, and by projection into a critic's score.

A family's own networks know nothing of it. A generator is built for a z with more numbers, the first of which say what
is asked for. A critic gives features, and what is asked for gives weights for them, as a label does (Miyato & Koyama
2018; for continuous ones Ding et al. 2021, CcGAN, section 2.2, whose embedding is a small network, too).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from latentserve.service.bundle import Condition
from latentserve.training.networks.family import hidden

WIDTH = 64
EMBEDDING = 16


class Standard(nn.Module):
    """Conditions [B, k] in their own units as numbers [B, 2 k] of about standard deviation 1: where each value lies in
    its range, and which share of the data lies below it, by straight lines between quantiles.

    The first tells apart what few data lie between, the second what many data lie close to; so whether a condition is
    best seen in itself or in its logarithm need not be known.
    """

    low: Tensor  # [k]
    span: Tensor  # of the range [k]
    below: Tensor  # of each step from quantile to quantile, [k, steps]
    step: Tensor  # how far it goes, [k, steps]; 1 where it goes nowhere
    share: Tensor  # of the data that lie in it, [k, steps]; 0 where it goes nowhere

    def __init__(self, conditions: Sequence[Condition]) -> None:
        super().__init__()
        known = torch.tensor([condition.quantiles for condition in conditions], dtype=torch.float64)
        step = known.diff(dim=1)
        share = (step > 0).double()
        values = {
            "low": known[:, 0],
            "span": known[:, -1] - known[:, 0],
            "below": known[:, :-1],
            "step": torch.where(step > 0, step, 1.0),
            "share": share / share.sum(dim=1, keepdim=True),
        }
        for name, value in values.items():
            self.register_buffer(name, value.float())

    def forward(self, condition: Tensor) -> Tensor:
        place = (condition - self.low) / self.span
        passed = ((condition[:, :, None] - self.below) / self.step).clamp(0, 1)
        rank = (passed * self.share).sum(dim=2)
        return (torch.cat([place, rank], dim=1) - 0.5) * 12**0.5  # what is uniform on (0, 1) deviates by 12^-1/2


class ConditionedGenerator(nn.Module):
    """(z [B, latent], label [B] int64, condition [B, k] float32) -> sample [B, *shape]."""

    def __init__(self, generator: nn.Module, conditions: Sequence[Condition]) -> None:
        """`generator` is one of a z of latent + `joined(conditions)` numbers."""
        super().__init__()
        self.generator = generator
        self.standard = Standard(conditions)
        self.embedding = nn.Sequential(*hidden(2 * len(conditions), WIDTH, WIDTH), nn.Linear(WIDTH, EMBEDDING))

    def forward(self, z: Tensor, label: Tensor | None, condition: Tensor) -> Tensor:
        numbers = self.standard(condition)
        sample: Tensor = self.generator(torch.cat([numbers, self.embedding(numbers), z], dim=1), label)
        return sample


def joined(conditions: Sequence[Condition]) -> int:
    """How many numbers are joined to z."""
    return 2 * len(conditions) + EMBEDDING


class ConditionedCritic(nn.Module):
    """(sample [B, *shape], label [B] int64, condition [B, k] float32) -> (score [B/m], features [B/m, d]), where each
    is of m rows on end; what these are asked for is seen by their places among them."""

    def __init__(self, critic: nn.Module, conditions: Sequence[Condition], shape: list[int], packing: int) -> None:
        """`critic` takes samples [B, *shape] and labels, and packs `packing` of them."""
        super().__init__()
        self.critic = critic
        self.standard = Standard([*conditions] * packing)
        self.numbers = packing * len(conditions)
        with torch.no_grad():
            features = critic.eval()(torch.zeros(packing, *shape), torch.zeros(packing, dtype=torch.int64))[1].shape[1]
        critic.train()
        last = nn.Linear(WIDTH, features)
        nn.init.normal_(last.weight, std=(WIDTH * features) ** -0.5)
        nn.init.zeros_(last.bias)
        self.weights = nn.Sequential(*hidden(2 * self.numbers, WIDTH, WIDTH), last)

    def forward(self, sample: Tensor, label: Tensor | None, condition: Tensor) -> tuple[Tensor, Tensor]:
        score, features = self.critic(sample, label)
        weights = self.weights(self.standard(condition.reshape(-1, self.numbers)))
        return score + (weights * features).sum(1), features


class Unlabelled(nn.Module):
    """(z or sample, condition) -> what a network of (z or sample, label, condition) gives that has no labels."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, first: Tensor, condition: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        made: Tensor | tuple[Tensor, Tensor] = self.network(first, None, condition)
        return made
