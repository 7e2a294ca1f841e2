"""Fully connected generator and critic, for small images and arrays."""

from math import prod

import torch
from torch import Tensor, nn


class Generator(nn.Module):
    """(z [B, latent], label [B] int64) -> sample [B, *shape]: of images, [C, H, W], in [-1, 1]."""

    def __init__(self, latent: int, width: int, shape: list[int], labels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(labels, latent) if labels else None
        self.layers = nn.Sequential(
            nn.Linear(2 * latent if labels else latent, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, prod(shape)),
            nn.Tanh() if len(shape) == 3 else nn.Identity(),
            nn.Unflatten(1, shape),
        )

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        sample: Tensor = self.layers(z if self.embedding is None else torch.cat([z, self.embedding(label)], dim=1))
        return sample


class Critic(nn.Module):
    """(sample [B, *shape], label [B] int64) -> (score [B], features [B, width]).

    The label enters by projection: score = w·features + <embedding(label), features> (Miyato & Koyama 2018).
    """

    def __init__(self, width: int, shape: list[int], labels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(prod(shape), width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
        )
        self.score = nn.Linear(width, 1)
        self.embedding = nn.Embedding(labels, width) if labels else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=width**-0.5)

    def forward(self, sample: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        features: Tensor = self.layers(sample)
        score = self.score(features).squeeze(1)
        if self.embedding is not None:
            score = score + (self.embedding(label) * features).sum(1)
        return score, features
