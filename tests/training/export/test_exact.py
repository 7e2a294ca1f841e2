"""Steps that stand for functions of torch give what the functions give, and are exported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentserve import open_bundle
from latentserve.service.sampling.latents import draw_latents
from latentserve.training.export import export_bundle
from latentserve.training.export.chance import Chance

torch.manual_seed(0)
_X, _WINDOW = torch.randn(2, 5, 9, dtype=torch.complex64), torch.hann_window(8)
_SQUARES = torch.randn(3, 5, 5) + 2 * torch.eye(5)
_WEIGHT = torch.randn(9, 4, dtype=torch.complex64)


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (torch.erfinv, torch.tensor([-1, -0.9999999, -0.7, 0, 1e-7, 0.5, 0.99, 1])),
        (torch.erfinv, torch.linspace(-1, 1, 2001, dtype=torch.float64)),
        (torch.special.ndtri, torch.tensor([0, 1e-30, 1e-6, 0.2, 0.5, 0.8, 0.9999999, 1])),
        (torch.special.ndtri, torch.logspace(-300, -1, 200, dtype=torch.float64)),
        (torch.lgamma, torch.tensor([0.0, 1e-20, 0.3, 0.5, 1, 2, 7.5, 1e6, -0.5, -3.3])),
        (lambda x: torch.hypot(x, 2 * x + 1), torch.randn(9)),
        (torch.special.gammaln, torch.linspace(-9.9, 30, 500, dtype=torch.float64)),
        (lambda x: torch.cumprod(x, 1), torch.randn(3, 13)),
        (lambda x: x.cumprod(-1), torch.randn(3, 1)),
        (lambda x: torch.cumprod(x, 0), torch.tensor([3, 4, 5])),
        (lambda x: torch.istft(x, 8, 2, window=_WINDOW), _X),
        (lambda x: torch.istft(x[0], 8, window=_WINDOW, normalized=True), _X),
        (lambda x: torch.istft(x, 8, 3, 6, window=torch.hamming_window(6), length=20), _X),
        (lambda x: torch.istft(x, 8, 2, window=_WINDOW, length=40), _X),
        (lambda x: torch.istft(x, 8, 4, window=torch.ones(8), center=False), _X),
        (lambda x: torch.istft(torch.cat([x, x[:, 1:4]], 1), 8, 2, window=_WINDOW, onesided=False), _X),
        (torch.linalg.inv, _SQUARES.double()),
        (torch.inverse, torch.tensor([[0.0, 2, 0], [1, 0, 0], [0, 3, 4]])),
        (lambda x: torch.linalg.cholesky(x @ x.mT), _SQUARES),
        (lambda x: torch.linalg.solve(x, x[..., :2]), _SQUARES),
        (torch.exp, _X),
        (torch.sqrt, torch.cat([_X.flatten(), torch.tensor([-4 + 0j, 0, 9])])),
        (torch.log, _X),
        (torch.angle, _X),
        (lambda x: x.conj() * x, _X),
        (lambda x: x.real * torch.exp(1j * x.imag), _X),
        (lambda x: (x**2 + 1j).square() * (2 - 3j), _X),
        (lambda x: torch.einsum("bij,jk->bik", x, _WEIGHT), _X),
        (lambda x: F.linear(x, _WEIGHT.T), _X),
        (lambda x: F.pad(x, (1, 2)).unsqueeze(1)[:, 0, :, None], _X),
        (lambda x: torch.where(x.real > 0, x, x.real), _X),
    ],
)
def test_they_give_the_same(function: Callable[[Tensor], Tensor], x: Tensor) -> None:
    with Chance():
        made = function(x)
    own = function(x)
    assert made.dtype == own.dtype
    # What Newton's steps make of the ends of float32 is torch's rounding.
    torch.testing.assert_close(made, own, rtol=1e-5 if own.dtype != torch.float64 else 1e-12, atol=1e-6)


class Vocoder(nn.Module):
    """Sizes and phases of a spectrogram, as iSTFTNet ends (Kaneko et al. 2022)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 2 * 9 * 5)
        self.register_buffer("window", torch.hann_window(16))

    def forward(self, z: Tensor) -> Tensor:
        size, phase = self.layer(z).reshape(-1, 2, 9, 5).unbind(1)
        return torch.istft(torch.exp(size) * torch.exp(torch.sin(phase) * 1j), 16, 4, 16, window=self.window)


class Gaussianised(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return torch.erfinv(torch.tanh(z) * 0.999) + torch.cumprod(torch.sigmoid(z), 1)


class Fourier(nn.Module):
    """Complex weights of the lowest frequencies, as Fourier neural operators have them (Li et al. 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 16)
        self.weight = nn.Parameter(torch.randn(2, 3, 4, dtype=torch.complex64))
        self.last = nn.Linear(4, 2, dtype=torch.complex64)

    def forward(self, z: Tensor) -> Tensor:
        low = torch.fft.rfft(self.layer(z).reshape(-1, 2, 8))[..., :4]
        made = torch.zeros(z.shape[0], 3, 5, dtype=torch.complex64)
        made[..., :2] = self.last(torch.einsum("nif,iof->nof", low, self.weight))
        return torch.fft.irfft(made, n=8)


class Autocast(nn.Module):
    """In bfloat16 in the middle; elsewhere as its weights are."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(6, 8), nn.Linear(8, 8)

    def forward(self, z: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x = self.layer(z)
        return self.last(x.bfloat16().float())


def served(module: nn.Module, out: Path, **told: Any) -> tuple[np.ndarray, Tensor]:
    manifest = export_bundle(module, out / "b", name="b", latent_dim=6, reference_samples=64, **told)
    z = torch.from_numpy(draw_latents(manifest.latent, 1, 0, 3))
    return open_bundle(out / "b").sample(3, seed=1), z


class Both(nn.Module):
    """One after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = Gaussianised(), Vocoder()

    def forward(self, z: Tensor) -> Tensor:
        return self.last(self.first(z))


@pytest.mark.parametrize(
    "module", [Both(), Fourier(), *(pytest.param(each, marks=pytest.mark.full) for each in (Vocoder(), Gaussianised()))]
)
def test_they_are_exported(module: nn.Module, tmp_path: Path) -> None:
    before = dict(module.named_parameters())
    rows, z = served(module, tmp_path)
    assert all(weight is before[name] for name, weight in module.named_parameters())
    with torch.no_grad():
        np.testing.assert_allclose(rows, module(z).numpy(), atol=1e-4)


def test_fewer_bits_are_made_float32_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    module = Autocast()
    rows, z = served(module, tmp_path)
    assert "asks for bfloat16 in part, and is computed in float32" in caplog.text
    with torch.no_grad():
        np.testing.assert_allclose(rows, module.last(module.layer(z)).numpy(), atol=1e-5)
        assert torch.allclose(module(z), torch.from_numpy(rows), atol=0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert module.layer(z).dtype == torch.bfloat16  # as it was
