"""Fully connected generator and critic, for small images and arrays."""

from math import prod

from torch import nn

from latentserve.training.networks.family import Family, LabelledGenerator, ProjectionCritic, hidden


class Generator(LabelledGenerator):
    """(z [B, latent], label [B] int64) -> sample [B, *shape]: of images, [C, H, W], in [-1, 1]."""

    def __init__(self, latent: int, width: int, shape: list[int], labels: int) -> None:
        super().__init__(labels, latent)
        self.layers = nn.Sequential(
            *hidden(2 * latent if labels else latent, width, width),
            nn.Linear(width, prod(shape)),
            nn.Tanh() if len(shape) == 3 else nn.Identity(),
            nn.Unflatten(1, shape),
        )


class Critic(ProjectionCritic):
    """(sample [B, *shape], label [B] int64) -> (score [B], features [B, width])."""

    def __init__(self, width: int, shape: list[int], labels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), *hidden(prod(shape), width, width))
        self.project(width, labels)


FAMILY = Family(Generator, Critic, ("image", "array", "audio"))
