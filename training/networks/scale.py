"""Networks of arrays and audio work on numbers of mean 0 and standard deviation 1, whatever the samples' own unit."""

import torch
from torch import Tensor, nn


class Scale(nn.Module):
    """Between samples [B, *shape] and standard ones, by the moments of each entry of their first axis."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: list[float], std: list[float], shape: list[int]) -> None:
        super().__init__()
        entries = [shape[0], *[1] * (len(shape) - 1)]
        self.register_buffer("mean", torch.tensor(mean).reshape(entries))
        self.register_buffer("std", torch.tensor(std).reshape(entries))


class ScaledGenerator(Scale):
    """(z [B, latent], label [B] int64) -> sample [B, *shape] in the data's unit, within (-1, 1) if `bounded`."""

    def __init__(
        self, generator: nn.Module, mean: list[float], std: list[float], shape: list[int], *, bounded: bool = False
    ) -> None:
        """`generator` makes standard samples."""
        super().__init__(mean, std, shape)
        self.generator = generator
        self.bounded = bounded

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        sample: Tensor = self.generator(z, label) * self.std + self.mean
        return torch.tanh(sample) if self.bounded else sample


class ScaledCritic(Scale):
    """(sample [B, *shape] in the data's unit, label [B] int64) -> (score [B], features [B, d])."""

    def __init__(self, critic: nn.Module, mean: list[float], std: list[float], shape: list[int]) -> None:
        """`critic` sees standard samples."""
        super().__init__(mean, std, shape)
        self.critic = critic

    def forward(self, sample: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        judged: tuple[Tensor, Tensor] = self.critic((sample - self.mean) / self.std, label)
        return judged
