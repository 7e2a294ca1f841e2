"""How long does `export_bundle` take, and how much memory, of a generator as StyleGAN2 has it?

    python -m benchmarks stylegan2

25 million parameters, pictures 3x256x256, modulated convolutions in groups of rows, noise drawn inside, psi a constant:
the widths of the published configuration F (Karras et al. 2020), halved until they are so many. Torch gives the time of
one row beside it. The memory is the largest resident size that Linux has seen of the process (VmHWM).
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.packing.watched import watched
from benchmarks.runner import Results, table
from latentserve.training.export import export_bundle
from tests.families import Modulated

TITLE = "Exporting a large generator"

SIDE, STYLE = 256, 512
WIDTHS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64}  # of the convolutions at each side
MOST_SECONDS, MOST_BYTES = 600, 6_000_000_000  # the aim


class LargeStyleGan2(nn.Module):
    """Two modulated convolutions a resolution, noise behind each, skips to RGB."""

    def __init__(self) -> None:
        super().__init__()
        layers = [(nn.Linear(STYLE, STYLE), nn.LeakyReLU(0.2)) for _ in range(8)]
        self.mapping = nn.Sequential(*(layer for pair in layers for layer in pair))
        self.register_buffer("average", torch.randn(STYLE) * 0.1)
        self.constant = nn.Parameter(torch.randn(1, WIDTHS[4], 4, 4))
        widths = list(WIDTHS.values())
        before = [widths[0], *widths[:-1]]
        self.up = nn.ModuleList(Modulated(STYLE, inner, outer) for inner, outer in zip(before, widths, strict=True))
        self.flat = nn.ModuleList(Modulated(STYLE, width, width) for width in widths[1:])
        self.to_rgb = nn.ModuleList(Modulated(STYLE, width, 3, 1, demodulate=False) for width in widths)
        self.strength = nn.Parameter(torch.full((2 * len(widths),), 0.3))

    def forward(self, z: Tensor, truncation_psi: float = 1) -> Tensor:
        """Pictures [n, 3, 256, 256] of z [n, 512]."""
        w = self.average.lerp(self.mapping(z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()), truncation_psi)
        x = self._convolved(self.up[0], self.constant.repeat(len(z), 1, 1, 1), w, 0)
        image = self.to_rgb[0](x, w)
        for place in range(1, len(self.up)):
            x = F.interpolate(x, scale_factor=2, mode="bilinear")
            x = self._convolved(self.up[place], x, w, 2 * place - 1)
            x = self._convolved(self.flat[place - 1], x, w, 2 * place)
            image = self.to_rgb[place](x, w) + F.interpolate(image, scale_factor=2, mode="bilinear")
        return image

    def _convolved(self, layer: nn.Module, x: Tensor, w: Tensor, place: int) -> Tensor:
        x = layer(x, w)
        x = x + torch.randn([x.shape[0], 1, *x.shape[2:]], device=x.device) * self.strength[place]
        return F.leaky_relu(x, 0.2) * math.sqrt(2)


def measure(given: argparse.Namespace, results: Results) -> None:
    """`parameters`, `row_seconds` of torch; `export_seconds`, `peak_bytes`, `bundle_bytes`."""
    module = LargeStyleGan2().eval()
    results["parameters"] = sum(parameter.numel() for parameter in module.parameters())
    z = torch.randn(1, STYLE)
    with torch.no_grad():
        module(z)
        began = time.monotonic()
        module(z)
    results["row_seconds"] = round(time.monotonic() - began, 2)
    with tempfile.TemporaryDirectory() as name:
        bundle = Path(name) / "bundle"
        began = time.monotonic()
        results["peak_bytes"] = watched("stylegan2", bundle)
        results["export_seconds"] = round(time.monotonic() - began, 1)
        results["bundle_bytes"] = sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file())


def report(results: Results) -> list[str]:
    seconds, peak = results["export_seconds"], results["peak_bytes"]
    row = (
        f"{results['parameters'] / 1e6:.1f} M", f"{results['row_seconds']:g}", f"{seconds / 60:.1f}",
        f"{peak / 1e9:.2f}", f"{results['bundle_bytes'] / 1e6:.0f}",
        "met" if seconds <= MOST_SECONDS and peak <= MOST_BYTES else "missed",
    )  # fmt: skip
    aim = f"<= {MOST_SECONDS // 60} min, <= {MOST_BYTES / 1e9:.0f} GB"
    head = ("parameters", "a row in torch, s", "export, min", "memory, GB", "bundle, MB", f"aim: {aim}")
    return [
        "`export_bundle(module, latent_dim=512, inputs={'truncation_psi': 'constant:0.7'})`.",
        "",
        *table(head, [row]),
    ]


def export(out: Path) -> None:
    """Make the bundle."""
    torch.manual_seed(0)
    constants = {"truncation_psi": "constant:0.7"}
    export_bundle(LargeStyleGan2().eval(), latent_dim=STYLE, name="large", inputs=constants, out=out)
