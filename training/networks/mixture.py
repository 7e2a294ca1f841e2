"""Fully connected generator and critic for a few numbers that lie in tight, separate clusters.

Two things about them are for that. A continuous function of one normal z cannot jump from cluster to cluster, so the
generator makes of z the latent of a mixture. And a critic of plain layers is slow to see anything much finer than the
data's spread (Rahaman et al. 2019), so this one is shown what it sees through waves of many lengths.
"""

import math
from math import prod

import torch
from torch import Tensor, nn

from latentserve.training.errors import ConfigError
from latentserve.training.networks.family import Family, ProjectionCritic, hidden

CORE = 0.1  # what moves a sample within its cluster, in the distance that tells clusters apart
WAVES = 64
SLOWEST, FASTEST = 0.25, 16.0  # waves in a standard deviation of the data: the fastest see a 50th of it


class Generator(nn.Module):
    """z [B, latent] -> sample [B, *shape], of about standard deviation 1.

    The signs of z choose one of 2^latent corners of a cube, and z itself moves the point about its corner: a mixture
    of narrow parts, each of which may go to a place of its own (DeLiGAN, Gurumurthy et al. 2017, with fixed parts).
    """

    def __init__(self, latent: int, width: int, shape: list[int], labels: int) -> None:
        super().__init__()
        refuse_labels(labels)
        self.layers = nn.Sequential(
            *hidden(latent, width, width, width), nn.Linear(width, prod(shape)), nn.Unflatten(1, shape)
        )

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        sample: Tensor = self.layers(z.sign() + CORE * z)
        return sample


class Critic(ProjectionCritic):
    """sample [B, *shape] -> (score [B], features [B, width]).

    Beside the numbers themselves the layers see cosines and sines of them along random directions, of lengths spread
    evenly over octaves (Fourier features, Tancik et al. 2020), short ones weaker: what is coarse is learnt first.
    """

    waves: Tensor
    heights: Tensor

    def __init__(self, width: int, shape: list[int], labels: int) -> None:
        super().__init__()
        refuse_labels(labels)
        frequency = SLOWEST * (FASTEST / SLOWEST) ** torch.rand(WAVES)
        direction = nn.functional.normalize(torch.randn(prod(shape), WAVES), dim=0)
        self.register_buffer("waves", 2 * math.pi * frequency * direction)
        self.register_buffer("heights", (2 * SLOWEST / frequency).sqrt())
        self.layers = nn.Sequential(*hidden(prod(shape) + 2 * WAVES, width, width))
        self.project(width, 0)

    def features(self, sample: Tensor) -> Tensor:
        numbers = sample.flatten(1)
        phase = numbers @ self.waves
        return super().features(torch.cat([numbers, self.heights * phase.cos(), self.heights * phase.sin()], dim=1))


def refuse_labels(labels: int) -> None:
    if labels:
        raise ConfigError("`network`: mixture is for data without labels")


FAMILY = Family(Generator, Critic, ("array",), conditions=False)  # it takes the signs of all that it begins from
