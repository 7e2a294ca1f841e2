"""Convolutional generator and critic after DCGAN (Radford et al. 2016), from a quarter of the image's side."""

from torch import nn

from latentserve.training.errors import ConfigError
from latentserve.training.networks.family import Family, LabelledGenerator, ProjectionCritic

START = 256  # channels of the generator's first, smallest map
EMBEDDING = 16


class Generator(LabelledGenerator):
    """(z [B, latent], label [B] int64) -> sample [B, C, H, W] in [-1, 1].

    A 28x28 image starts as 7x7x256 and is doubled twice by transposed convolutions.
    """

    def __init__(self, latent: int, width: int, shape: list[int], labels: int) -> None:
        super().__init__(labels, EMBEDDING)
        channels, height, side = shape
        if height % 4 or side % 4:
            raise ConfigError(f"`network`: convolutional needs image sides divisible by 4, not {height}x{side}")
        start = (START, height // 4, side // 4)
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


class Critic(ProjectionCritic):
    """(sample [B, C, H, W], label [B] int64) -> (score [B], features [B, 8 width])."""

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
        self.project(8 * width, labels)


FAMILY = Family(Generator, Critic, ("image",))
