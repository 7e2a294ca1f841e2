"""What a module draws: chance is every row's own; what a fixed seed draws is the same always, as the module has it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentserve import open_bundle
from latentserve.service.bundle import Manifest
from latentserve.service.sampling.latents import draw_latents
from latentserve.training.errors import ExportError
from latentserve.training.export import export_bundle

DIM, WIDTH = 6, 8


class Layer(nn.Module):
    """A layer, and what is done with what it gives."""

    def __init__(self, then: Callable[[Layer, Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.then = nn.Linear(DIM, WIDTH), then
        self.generator = torch.Generator()
        self.kept: Tensor | None = None

    def forward(self, z: Tensor) -> Tensor:
        return self.then(self, self.layer(z))


def seeded(then: Callable[[Tensor], Tensor]) -> Callable[[Layer, Tensor], Tensor]:
    def drawn(_module: Layer, x: Tensor) -> Tensor:
        torch.manual_seed(7)
        return then(x)

    return drawn


def of_generator(module: Layer, x: Tensor) -> Tensor:
    return x + torch.randn(1, WIDTH, generator=module.generator.manual_seed(3))


def of_numpy(_module: Layer, x: Tensor) -> Tensor:
    return x + torch.from_numpy(np.random.default_rng(0).standard_normal(WIDTH, np.float32))


def kept(module: Layer, x: Tensor) -> Tensor:
    """As it was drawn first."""
    if module.kept is None:
        module.kept = torch.randn(WIDTH)
    return x + module.kept


def forked(_module: Layer, x: Tensor) -> Tensor:
    """One from a seed of its own; torch's goes on."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        x = x * torch.rand(WIDTH)
    return x + torch.rand_like(x)


def going_on(module: Layer, x: Tensor) -> Tensor:
    return x + torch.randn(len(x), WIDTH, generator=module.generator)


def exported(then: Callable[[Layer, Tensor], Tensor], out: Path, **told: Any) -> tuple[Layer, Manifest]:
    torch.manual_seed(0)
    module = Layer(then)
    told = {"name": "b", "latent_dim": DIM, "reference_samples": 64} | told
    return module, export_bundle(module, out / "b", **told)


def is_served(module: Layer, manifest: Manifest, out: Path) -> None:
    """The rows are those that the module gives for each alone."""
    z = torch.from_numpy(draw_latents(manifest.latent, 1, 0, 4))
    with torch.no_grad():
        own = torch.cat([module(row) for row in z.split(1)])
    np.testing.assert_allclose(open_bundle(out / "b").sample(4, seed=1), own.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "then",
    [
        of_generator,
        of_numpy,
        kept,
        pytest.param(seeded(lambda x: x @ torch.randn(WIDTH, WIDTH)), marks=pytest.mark.full),
        seeded(lambda x: x[:, torch.randperm(WIDTH)] + torch.randint(0, 9, (WIDTH,)) + torch.empty(WIDTH).cauchy_()),
    ],
    ids=["generator", "numpy", "kept", "matrix", "permutation"],
)
def test_what_a_fixed_seed_draws_is_a_constant(
    then: Callable[[Layer, Tensor], Tensor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module, manifest = exported(then, tmp_path)
    assert manifest.latent.dim == DIM
    is_served(module, manifest, tmp_path)
    assert "fixed seed" not in caplog.text


@pytest.mark.parametrize(
    "then",
    [
        pytest.param(lambda x: x + torch.randn(len(x), WIDTH), marks=pytest.mark.full),
        pytest.param(
            lambda x: F.dropout(x, 0.5, training=True) + torch.empty_like(x).exponential_(2), marks=pytest.mark.full
        ),
        pytest.param(
            lambda x: F.gumbel_softmax(x, hard=True) + torch.bernoulli(torch.sigmoid(x)), marks=pytest.mark.full
        ),
        lambda x: x.softmax(1).multinomial(1) + x.softmax(1).multinomial(3)[:, :1] + x,
        lambda x: x + torch.randn(4, len(x), WIDTH).sum(0) + torch.rand(2 * len(x), 4).reshape(-1, WIDTH),
    ],
    ids=["randn", "dropout", "gumbel", "multinomial", "axes"],
)
def test_numbers_of_places_are_those_of_a_row_alone(
    then: Callable[[Tensor], Tensor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        module, manifest = exported(seeded(then), tmp_path)
    assert manifest.latent.dim == DIM
    is_served(module, manifest, tmp_path)
    assert "every row has those that the module draws for a row alone" in caplog.text


@pytest.mark.parametrize("then", [going_on, forked])
def test_what_goes_on_is_chance(then: Callable[[Layer, Tensor], Tensor], tmp_path: Path) -> None:
    module = Layer(then)
    before = torch.get_rng_state()
    manifest = export_bundle(module, tmp_path / "b", name="b", latent_dim=DIM, reference_samples=64)
    assert torch.equal(torch.get_rng_state(), before)
    assert sum(part.noise for part in manifest.latent.pieces) == 1
    rows = open_bundle(tmp_path / "b").sample(3, latents=np.zeros((3, DIM), np.float32), seed=4)
    assert not np.allclose(rows[0], rows[1])


def test_rows_of_chance_may_lie_along_any_axis(tmp_path: Path) -> None:
    _, manifest = exported(lambda _module, x: x + torch.randn(4, len(x), WIDTH).sum(0), tmp_path)
    assert [part.shape for part in manifest.latent.pieces if part.noise] == [[4, WIDTH]]
    bundle = open_bundle(tmp_path / "b")
    np.testing.assert_allclose(bundle.sample(4, seed=3)[1:2], bundle.sample(1, seed=3, offset=1), atol=1e-5)


@pytest.mark.parametrize(
    ("then", "words"),
    [
        (
            lambda module, x: x + torch.randn(WIDTH, generator=module.generator.manual_seed(int(x[0, 0].abs() * 1e4))),
            "the numbers in its inputs are the seed that randn draws from",
        ),
        (
            lambda _module, x: x + torch.from_numpy(np.random.default_rng(0).random((len(x), WIDTH), np.float32)),
            "a row is another one at another place of its batch",
        ),
        (lambda _module, x: x + torch.rand(WIDTH), r"rand draws numbers of shape \[8\] for 2 rows and \[8\] for 3"),
    ],
    ids=["seed from inputs", "places", "shared"],
)
def test_what_cannot_be_is_one_line(then: Callable[[Layer, Tensor], Tensor], words: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=words) as caught:
        exported(then, tmp_path)
    assert "\n" not in str(caught.value)
