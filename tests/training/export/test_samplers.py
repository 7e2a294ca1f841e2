"""Draws that torch makes by rejection have the same distribution by steps of a fixed number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn
from torch.distributions import Beta, Binomial, Categorical, NegativeBinomial, Poisson, StudentT

from latentserve import open_bundle
from latentserve.training.errors import ExportError
from latentserve.training.export import export_bundle
from latentserve.training.export.chance import Chance

_N = 20_000
_P = 1e-4  # below it, a test fails; its numbers are the same always


def sampled(draw: Callable[[], Tensor]) -> np.ndarray:
    """What is drawn of given numbers, [n]."""
    with (seen := Chance()):
        draw()
    generator = torch.Generator().manual_seed(0)
    given = [
        (torch.randn if one.prior == "normal" else torch.rand)(one.shape, generator=generator) for one in seen.drawn
    ]
    with Chance(given):
        return draw().flatten().double().numpy()


@pytest.mark.parametrize("shape", [0.2, 1.0, 30.0])
def test_gamma(shape: float) -> None:
    rows = sampled(lambda: torch._standard_gamma(torch.full((_N,), shape)))
    assert stats.kstest(rows, stats.gamma(shape).cdf).pvalue > _P


def test_what_is_made_of_gammas() -> None:
    beta = sampled(lambda: Beta(torch.full((_N,), 0.7), 2.0).sample())
    assert stats.kstest(beta, stats.beta(0.7, 2.0).cdf).pvalue > _P
    student = sampled(lambda: StudentT(torch.full((_N,), 4.0)).sample())
    assert stats.kstest(student, stats.t(4).cdf).pvalue > _P


def counted(rows: np.ndarray, expected: Callable[[np.ndarray], np.ndarray]) -> None:
    """Whether counts are of a distribution, by the chi-squared test."""
    counts = np.bincount(rows.astype(int))
    wanted = expected(np.arange(len(counts))) * _N
    common = wanted > 10
    assert abs(counts[common].sum() - wanted[common].sum()) < 0.01 * _N
    distance = float((((counts - wanted) ** 2)[common] / wanted[common]).sum())
    assert stats.chi2(max(1, int(common.sum()) - 1)).sf(distance) > _P


@pytest.mark.parametrize("rate", [0.0, 0.3, 9.9, 10.0, 300.0])
def test_poisson(rate: float) -> None:
    rows = sampled(lambda: Poisson(torch.full((_N,), rate), validate_args=False).sample())
    counted(rows, stats.poisson(rate).pmf)


@pytest.mark.parametrize(("n", "p"), [(1, 0.3), (10, 0.0), (10, 1.0), (12, 0.9), (40, 0.25), (40, 0.7), (1000, 0.4)])
def test_binomial(n: int, p: float) -> None:
    rows = sampled(lambda: Binomial(torch.full((_N,), float(n)), torch.tensor(p)).sample())
    assert rows.max() <= n
    counted(rows, stats.binom(n, p).pmf)


def test_geometric() -> None:
    counted(sampled(lambda: torch.empty(_N).geometric_(0.3)), stats.geom(0.3).pmf)


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (lambda x: F.alpha_dropout(x, 0.3, training=True), 2.0),
        (lambda x: F.feature_alpha_dropout(x.reshape(-1, 2, 2), 0.3, training=True), 2.0),
        (lambda x: F.rrelu(x, training=True), -2.0),
        (lambda x: F.rrelu(x, training=True), 2.0),
        (lambda x: x.clone().random_(3, 9), 2.0),
    ],
)
def test_others_are_distributed_as_torch_s(function: Callable[[Tensor], Tensor], x: float) -> None:
    torch.manual_seed(0)
    own = function(torch.full((_N,), x)).flatten().double().numpy()
    rows = sampled(lambda: function(torch.full((_N,), x)))
    assert stats.ks_2samp(rows.round(3), own.round(3)).pvalue > _P


def test_several_of_a_multinomial_are_different_ones() -> None:
    shares = torch.tensor([0.5, 0.3, 0.15, 0.05])
    pairs = sampled(lambda: shares.expand(_N, 4).multinomial(2)).reshape(-1, 2).astype(int)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    np.testing.assert_allclose(np.bincount(pairs[:, 0]) / _N, shares, atol=0.02)
    second = [sum(float(shares[a] * shares[b] / (1 - shares[a])) for a in range(4) if a != b) for b in range(4)]
    np.testing.assert_allclose(np.bincount(pairs[:, 1]) / _N, second, atol=0.02)


class Counting(nn.Module):
    """Draws from families of torch's; `more`: from those whose parts others draw, too."""

    def __init__(self, more: bool) -> None:
        super().__init__()
        self.layer, self.more = nn.Linear(4, 3), more

    def forward(self, z: Tensor) -> Tensor:
        x = nn.functional.softplus(self.layer(z))
        counts = NegativeBinomial(5, logits=-x).sample()
        which = nn.functional.one_hot(Categorical(logits=x).sample(), 3)
        if not self.more:
            return torch.cat([counts, which], 1)
        return torch.cat([counts + Poisson(x).sample(), Beta(x, x).rsample(), which], 1)


@pytest.mark.parametrize("more", [False, pytest.param(True, marks=pytest.mark.full)])
def test_they_are_exported_and_every_row_has_its_own(more: bool, tmp_path: Path) -> None:
    manifest = export_bundle(Counting(more), tmp_path / "b", name="b", latent_dim=4, reference_samples=64)
    assert {part.name.rpartition("_")[0] or part.name for part in manifest.latent.pieces if part.noise} >= {
        "gamma",
        "poisson",
        "multinomial",
    }
    bundle = open_bundle(tmp_path / "b")
    rows = bundle.sample(50, seed=3)
    assert np.array_equal(rows[:, :3], np.round(rows[:, :3]))
    assert rows[:, :3].std() > 0.5
    np.testing.assert_allclose(rows[7:8], bundle.sample(1, seed=3, offset=7), atol=1e-5)


def test_what_cannot_be_drawn_is_named(tmp_path: Path) -> None:
    class Attending(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            x = z.unsqueeze(1)
            return F.scaled_dot_product_attention(x, x, x, dropout_p=0.5)

    with pytest.raises(ExportError, match="draws by torch's bernoulli, which cannot be drawn from a row's seed"):
        export_bundle(Attending(), tmp_path / "b", name="b", latent_dim=4)


def test_no_steps_stand_for_draws_of_a_fixed_seed(tmp_path: Path) -> None:
    class Fixed(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            torch.manual_seed(0)
            return z + torch.poisson(torch.ones(4))

    with pytest.raises(ExportError, match="poisson draws from a fixed seed, in a way that cannot be drawn again"):
        export_bundle(Fixed(), tmp_path / "b", name="b", latent_dim=4)
