"""Small networks of the families that people serve, each with the one call that exports it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from latentserve.service.bundle import Condition

LABELS = ["cat", "dog", "owl"]

# What a module gives for the parts of z by name, a label [N] and a condition [N, k].
Own = Callable[[nn.Module, dict[str, Tensor], Any, Any], Tensor]


@dataclass(frozen=True)
class Family:
    """A network, what `export_bundle` is told of it, and how its own rows are made."""

    make: Callable[[], nn.Module]
    told: dict[str, Any]
    own: Own = field(default=lambda module, z, label, condition: module(z["z"]))


class Drawing(TorchFunctionMode):
    """What `torch.randn` gives is this, in turn."""

    def __init__(self, numbers: list[Tensor]) -> None:
        super().__init__()
        self.numbers = numbers

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.numbers.pop(0) if func is torch.randn else func(*args, **(kwargs or {}))


class Modulated(nn.Module):
    """StyleGAN2's modulated convolution (Karras et al. 2020, section 2.2), all rows in one of `groups` of rows."""

    def __init__(self, style: int, inner: int, outer: int, size: int = 3, demodulate: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outer, inner, size, size))
        self.affine = nn.Linear(style, inner)
        self.affine.bias.data.fill_(1)
        self.size, self.demodulate = size, demodulate

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        n, inner, height, width = x.shape
        weight = self.weight * (self.affine(w) / math.sqrt(inner * self.size**2)).reshape(n, 1, inner, 1, 1)
        if self.demodulate:
            weight = weight * (weight.square().sum([2, 3, 4], keepdim=True) + 1e-8).rsqrt()
        made = F.conv2d(x.reshape(1, -1, height, width), weight.flatten(0, 1), padding=self.size // 2, groups=n)
        return made.reshape(n, -1, height, width)


class StyleGan2(nn.Module):
    """Mapping, modulated convolutions, noise maps drawn inside, skips to RGB, psi."""

    def __init__(self, width: int = 8, blocks: int = 2, style: int = 16) -> None:
        super().__init__()
        self.mapping = nn.Sequential(*(nn.Sequential(nn.Linear(style, style), nn.LeakyReLU(0.2)) for _ in range(3)))
        self.register_buffer("average", torch.randn(style) * 0.1)
        self.constant = nn.Parameter(torch.randn(1, width, 4, 4))
        self.layers = nn.ModuleList(Modulated(style, width, width) for _ in range(blocks))
        self.to_rgb = nn.ModuleList(Modulated(style, width, 3, 1, demodulate=False) for _ in range(blocks))
        self.strength = nn.Parameter(torch.full((blocks,), 0.3))

    def forward(self, z: Tensor, c: Tensor | None, truncation_psi: float = 1, noise_mode: str = "random") -> Tensor:
        w = self.mapping(z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt())
        w = self.average.lerp(w, truncation_psi)
        x, image = self.constant.repeat(len(z), 1, 1, 1), None
        for layer, to_rgb, strength in zip(self.layers, self.to_rgb, self.strength, strict=True):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = layer(x, w)
            if noise_mode == "random":
                x = x + torch.randn([x.shape[0], 1, *x.shape[2:]], device=x.device) * strength
            x = F.leaky_relu(x, 0.2) * math.sqrt(2)
            rgb = to_rgb(x, w)
            image = rgb if image is None else rgb + F.interpolate(image, scale_factor=2, mode="bilinear")
        return image


class StyleGan3(nn.Module):
    """Fourier features and filtered nonlinearities: upsampled, cut, filtered by a fixed kernel, sampled down."""

    def __init__(self, style: int = 16, width: int = 8) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(width, 2))
        self.mapping, self.layer = nn.Linear(style, style), Modulated(style, width, width)
        self.last = Modulated(style, width, 3, 1, demodulate=False)
        kernel = torch.tensor([1.0, 3, 3, 1])
        self.register_buffer("kernel", (kernel[:, None] * kernel / 64)[None, None])

    def forward(self, z: Tensor) -> Tensor:
        w = F.leaky_relu(self.mapping(z), 0.2)
        side = torch.linspace(-1, 1, 12)
        grid = torch.stack(torch.meshgrid(side, side, indexing="xy"), -1)
        x = torch.sin(grid @ self.frequencies.T * 2 * math.pi).permute(2, 0, 1).unsqueeze(0).repeat(len(z), 1, 1, 1)
        x = self.layer(x, w)
        n, channels, height, width = x.shape
        wide = F.pad(x.reshape(n, channels, height, 1, width, 1), [0, 1, 0, 0, 0, 1]).reshape(n, channels, 24, 24)
        wide = F.conv2d(F.pad(wide, [2, 1, 2, 1]), self.kernel.repeat(channels, 1, 1, 1) * 4, groups=channels)
        x = F.leaky_relu(wide, 0.2)[:, :, ::2, ::2]
        return self.last(x, w)[:, :, 2:-2, 2:-2]


class R3Gan(nn.Module):
    """R3GAN's blocks: a grouped convolution between two of 1x1, biased activations, residuals, bilinear steps."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.embedding, self.basis = nn.Linear(classes, 8, bias=False), nn.Parameter(torch.randn(16, 4, 4))
        self.first = nn.Linear(16 + 8, 16)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(16, 32, 1, bias=False), nn.LeakyReLU(0.2), nn.Conv2d(32, 32, 3, padding=1, groups=4),
                nn.LeakyReLU(0.2), nn.Conv2d(32, 16, 1, bias=False),
            )
            for _ in range(2)
        )  # fmt: skip
        self.last = nn.Conv2d(16, 3, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x = self.basis * self.first(torch.cat([x, self.embedding(y)], 1))[:, :, None, None]
        for block in self.blocks:
            x = F.interpolate(x + block(x), scale_factor=2, mode="bilinear", align_corners=False)
        return self.last(x)


class BigGan(nn.Module):
    """z in pieces, each with the class's embedding for the conditional batch norm of a block; spectral norm."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, 8)
        self.first = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 16 * 16))
        self.norms = nn.ModuleList(nn.BatchNorm2d(16, affine=False) for _ in range(2))
        self.gains = nn.ModuleList(nn.Linear(4 + 8, 32) for _ in range(2))
        convolutions = (nn.Conv2d(16, 16, 3, padding=1) for _ in range(2))
        self.layers = nn.ModuleList(nn.utils.parametrizations.spectral_norm(one) for one in convolutions)
        self.last = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        first, *rest = z.split(4, 1)
        embedded = self.embedding(y)
        x = self.first(first).view(-1, 16, 4, 4)
        for piece, norm, gain, layer in zip(rest, self.norms, self.gains, self.layers, strict=True):
            scale, shift = gain(torch.cat([piece, embedded], 1))[:, :, None, None].chunk(2, 1)
            x = F.interpolate(F.relu(norm(x) * (1 + scale) + shift), scale_factor=2)
            x = layer(x)
        return torch.tanh(self.last(x))


def dcgan() -> nn.Module:
    """The PyTorch example's: z [N, d, 1, 1]."""
    return nn.Sequential(
        nn.ConvTranspose2d(16, 16, 4, 1, 0, bias=False), nn.BatchNorm2d(16), nn.ReLU(True),
        nn.ConvTranspose2d(16, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(True),
        nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip


class ConditionalGan(nn.Module):
    """A one-hot label beside z."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(16 + classes, 32), nn.LeakyReLU(0.2), nn.BatchNorm1d(32), nn.Linear(32, 64), nn.Tanh()
        )

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        return self.layers(torch.cat([z, label], dim=1)).view(-1, 1, 8, 8)


class AcGan(nn.Module):
    """A label's embedding times z."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.embedding, self.first = nn.Embedding(classes, 16), nn.Linear(16, 8 * 16)
        self.layers = nn.Sequential(
            nn.BatchNorm2d(8), nn.Upsample(scale_factor=2), nn.Conv2d(8, 8, 3, padding=1), nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2), nn.Conv2d(8, 3, 3, padding=1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        return self.layers(self.first(noise * self.embedding(labels)).view(-1, 8, 4, 4))


class InfoGan(nn.Module):
    """Noise, a categorical code and continuous codes on (-1, 1), apart."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(12 + classes + 2, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, noise: Tensor, labels: Tensor, code: Tensor) -> Tensor:
        return torch.tanh(self.layers(torch.cat((noise, labels, code), -1))).view(-1, 1, 8, 8)


class WaveGan(nn.Module):
    """Transposed convolutions along time, output padding, sound [N, 1, frames]."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 16 * 16)
        self.layers = nn.Sequential(
            nn.ReLU(), nn.ConvTranspose1d(16, 8, 25, 4, padding=11, output_padding=1),
            nn.ReLU(), nn.ConvTranspose1d(8, 1, 25, 4, padding=11, output_padding=1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(self.first(z).view(-1, 16, 16))


class HiFiGan(nn.Module):
    """A spectrogram made of z, then HiFi-GAN's upsampling and residual blocks of dilated, weight-normed layers."""

    def __init__(self) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.before = norm(nn.Conv1d(20, 16, 7, padding=3))
        self.ups = nn.ModuleList(norm(nn.ConvTranspose1d(16 >> i, 8 >> i, 8, 4, padding=2)) for i in range(2))
        self.blocks = nn.ModuleList(
            nn.ModuleList(norm(nn.Conv1d(8 >> i, 8 >> i, 3, dilation=d, padding=d)) for d in (1, 3, 5))
            for i in range(2)
        )
        self.after = norm(nn.Conv1d(4, 1, 7, padding=3))

    def forward(self, mel: Tensor) -> Tensor:
        x = self.before(mel)
        for up, block in zip(self.ups, self.blocks, strict=True):
            x = up(F.leaky_relu(x, 0.1))
            for layer in block:
                x = x + layer(F.leaky_relu(x, 0.1))
        return torch.tanh(self.after(F.leaky_relu(x)))


class RealNvp(nn.Module):
    """The inverse of affine couplings, with masks in turn."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 16), nn.Tanh(), nn.Linear(16, width)) for _ in "1234"
        )
        self.shifts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 16), nn.ReLU(), nn.Linear(16, width)) for _ in "1234"
        )
        self.register_buffer("mask", torch.arange(width) % 2)

    def inverse(self, z: Tensor) -> Tensor:
        for place, (scale, shift) in enumerate(zip(self.scales, self.shifts, strict=True)):
            mask = (self.mask + place) % 2
            kept = z * mask
            z = kept + (1 - mask) * (z * torch.exp(torch.tanh(scale(kept))) + shift(kept))
        return z


class MaskedFlow(nn.Module):
    """A masked autoregressive flow, sampled one column after the other (Papamakarios et al. 2017)."""

    def __init__(self, width: int = 5) -> None:
        super().__init__()
        self.width = width
        self.weight, self.last = nn.Parameter(torch.randn(24, width)), nn.Parameter(torch.randn(2 * width, 24) * 0.2)
        order = torch.arange(24) % (width - 1)
        self.register_buffer("mask", (order[:, None] >= torch.arange(width)).float())
        self.register_buffer("last_mask", (torch.arange(width)[:, None] > order).float().repeat(2, 1))

    def forward(self, u: Tensor) -> Tensor:
        x = torch.zeros_like(u)
        for column in range(self.width):
            hidden = torch.relu(F.linear(x, self.weight * self.mask))
            shift, scale = F.linear(hidden, self.last * self.last_mask).chunk(2, dim=1)
            x[:, column] = u[:, column] * torch.exp(0.5 * torch.tanh(scale[:, column])) + shift[:, column]
        return x


@dataclass
class DecoderOutput:
    """As diffusers gives it."""

    sample: Tensor
    commit_loss: Tensor | None = None


class AutoencoderKl(nn.Module):
    """A decoder of spatial latents: group norm, attention, SiLU, nearest steps; `decode` gives a dataclass."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(4, 16, 3, padding=1), nn.GroupNorm(4, 16)
        self.attention = nn.Conv2d(16, 48, 1)
        self.up, self.last = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 3, 3, padding=1)

    def encode(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def decode(self, z: Tensor, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        x = self.first(z / 0.18215)
        q, k, v = self.attention(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, -1)
        x = x + F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        x = self.up(F.interpolate(F.silu(x), scale_factor=2.0, mode="nearest"))
        x = torch.tanh(self.last(F.silu(x)) * 0.2)
        return DecoderOutput(x) if return_dict else (x,)


class CaloGan(nn.Module):
    """Three layers of a calorimeter, whose energies go with that of the particle (Paganini et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes = ((3, 12), (6, 6), (6, 3))
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, h * w)) for h, w in self.shapes
        )

    def forward(self, latents: Tensor, energy: Tensor) -> tuple[Tensor, ...]:
        given = latents * energy.log1p()
        images = (layer(given).view(-1, *shape) for layer, shape in zip(self.layers, self.shapes, strict=True))
        return tuple(F.relu(image) * energy.unsqueeze(-1) / 100 for image in images)


class PianoRoll(nn.Module):
    """A VAE's decoder of bars: a recurrent layer, steps x pitches, velocities by a sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.recurrent, self.last = nn.Linear(16, 24), nn.GRU(24, 24, batch_first=True), nn.Linear(24, 12)

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        steps = torch.tanh(self.first(z)).unsqueeze(1).repeat(1, 8, 1)
        return {"roll": torch.sigmoid(self.last(self.recurrent(steps)[0]))}


def _hot(label: Tensor) -> Tensor:
    return F.one_hot(label, len(LABELS)).float()


def _style(module: nn.Module, z: dict[str, Tensor], _label: Any, _condition: Any) -> Tensor:
    noise = [numbers for name, numbers in z.items() if name != "z"]
    with Drawing(noise):
        return module(z["z"], None, truncation_psi=0.7)


_ENERGY = Condition(name="energy", unit="GeV", range=(1, 100), prior="log-uniform")
_CLASSES = len(LABELS)

FAMILIES: dict[str, Family] = {
    "StyleGAN2": Family(StyleGan2, {"latent_dim": 16, "inputs": {"truncation_psi": "constant:0.7"}}, _style),
    "StyleGAN3": Family(StyleGan3, {"latent_dim": 16}),
    "R3GAN": Family(
        lambda: R3Gan(_CLASSES),
        {"latent_dim": 16, "labels": LABELS},
        lambda module, z, label, _: module(z["x"] if "x" in z else z["z"], _hot(label)),
    ),
    "BigGAN": Family(
        lambda: BigGan(_CLASSES),
        {"latent_dim": 12, "labels": LABELS},
        lambda module, z, label, _: module(z["z"], label),
    ),
    "DCGAN": Family(dcgan, {"latent_dim": 16}, lambda module, z, *_: module(next(iter(z.values())))),
    "cGAN": Family(
        lambda: ConditionalGan(_CLASSES),
        {"latent_dim": 16, "labels": LABELS},
        lambda module, z, label, _: module(z["z"], _hot(label)),
    ),
    "ACGAN": Family(
        lambda: AcGan(_CLASSES),
        {"latent_dim": 16, "labels": LABELS, "prior": "uniform"},
        lambda module, z, label, _: module(z["z"], label),
    ),
    "InfoGAN": Family(
        lambda: InfoGan(_CLASSES),
        {"latent_dim": 12, "labels": LABELS, "inputs": {"code": "latent:2,uniform(-1,1)", "noise": "latent:12"}},
        lambda module, z, label, _: module(z["noise"], _hot(label), z["code"]),
    ),
    "WaveGAN": Family(WaveGan, {"latent_dim": 16, "prior": "uniform", "kind": "audio"}),
    "HiFi-GAN": Family(
        HiFiGan, {"latent_shape": (20, 8), "kind": "audio"}, lambda module, z, *_: module(next(iter(z.values())))
    ),
    "RealNVP": Family(RealNvp, {"latent_dim": 6, "call": "inverse"}, lambda module, z, *_: module.inverse(z["z"])),
    "MAF": Family(MaskedFlow, {"latent_dim": 5, "kind": "table"}),
    "AutoencoderKL": Family(
        AutoencoderKl,
        {"latent_shape": (4, 4, 4), "call": "decode"},
        lambda module, z, *_: module.decode(next(iter(z.values()))).sample,
    ),
    "calorimeter GAN": Family(
        CaloGan,
        {"latent_dim": 16, "conditions": [_ENERGY], "output": 1},
        lambda module, z, _, condition: module(z["z"], condition)[1],
    ),
    "piano-roll VAE": Family(PianoRoll, {"latent_dim": 16}, lambda module, z, *_: module(z["z"])["roll"]),
}
"""By name."""


def own_rows(name: str, module: nn.Module, bundle: Any, inputs: Any) -> Tensor:
    """What a family's module itself gives for what rows of its bundle are made from."""
    parts: dict[str, Tensor] = {}
    start = 0
    pieces = bundle.manifest.latent.pieces
    for part in pieces:
        columns = torch.from_numpy(inputs.z[:, start : start + part.width])
        parts["z" if len(pieces) == 1 else part.name] = columns.reshape(-1, *part.shape)
        start += part.width
    label = None if inputs.label is None else torch.from_numpy(inputs.label)
    condition = None if inputs.condition is None else torch.from_numpy(inputs.condition)
    with torch.no_grad():
        return FAMILIES[name].own(module.eval(), parts, label, condition)
