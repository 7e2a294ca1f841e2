"""Residual convolutions along one axis, for audio and series [C, T]: as in WaveGAN (Donahue et al. 2019) from a short
map of many channels to frames, but in few steps, and without normalisation.

The critic folds frames into channels, T/16 windows of 16 C numbers, then windows by fours; the generator unfolds them
(sub-pixel convolutions, Shi et al. 2016). So all convolutions are of stride 1 on short maps, which makes them cheap.
"""

from math import prod

import torch.nn.functional as F
from torch import Tensor, nn

from latentserve.training.errors import ConfigError
from latentserve.training.networks.family import Family, LabelledGenerator, ProjectionCritic

FOLD = 4
START = 16  # frames that are not folded any more
LIMIT = 32  # windows of the shortest map at the most: the generator's first layer is dense
KERNEL = 3
SLOPE = 0.2


def folds(frames: int) -> list[int]:
    """By how much frames are folded in each of the critic's steps: 1,024 by 16 and 4. Raises ConfigError."""
    left, steps = frames, []
    while left > START and left % FOLD == 0:
        left //= FOLD
        steps.append(FOLD)
    if left > LIMIT:
        raise ConfigError(
            f"`network`: waveform needs {LIMIT} frames at the most, or a multiple by a power of {FOLD}, not {frames}"
            "; `size` is the frames that audio files are cut into"
        )
    return [prod(steps[:2]), *steps[2:]]


class Generator(LabelledGenerator):
    """(z [B, latent], label [B] int64) -> sample [B, C, T], unbounded."""

    def __init__(self, latent: int, width: int, shape: list[int], labels: int) -> None:
        super().__init__(labels, latent)
        channels, frames = _axes(shape)
        steps = folds(frames)[::-1]
        widths = [width * 2**step for step in range(len(steps))][::-1]
        start = (widths[0], frames // prod(steps))
        layers: list[nn.Module] = [nn.Linear(2 * latent if labels else latent, prod(start)), nn.Unflatten(1, start)]
        for fold, here, after in zip(steps, widths, [*widths[1:], channels], strict=True):
            layers += [Residual(here), nn.LeakyReLU(SLOPE), _convolution(here, fold * after), Unfold(fold)]
        self.layers = nn.Sequential(*layers)


class Critic(ProjectionCritic):
    """(sample [B, C, T], label [B] int64) -> (score [B], features [B, 4 width])."""

    def __init__(self, width: int, shape: list[int], labels: int) -> None:
        super().__init__()
        channels, frames = _axes(shape)
        steps = folds(frames)
        widths = [width * 2**step for step in range(len(steps))]
        layers: list[nn.Module] = []
        for fold, before, here in zip(steps, [channels, *widths], widths, strict=False):
            layers += [Fold(fold), _convolution(fold * before, here), Residual(here)]
        size, features = widths[-1] * frames // prod(steps), 4 * width
        self.layers = nn.Sequential(
            *layers, nn.LeakyReLU(SLOPE), nn.Flatten(), nn.Linear(size, features), nn.LeakyReLU(SLOPE)
        )
        self.project(features, labels)


class Residual(nn.Module):
    """x + what two convolutions make of it: maps [B, C, T]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (_convolution(channels, channels) for _ in range(2))

    def forward(self, maps: Tensor) -> Tensor:
        inner = self.first(F.leaky_relu(maps, SLOPE))
        added: Tensor = maps + self.second(F.leaky_relu(inner, SLOPE))
        return added


class Fold(nn.Module):
    """Maps [B, C, T] to [B, C by, T / by]: what stood side by side becomes channels."""

    def __init__(self, by: int) -> None:
        super().__init__()
        self.by = by

    def forward(self, maps: Tensor) -> Tensor:
        _, channels, frames = maps.shape
        windows = maps.reshape(-1, channels, frames // self.by, self.by)
        return windows.transpose(2, 3).reshape(-1, channels * self.by, frames // self.by)


class Unfold(nn.Module):
    """Maps [B, C by, T] to [B, C, T by]: undoes `Fold`."""

    def __init__(self, by: int) -> None:
        super().__init__()
        self.by = by

    def forward(self, maps: Tensor) -> Tensor:
        _, channels, windows = maps.shape
        frames = maps.reshape(-1, channels // self.by, self.by, windows)
        return frames.transpose(2, 3).reshape(-1, channels // self.by, windows * self.by)


def _axes(shape: list[int]) -> list[int]:
    """Channels and frames. Raises ConfigError."""
    if len(shape) != 2:
        raise ConfigError(f"`network`: waveform makes samples [channels, frames], not {shape}")
    return shape


def _convolution(before: int, after: int) -> nn.Conv1d:
    return nn.Conv1d(before, after, KERNEL, padding=KERNEL // 2)


FAMILY = Family(Generator, Critic, ("audio", "array"))
