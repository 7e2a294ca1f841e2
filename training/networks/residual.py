"""Residual generator and critic without any normalisation, the default for images of 8 to 128 pixels a side.

After "The GAN is dead; long live the GAN! A Modern Baseline GAN" (Huang et al. 2024), section 3 and appendix: residual
blocks that begin as the identity (fix-up initialisation, Zhang et al. 2019), bilinear resampling, leaky ReLUs, and maps
that begin as a learned constant which z modulates. Nothing is normalised, so no row depends on another one.
"""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentserve.training.errors import ConfigError
from latentserve.training.networks.family import Family, LabelledGenerator, ProjectionCritic

EMBEDDING = 16
SMALLEST = 4  # side of the map that images are halved to, unless an odd number ends it before
LARGEST_START = 15  # a longer odd side would be one stage of convolutions at full size
GROUP = 16  # channels that a 3x3 convolution sees together
WIDEST = 8  # times `width` has the smallest map at the most
SLOPE = 0.2
GAIN = math.sqrt(2 / (1 + SLOPE**2))  # of a leaky ReLU's input, that keeps the variance (He et al. 2015)
FILTER = (1.0, 3.0, 3.0, 1.0)  # of bilinear resampling by two, in each direction


class Generator(LabelledGenerator):
    """(z [B, latent], label [B] int64) -> sample [B, C, H, W] in [-1, 1].

    A 28x28 image starts as a 7x7 map, one of 32 or 128 pixels as 4x4; maps are doubled, and their channels halved down
    to `width`, until they are of the image's size.
    """

    def __init__(self, latent: int, width: int, shape: list[int], labels: int) -> None:
        super().__init__(labels, EMBEDDING)
        channels, height, side = shape
        maps = stages(width, height, side)
        smallest, rows, columns = maps[0]
        self.start = nn.Parameter(torch.randn(smallest, rows, columns))
        self.modulation = nn.Linear(latent + (EMBEDDING if labels else 0), smallest, bias=False)
        initialise(self.modulation, 1.0)
        layers: list[nn.Module] = [Block(smallest, len(maps))]
        for before, (after, *_) in itertools.pairwise(maps):
            layers += [*change(before[0], after), Double(after), Block(after, len(maps))]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, channels, 1), nn.Tanh())

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        modulation = self.modulation(self.joined(z, label))
        sample: Tensor = self.layers(self.start * modulation[:, :, None, None])
        return sample


class Critic(ProjectionCritic):
    """(sample [B, C, H, W], label [B] int64) -> (score [B], features [B, channels of the smallest map]).

    The generator's stages backwards.
    """

    def __init__(self, width: int, shape: list[int], labels: int) -> None:
        super().__init__()
        channels, height, side = shape
        maps = stages(width, height, side)
        smallest, rows, columns = maps[0]
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 1)]
        for before, (after, *_) in itertools.pairwise(reversed(maps)):
            layers += [Block(before[0], len(maps)), nn.AvgPool2d(2), *change(before[0], after)]
        layers.append(Block(smallest, len(maps)))
        self.layers = nn.Sequential(*layers)
        # Each channel's own weighted sum over the smallest map, as the generator's start is each channel's own.
        self.end = nn.Parameter(torch.randn(smallest, rows, columns) / math.sqrt(rows * columns))
        self.project(smallest, labels)

    def features(self, sample: Tensor) -> Tensor:
        return (self.layers(sample) * self.end).sum((2, 3))


class Block(nn.Module):
    """x + 1x1(3x3(1x1(x))); the identity at first. The 3x3 sees `expansion` times the channels, in groups of GROUP."""

    def __init__(self, channels: int, blocks: int, expansion: int = 1) -> None:
        """`blocks` of the network, all together: the more there are, the smaller each begins."""
        super().__init__()
        inner = expansion * channels
        first = nn.Conv2d(channels, inner, 1)
        middle = nn.Conv2d(inner, inner, 3, padding=1, groups=groups(inner))
        last = nn.Conv2d(inner, channels, 1, bias=False)
        self.layers = nn.Sequential(first, nn.LeakyReLU(SLOPE), middle, nn.LeakyReLU(SLOPE), last)
        initialise(first, GAIN * blocks**-0.25)  # Zhang et al. 2019: L^(-1 / (2m - 2)) for m = 3 layers
        initialise(middle, GAIN * blocks**-0.25)
        initialise(last, 0.0)

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = x + self.layers(x)
        return changed


class Double(nn.Module):
    """A map of twice the sides, bilinearly: 3/4 of the nearest pixel and 1/4 of the next, in each direction.

    A convolution, whose gradient is deterministic on a GPU too, as that of torch's own interpolation is not. Beyond the
    map's edge there are zeros, as for any other convolution.
    """

    weight: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        line = torch.tensor(FILTER) / 4
        self.register_buffer("weight", torch.outer(line, line).repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, self.weight, stride=2, padding=1, groups=len(self.weight))


def stages(width: int, height: int, side: int) -> list[tuple[int, int, int]]:
    """Channels, height and width of each map, smallest first; each but the first is twice the one before."""
    sizes = halved(height, side, "residual")
    return [(width * min(WIDEST, 2 ** (len(sizes) - 1 - at)), *size) for at, size in enumerate(sizes)]


def halved(height: int, side: int, network: str) -> list[tuple[int, int]]:
    """Height and width of an image halved as often as may be, smallest first. Raises ConfigError naming the network."""
    sizes = [(height, side)]
    while all(length % 2 == 0 and length // 2 >= SMALLEST for length in sizes[0]):
        sizes.insert(0, (sizes[0][0] // 2, sizes[0][1] // 2))
    if max(sizes[0]) > LARGEST_START:
        raise ConfigError(
            f"`network`: {network} halves images down to {SMALLEST} to {LARGEST_START} pixels a side, which "
            f"{height}x{side} ones cannot be; `size` brings pictures to another"
        )
    return sizes


def groups(channels: int) -> int:
    """As many groups of GROUP as there are, or one where they do not come out even."""
    return 1 if channels % GROUP else channels // GROUP


def change(before: int, after: int) -> list[nn.Module]:
    """What makes a map of other channels; nothing where they are as many."""
    if before == after:
        return []
    layer = nn.Conv2d(before, after, 1, bias=False)
    initialise(layer, 1.0)
    return [layer]


def initialise(layer: nn.Conv2d | nn.Linear, gain: float) -> None:
    """Weights of standard deviation gain / sqrt(inputs of a unit), biases of 0."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


FAMILY = Family(Generator, Critic, ("image",))
