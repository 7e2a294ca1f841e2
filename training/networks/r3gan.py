"""R3GAN's generator and critic, layer by layer as their authors published them, for pictures that recipes call by size.

"The GAN is dead; long live the GAN! A Modern Baseline GAN" (Huang et al. 2024), section 3, and its reference code: two
residual blocks a map, whose 3x3 convolutions see twice the channels in groups of 16; maps halved and doubled by the
low-pass filter [1, 3, 3, 1]; biases only where a leaky ReLU follows. `residual` is smaller and simpler: one block, as
many channels, means of 2x2 pixels, and a tanh at the end.

There is no tanh here: a background of one colour, which is at the end of the range in many pictures, would be out of
reach. What leaves [-1, 1] is seen by the critic as it is while it is trained, and cut wherever else samples are made.
"""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentserve.training.networks.family import Family, LabelledGenerator
from latentserve.training.networks.residual import FILTER, Block, Double, change, halved, initialise

EMBEDDING = 64  # numbers that a label becomes beside z, as many as z has
EXPANSION = 2  # times the channels of a map that a block's 3x3 convolution sees
BLOCKS = 2  # of a map, unless the recipe says otherwise
WIDEST = 768  # channels of the smallest maps, unless the recipe says otherwise


class Generator(LabelledGenerator):
    """(z [B, latent], label [B] int64) -> sample [B, C, H, W], in [-1, 1] unless it is being trained."""

    def __init__(
        self, latent: int, width: int, shape: list[int], labels: int, widest: int = WIDEST, blocks: int = BLOCKS
    ) -> None:
        super().__init__(labels, EMBEDDING)
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=labels**-0.5)
        channels, height, side = shape
        maps = stages(width, height, side, widest)
        smallest, rows, columns = maps[0]
        self.start = nn.Parameter(torch.randn(smallest, rows, columns))
        self.modulation = nn.Linear(latent + (EMBEDDING if labels else 0), smallest, bias=False)
        initialise(self.modulation, 1.0)
        layers = several(smallest, blocks, maps)
        for before, (after, *_) in itertools.pairwise(maps):
            layers += [*change(before[0], after), Double(after), *several(after, blocks, maps)]
        last = nn.Conv2d(width, channels, 1, bias=False)
        initialise(last, 1.0)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        modulation = self.modulation(self.joined(z, label))
        sample: Tensor = self.layers(self.start * modulation[:, :, None, None])
        return sample if self.training else sample.clamp(-1, 1)


class Critic(nn.Module):
    """(sample [B, C, H, W], label [B] int64) -> (score [B], features [B, channels of the smallest map]).

    Without labels a weighted sum of the features; with labels <embedding(label), features>, and nothing else (Miyato &
    Koyama 2018, without the term that knows no label).
    """

    def __init__(self, width: int, shape: list[int], labels: int, widest: int = WIDEST, blocks: int = BLOCKS) -> None:
        super().__init__()
        channels, height, side = shape
        maps = stages(width, height, side, widest)
        smallest, rows, columns = maps[0]
        first = nn.Conv2d(channels, width, 1, bias=False)
        initialise(first, 1.0)
        layers: list[nn.Module] = [first]
        for before, (after, *_) in itertools.pairwise(reversed(maps)):
            layers += [*several(before[0], blocks, maps), Halve(before[0]), *change(before[0], after)]
        self.layers = nn.Sequential(*layers, *several(smallest, blocks, maps))
        self.end = nn.Parameter(torch.randn(smallest, rows, columns) / math.sqrt(rows * columns))
        self.embedding = nn.Embedding(labels, smallest) if labels else None
        self.last = nn.Linear(smallest, smallest if labels else 1, bias=False)
        initialise(self.last, 1.0)
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=(labels * smallest) ** -0.5)

    def forward(self, sample: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        features = (self.layers(sample) * self.end).sum((2, 3))
        if self.embedding is None:
            return self.last(features).squeeze(1), features
        features = self.last(features)
        return (self.embedding(label) * features).sum(1), features


class Halve(nn.Module):
    """A map of half the sides: 3/8 of the two nearest pixels and 1/8 of the next two, in each direction."""

    weight: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        line = torch.tensor(FILTER) / sum(FILTER)
        self.register_buffer("weight", torch.outer(line, line).repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, stride=2, padding=1, groups=len(self.weight))


def stages(width: int, height: int, side: int, widest: int) -> list[tuple[int, int, int]]:
    """Channels, height and width of each map, smallest first: `width` channels at full size, twice as many each time
    the sides halve, up to `widest`."""
    sizes = halved(height, side, "r3gan")
    widest = max(width, widest)
    return [(min(width * 2 ** (len(sizes) - 1 - at), widest), *size) for at, size in enumerate(sizes)]


def several(channels: int, blocks: int, maps: list[tuple[int, int, int]]) -> list[nn.Module]:
    """The blocks of one map."""
    return [Block(channels, blocks * len(maps), EXPANSION) for _ in range(blocks)]


FAMILY = Family(Generator, Critic, ("image",), sizes=("widest", "blocks"))
