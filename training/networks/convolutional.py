"""Convolutional generator and critic after DCGAN (Radford et al. 2016), from a quarter of the image's side."""

import torch
from torch import Tensor, nn

from latentserve.training.errors import ConfigError

START = 256  # channels of the generator's first, smallest map
EMBEDDING = 16


class Generator(nn.Module):
    """(z [B, latent], label [B] int64) -> sample [B, C, H, W] in [-1, 1].

    A 28x28 image starts as 7x7x256 and is doubled twice by transposed convolutions.
    """

    def __init__(self, latent: int, width: int, shape: list[int], labels: int) -> None:
        super().__init__()
        channels, height, side = shape
        if height % 4 or side % 4:
            raise ConfigError(f"`network`: convolutional needs image sides divisible by 4, not {height}x{side}")
        start = (START, height // 4, side // 4)
        self.embedding = nn.Embedding(labels, EMBEDDING) if labels else None
        self.layers = nn.Sequential(
            nn.Linear(latent + (EMBEDDING if labels else 0), start[0] * start[1] * start[2], bias=False),
            nn.Unflatten(1, start),
            nn.BatchNorm2d(START),
            nn.ReLU(),
            nn.ConvTranspose2d(START, 2 * width, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, channels, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        sample: Tensor = self.layers(z if self.embedding is None else torch.cat([z, self.embedding(label)], dim=1))
        return sample


class Critic(nn.Module):
    """(sample [B, C, H, W], label [B] int64) -> (score [B], features [B, 8 width]).

    The label enters by projection: score = w·features + <embedding(label), features> (Miyato & Koyama 2018).
    """

    def __init__(self, width: int, shape: list[int], labels: int) -> None:
        super().__init__()
        channels, height, side = shape
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(4 * width * (height // 4) * (side // 4), 8 * width),
            nn.LeakyReLU(0.2),
        )
        self.score = nn.Linear(8 * width, 1)
        self.embedding = nn.Embedding(labels, 8 * width) if labels else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=(8 * width) ** -0.5)

    def forward(self, sample: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        features: Tensor = self.layers(sample)
        score = self.score(features).squeeze(1)
        if self.embedding is not None:
            score = score + (self.embedding(label) * features).sum(1)
        return score, features
