"""Between samples in the data's own unit and what networks work on: arrays and audio of mean 0 and standard deviation
1, and codes of a table's rows. As torch modules: an exported generator gives samples, and its critic takes them."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentserve.training.data.transform import Coding, TableTransform


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


class Encode(nn.Module):
    """Rows [B, columns] float32 to codes [B, D] float32."""

    def __init__(self, transform: TableTransform) -> None:
        super().__init__()
        self.codings = transform.codings

    def forward(self, rows: Tensor) -> Tensor:
        return torch.cat([_encode(rows[:, at], coding) for at, coding in enumerate(self.codings)], dim=1)


class Decode(nn.Module):
    """Codes [B, D] float32 to rows [B, columns] float32: the largest entry of a one-hot part is the one that is on."""

    def __init__(self, transform: TableTransform) -> None:
        super().__init__()
        self.codings = transform.codings

    def forward(self, codes: Tensor) -> Tensor:
        parts = torch.split(codes, [coding.width for coding in self.codings], dim=1)
        return torch.stack([_decode(part, coding) for part, coding in zip(parts, self.codings, strict=True)], dim=1)


class RowGenerator(nn.Module):
    """A generator of codes as one of rows."""

    def __init__(self, generator: nn.Module, transform: TableTransform) -> None:
        super().__init__()
        self.generator = generator
        self.decode = Decode(transform)

    def forward(self, z: Tensor, label: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        rows: Tensor = self.decode(_asked(self.generator, z, label, condition))
        return rows


class RowCritic(nn.Module):
    """A critic of codes as one of rows."""

    def __init__(self, critic: nn.Module, transform: TableTransform) -> None:
        super().__init__()
        self.critic = critic
        self.encode = Encode(transform)

    def forward(
        self, rows: Tensor, label: Tensor | None = None, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        judged: tuple[Tensor, Tensor] = _asked(self.critic, self.encode(rows), label, condition)
        return judged


def _asked(network: nn.Module, first: Tensor, label: Tensor | None, condition: Tensor | None) -> Any:
    """What a network makes of its inputs, as many as there are."""
    if condition is not None:
        return network(first, label, condition)
    return network(first) if label is None else network(first, label)


# Both in double precision: a value and its code are rounded to float32 once each, so that decimals come back.


def _encode(values: Tensor, coding: Coding) -> Tensor:
    if coding.categories:
        return F.one_hot(values.long(), coding.categories).to(values.dtype)
    means, stds, weights = (values.new_tensor(part, dtype=torch.float64) for part in _numbers(coding))
    away = (values.double()[:, None] - means) / stds
    mode = (torch.log(weights / stds) - away**2 / 2).argmax(1)
    place = away.gather(1, mode[:, None])
    if coding.missing is not None:
        absent = values == coding.missing
        mode = torch.where(absent, len(coding.means), mode)
        place = torch.where(absent[:, None], 0.0, place)
    return torch.cat([place.to(values.dtype), F.one_hot(mode, coding.choices).to(values.dtype)], dim=1)


def _decode(code: Tensor, coding: Coding) -> Tensor:
    if coding.categories:
        return code.argmax(1).to(code.dtype)
    place, mode = code[:, 0].double(), code[:, 1:].argmax(1)
    # A missing value needs a mean too; any will do.
    means, stds = (code.new_tensor([*part, *part[:1]], dtype=torch.float64) for part in _numbers(coding)[:2])
    values = means[mode] + stds[mode] * place
    if coding.decimals is not None:
        scale = float(10**coding.decimals)
        values = torch.round(values * scale) / scale
    values = values.clamp(coding.low, coding.high)
    if coding.missing is not None:
        values = torch.where(mode == len(coding.means), coding.missing, values)
    return values.to(code.dtype)


def _numbers(coding: Coding) -> tuple[list[float], list[float], list[float]]:
    return coding.means, coding.stds, coding.weights
