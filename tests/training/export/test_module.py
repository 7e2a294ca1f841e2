"""Modules of all kinds, by one call: how they are called, what they give and draw, and what is said of the rest."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from latentserve import open_bundle
from latentserve.service.bundle import Condition, Inputs, Manifest, read_bundle
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.latents import draw_latents
from latentserve.training.errors import ExportError
from latentserve.training.export import export_bundle
from latentserve.training.export.fit import Told, fit
from latentserve.training.export.target import find_target

DIM = 6
Z = torch.randn(5, DIM, generator=torch.Generator().manual_seed(0))


class Pictures(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(DIM, 12)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.layer(z)).view(-1, 3, 2, 2)


class Starred(Pictures):
    def forward(self, *inputs: Tensor) -> Tensor:
        return super().forward(*inputs)


class Pyramid(Pictures):
    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        image = super().forward(z)
        return image[:, :, ::2, ::2], image


class Named(Pictures):
    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"sample": super().forward(z)}


@dataclass
class Output:
    sample: Tensor
    loss: Tensor | None = None


class Decoder(Pictures):
    def decode(self, z: Tensor) -> Output:
        return Output(super().forward(z))


class Keyword(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(DIM + 3, 4)

    def forward(self, z: Tensor, *, y: Tensor, psi: float = 1.0) -> Tensor:
        return self.layer(torch.cat([z * psi, y], 1))


class Recurrent(nn.Module):
    """Takes [rows, d] for a sequence, so that a row depends on those before it; [rows, 1, d] is meant."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(DIM, 4, batch_first=True)

    def forward(self, z: Tensor) -> Tensor:
        return self.layer(z)[0]


class Chancy(Pictures):
    def forward(self, z: Tensor) -> Tensor:
        image = super().forward(z)
        image = image + torch.randn(len(z), 1, 2, 2) + torch.empty_like(image).uniform_()
        return F.dropout(image, 0.5, training=True)


class Gumbel(Pictures):
    def forward(self, z: Tensor) -> Tensor:
        return F.gumbel_softmax(self.layer(z), hard=True)


class Stretched(nn.Module):
    """Nearest neighbours of 5 places for 7: runtimes take other sources."""

    def forward(self, z: Tensor) -> Tensor:
        return F.interpolate(z[:, None], size=17)


class Modulated(Pictures):
    """All rows are groups of one convolution, which no exporter can for any number of them."""

    def forward(self, z: Tensor) -> Tensor:
        image = super().forward(z)
        weight = (z[:, :1, None, None] * self.layer.weight[None, :3, :1, None]).reshape(-1, 1, 1, 1)
        return F.conv2d(image.reshape(1, -1, 2, 2), weight, groups=3 * z.shape[0]).reshape(image.shape)


class Batched(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(DIM, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)

    def forward(self, z: Tensor) -> Tensor:
        self.norm.train()
        return self.last(self.norm(self.first(z)))


class Unmixed(nn.Module):
    """The way back of a flow's layers: triangles are solved, and a matrix is inverted."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(DIM) + 0.1 * torch.randn(DIM, DIM))

    def forward(self, z: Tensor) -> Tensor:
        z = torch.linalg.solve_triangular(self.weight, z.T, upper=False, unitriangular=True).T
        return (
            torch.linalg.solve(self.weight, z.unsqueeze(-1)).squeeze(-1) @ torch.inverse(self.weight.double()).float()
        )


class Overwriting(Pictures):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z.mul_(0.5))


class Codes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.book = nn.Embedding(20, 3)

    def forward(self, codes: Tensor) -> Tensor:
        return torch.tanh(self.book(codes)).permute(0, 3, 1, 2)


class Shrinking(Pictures):
    """As often as the largest number of a batch needs it."""

    def forward(self, z: Tensor) -> Tensor:
        while z.abs().max() > 0.5:
            z = z * 0.5
        return super().forward(z)


class Mixed(Pictures):
    """A column of large numbers beside one that is off by the mean of its batch."""

    def forward(self, z: Tensor) -> Tensor:
        x = self.layer(z)
        return torch.stack([x[:, 0] * 1e6, x[:, 1] - x[:, 1].mean()], 1)


class Deciding(Pictures):
    """Does something else for a rare row."""

    def forward(self, z: Tensor) -> Tensor:
        image = super().forward(z)
        return torch.stack([-one if float(row[0]) > 30 else one for row, one in zip(z, image, strict=True)])


class Sequence(Pictures):
    """Steps first, and something of each row beside them."""

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(z).unsqueeze(0).repeat(5, 1, 1, 1, 1), z[:, :2]


class Fixed(Pictures):
    """Made for so many rows."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows, self.state = rows, nn.GRU(DIM, 4, batch_first=True)

    def forward(self, z: Tensor) -> Tensor:
        return self.state(z[:, None], torch.zeros(1, self.rows, 4))[0][:, 0]


class First(Pictures):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z)[0]


class Squeezed(Pictures):
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z).squeeze()


class Steps(Pictures):
    """Steps first."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z).flatten(2).permute(1, 0, 2)


class Styles(Pictures):
    """Takes a list of latents, as StyleGAN2 of rosinality's does."""

    def forward(self, styles: list[Tensor], psi: float = 1.0) -> tuple[Tensor, None]:
        (only,) = styles
        assert only.ndim == 2
        return super().forward(only * psi), None


class Ordered(nn.Module):
    """What z is beside comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(DIM + 3 + 1, 4)

    def forward(self, class_id: Tensor, energy: Tensor, noise: Tensor) -> Tensor:
        return self.layer(torch.cat([class_id, energy, noise], 1))


class OnGpu(Pictures):
    """Names a GPU in its code."""

    def forward(self, z: Tensor) -> Tensor:
        z = z.cuda() + torch.zeros(len(z), DIM, device="cuda")
        return super().forward(z.to("cuda:0").type(torch.cuda.FloatTensor))


class Compiled(Pictures):
    """Compiled in part, which takes minutes, and is not asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.plain, self.layer = self.layer, torch.compile(self.layer, backend=self.compile_it)

    def compile_it(self, *_: Any) -> Any:
        raise AssertionError


class Gradient(Pictures):
    """Goes along a gradient, as samplers of energies do."""

    def forward(self, z: Tensor) -> Tensor:
        return z - torch.autograd.grad(super().forward(z).square().sum(), z)[0]


class Signs(Pictures):
    def forward(self, z: Tensor) -> Tensor:
        return self.layer(z) > 0


class Bytes(Pictures):
    """Of which rounding moves some to the next."""

    def forward(self, z: Tensor) -> Tensor:
        return (super().forward(z) * 127.5 + 128).clamp(0, 255).to(torch.uint8)


class Seconds(nn.Module):
    """Of a day, since 1970."""

    def forward(self, z: Tensor) -> Tensor:
        return z[:, :2].double() * torch.tensor([1.0, 86400.0]) + torch.tensor([0.0, 1.6e9], dtype=torch.float64)


class Optioned(Pictures):
    """With an option before what is asked for."""

    def forward(self, z: Tensor, alpha: float = 1.0, kind: Tensor | None = None) -> Tensor:
        return super().forward(z if kind is None else z * alpha + kind.reshape(len(z), -1)[:, :1])


class Two(Pictures):
    def forward(self, z: Tensor, one: Tensor, other: Tensor) -> Tensor:
        return super().forward(z + one + other)


class ByKeyword(Keyword):
    def forward(self, z: Tensor, **others: Any) -> Tensor:
        return super().forward(z, **others)


class Several(Pictures):
    """Three samples a latent."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z).flatten(0, 1)


class Dice(Pictures):
    """Python's."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z) * (0.5 if random.random() < self.chance else 1)

    chance = 0.0


class Certain(Dice):
    chance = 0.5


class Remembering(Pictures):
    """What came before."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("before", torch.zeros(1, DIM))

    def forward(self, z: Tensor) -> Tensor:
        made = super().forward(z + self.before)
        self.before = z[-1:].clone()
        return made


class Unset(Pictures):
    """Sets itself by the first rows, as ActNorm does."""

    def __init__(self) -> None:
        super().__init__()
        self.shift, self.is_set = nn.Parameter(torch.zeros(DIM)), False

    def forward(self, z: Tensor) -> Tensor:
        if not self.is_set:
            self.shift.data.copy_(-z.mean(0))
            self.is_set = True
        return super().forward(z + self.shift)


class Unregistered(nn.Module):
    """Has its layers in a list, which torch does not look into."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(DIM, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 4)]

    def forward(self, z: Tensor) -> Tensor:
        for layer in self.layers:
            z = layer(z)
        return nn.Softplus()(z)


class Doubtful(Pictures):
    def forward(self, z: Tensor) -> Any:
        return torch.distributions.Normal(self.layer(z), 1.0)


class NotANumber(Pictures):
    def forward(self, z: Tensor) -> Tensor:
        return torch.where(z[:, :1] > 1.5, torch.nan, self.layer(z))


def exported(module: object, out: Path, **told: Any) -> Manifest:
    return export_bundle(module, out / "b", name="b", **{"latent_dim": DIM, "reference_samples": 64} | told)


def served_as(out: Path, own: Callable[[Tensor], Tensor]) -> None:
    """Whether rows of the bundle are the module's own."""
    z = np.random.default_rng(0).standard_normal((5, DIM)).astype(np.float32)
    served = Engine(read_bundle(out / "b"), "cpu").generate(Inputs(z))
    with torch.no_grad():
        np.testing.assert_allclose(served, own(torch.from_numpy(z)).numpy(), atol=1e-5)


def hooked() -> nn.Module:
    """Its hook is part of it."""
    module = nn.DataParallel(Pictures())
    module.register_forward_hook(lambda _module, _inputs, made: made * 2)
    return module


WRAPPED: dict[str, tuple[Callable[[nn.Module], Any], dict[str, Any]]] = {
    "parallel": (nn.DataParallel, {}),
    "compiled": (torch.compile, {}),
    "scripted": (torch.jit.script, {}),
    "lambda": (lambda module: lambda z: module(z), {}),
    "exported": (
        lambda module: torch.export.export(
            module, (torch.zeros(2, DIM),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
        ),
        {},
    ),
    "dict": (lambda module: lambda z, held={"g": module}: held["g"](z), {}),
    "function": (lambda module: module, {"call": lambda module, z: module(z)}),
}
CALLED: dict[str, tuple[nn.Module, dict[str, Any], Callable[[nn.Module, Tensor], Tensor]]] = {
    "any inputs": (Starred(), {}, lambda module, z: module(z)),
    "several outputs": (Pyramid(), {"output": 1}, lambda module, z: module(z)[1]),
    "named outputs": (Named(), {}, lambda module, z: module(z)["sample"]),
    "method": (Decoder(), {"call": "decode"}, lambda module, z: module.decode(z).sample),
    "sequence": (Recurrent(), {}, lambda module, z: module(z[:, None])),
    "map": (nn.ConvTranspose2d(DIM, 3, 8), {}, lambda module, z: module(z[:, :, None, None])),
    "steps": (Steps(), {}, lambda module, z: module(z).transpose(0, 1)),
    "styles": (Styles(), {}, lambda module, z: module([z])[0]),
    "hooks": (hooked(), {}, lambda module, z: 2 * module.module(z)),
}


def exported_in_the_short_form(*names: str, of: dict[str, Any]) -> pytest.MarkDecorator:
    """`name` of each; what the exporter gets is the same adapter in all of them, and is looked at in all."""
    marked = [pytest.param(name, marks=[] if name in names else pytest.mark.full) for name in of]
    return pytest.mark.parametrize("name", marked)


def adapted(module: object, call: Any = None, **told: Any) -> NDArray[np.float32]:
    """Rows of `Z` that the exporter is given to export."""
    target = find_target(module, call)
    adapter, _ = fit(target, Told(latent_dim=DIM, **told))
    return adapter.run(Inputs(Z.numpy()))


@pytest.mark.parametrize("name", WRAPPED)
def test_what_wraps_a_module_is_taken_off(name: str) -> None:
    module, (wrap, told) = Pictures(), WRAPPED[name]
    with torch.no_grad():
        np.testing.assert_allclose(adapted(wrap(module), **told), module(Z).numpy(), atol=1e-5)


@exported_in_the_short_form("scripted", "lambda", "exported", of=WRAPPED)
def test_what_was_wrapped_is_exported(name: str, tmp_path: Path) -> None:
    module, (wrap, told) = Pictures(), WRAPPED[name]
    exported(wrap(module), tmp_path, **told)
    served_as(tmp_path, module)


@pytest.mark.parametrize("name", CALLED)
def test_a_module_is_called_as_it_likes(name: str) -> None:
    module, told, own = CALLED[name]
    with torch.no_grad():
        np.testing.assert_allclose(adapted(module, **told), own(module, Z).numpy(), atol=1e-5)


@exported_in_the_short_form("several outputs", of=CALLED)
def test_what_is_called_otherwise_is_exported(name: str, tmp_path: Path) -> None:
    module, told, own = CALLED[name]
    exported(module, tmp_path, **told)
    served_as(tmp_path, lambda z: own(module, z))


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (Pictures().half(), [3, 2, 2]),
        pytest.param(Pictures().bfloat16(), [3, 2, 2], marks=pytest.mark.full),  # and in the short form below
        (Stretched(), [1, 17]),
        (Signs(), [12]),
        (Bytes(), [3, 2, 2]),
    ],
    ids=["half", "bfloat16", "stretched", "signs", "bytes"],
)
def test_other_numbers_and_sizes(module: nn.Module, shape: list[int], tmp_path: Path) -> None:
    assert exported(module, tmp_path).sample.shape == shape


@pytest.mark.parametrize(
    ("module", "own", "batch"),
    [
        (Fixed(8), lambda module, z: module(torch.cat([z, z])[:8])[:5], 8),
        (First(), lambda module, z: torch.stack([module(row[None]) for row in z]), 1),
        (Squeezed(), lambda module, z: module(z), None),
        (Compiled(), lambda module, z: torch.tanh(module.plain(z)).view(-1, 3, 2, 2), None),
        (
            lambda: torch.export.export(Pictures(), (torch.zeros(1, DIM),)).module(),
            lambda module, z: torch.cat([module(row[None]) for row in z]),
            None,
        ),
    ],
    ids=["fixed", "first", "squeezed", "compiled", "exported for one"],
)
def test_rows_however_a_module_has_them(module: Any, own: Any, batch: int | None, tmp_path: Path) -> None:
    module = module if isinstance(module, nn.Module) else module()
    assert exported(module, tmp_path).onnx.batch == batch
    served_as(tmp_path, lambda z: own(module, z))


def test_what_a_module_of_one_row_draws_is_its_own(tmp_path: Path) -> None:
    class Noisy(Pictures):
        def forward(self, z: Tensor) -> Tensor:
            return super().forward(z).reshape(1, 3, 2, 2) + torch.randn(1, 1, 2, 2) + torch.rand(2, 2)

    manifest = exported(Noisy(), tmp_path)
    assert [part.shape for part in manifest.latent.pieces] == [[DIM], [1, 2, 2], [2, 2]]
    bundle = open_bundle(tmp_path / "b")
    np.testing.assert_allclose(bundle.sample(4, seed=3)[2:3], bundle.sample(1, seed=3, offset=2), atol=1e-5)


def test_what_draws_its_latent_itself_is_given_the_number_of_rows(tmp_path: Path) -> None:
    class Flow(Pictures):
        def sample(self, num_samples: int) -> Tensor:
            return super().forward(torch.randn(num_samples, DIM))

    module = Flow()
    manifest = exported(module, tmp_path, call="sample", latent_dim=None)
    assert (manifest.latent.dim, manifest.latent.width) == (DIM, DIM)
    served_as(tmp_path, module)


def test_the_latent_is_not_what_is_called_otherwise(tmp_path: Path) -> None:
    module = Ordered()
    told = {"labels": ["a", "b", "c"], "conditions": [Condition(name="energy", range=(1, 2))]}
    manifest = exported(module, tmp_path, **told)
    assert manifest.latent.dim == DIM
    z = torch.from_numpy(draw_latents(manifest.latent, 1, 0, 1))
    with torch.no_grad():
        own = module(torch.tensor([[0.0, 1, 0]]), torch.tensor([[1.5]]), z)
    served = open_bundle(tmp_path / "b").sample(1, seed=1, label="b", condition={"energy": 1.5})
    np.testing.assert_allclose(served, own.numpy(), atol=1e-5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="it has what the module asks for")
def test_a_gpu_that_is_not_here_is_the_cpu(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    module = OnGpu()
    exported(module, tmp_path)
    served_as(tmp_path, super(OnGpu, module).forward)
    assert "it asks for cuda, which is not here, and is computed on the CPU" in caplog.text


def test_weights_of_bfloat16_are_as_they_were(tmp_path: Path) -> None:
    module = Pictures().bfloat16()
    before = module.layer.weight.clone()
    exported(module, tmp_path)
    assert module.layer.weight.dtype == torch.bfloat16
    assert torch.equal(module.layer.weight, before)


def test_one_hot_labels_and_constants_are_made_in_the_graph(tmp_path: Path) -> None:
    module = Keyword()
    told = {"labels": ["a", "b", "c"], "inputs": {"psi": "constant:0.5"}}
    manifest = exported(module, tmp_path, **told)
    served = open_bundle(tmp_path / "b").sample(1, seed=1, label="b")
    z = torch.from_numpy(draw_latents(manifest.latent, 1, 0, 1))
    with torch.no_grad():
        own = module(z, y=torch.tensor([[0.0, 1, 0]]), psi=0.5)
    np.testing.assert_allclose(served, own.numpy(), atol=1e-5)


def test_labels_by_any_keyword(tmp_path: Path) -> None:
    manifest = exported(ByKeyword(), tmp_path, labels=["a", "b", "c"], inputs={"y": "label:one-hot"})
    assert manifest.labels == ["a", "b", "c"]


def test_a_number_may_be_a_condition(tmp_path: Path) -> None:
    told = {"labels": ["a", "b", "c"], "conditions": [Condition(name="psi", range=(0.1, 1))]}
    manifest = exported(Keyword(), tmp_path, **told)
    assert [one.name for one in manifest.conditions or []] == ["psi"]


@pytest.mark.parametrize(
    ("module", "drawn"), [(Chancy(), 3), pytest.param(Gumbel(), 1, marks=pytest.mark.full)], ids=["several", "gumbel"]
)
def test_what_a_module_draws_is_noise_of_a_row(module: nn.Module, drawn: int, tmp_path: Path) -> None:
    manifest = exported(module, tmp_path)
    assert sum(part.noise for part in manifest.latent.pieces) == drawn
    bundle = open_bundle(tmp_path / "b")
    assert np.array_equal(bundle.sample(4, seed=3), bundle.sample(4, seed=3))


@pytest.mark.parametrize(
    "module", [pytest.param(Chancy(), marks=pytest.mark.full), Gumbel()], ids=["several", "gumbel"]
)
def test_what_a_module_draws_is_drawn_once_where_that_is_told(module: nn.Module, tmp_path: Path) -> None:
    assert exported(module, tmp_path, noise="constant").latent.dim == DIM


def test_a_graph_of_one_row_runs_in_blocks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    module = Modulated()
    assert exported(module, tmp_path).onnx.batch == 1
    assert "rows run one by one" in caplog.text
    served_as(tmp_path, module)


def test_layers_that_are_not_registered_are_in_eval_mode_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    module = Unregistered()
    assert exported(module, tmp_path).latent.dim == DIM
    assert "modules that are not registered with it (Linear, BatchNorm1d, Dropout), in eval mode" in caplog.text
    assert all(layer.training for layer in module.layers)
    for layer in module.layers:
        layer.eval()
    served_as(tmp_path, module)


@pytest.mark.parametrize(
    ("module", "told", "words"),
    [
        (Seconds(), {"kind": "table"}, "float64 values lose up to 0.0"),
        (nn.Sequential(nn.Linear(DIM, 4), nn.BatchNorm1d(4)), {}, "its 1 normalise by a mean of 0 and a variance of 1"),
        (Dice(), {}, "it draws by Python's random, which no graph has; that made no difference in 8 runs"),
    ],
)
def test_what_a_graph_cannot_have_is_said(
    module: nn.Module, told: Any, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exported(module, tmp_path, **told)
    assert words in caplog.text


def test_options_are_no_labels(tmp_path: Path) -> None:
    module = Optioned()
    exported(module, tmp_path, labels=["a", "b"])
    z = torch.zeros(1, DIM)
    with torch.no_grad():
        own = module(z, kind=torch.ones(1))
    served = open_bundle(tmp_path / "b").sample(latents=z.numpy(), label="b")
    np.testing.assert_allclose(served, own.numpy(), atol=1e-5)


def test_what_decides_by_numbers_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    exported(Deciding(), tmp_path)
    assert "it decides by the numbers that it is given" in caplog.text


@pytest.mark.parametrize("module", [Unmixed(), Overwriting()], ids=["inverses of weights", "writes into z"])
def test_what_exporters_stumble_over(module: nn.Module, tmp_path: Path) -> None:
    exported(module, tmp_path)
    served_as(tmp_path, lambda z: module(z.clone()))


def test_codes_are_drawn(tmp_path: Path) -> None:
    module = Codes()
    manifest = exported(module, tmp_path, inputs={"codes": "latent:2x4,uniform(0,20)"}, kind="array")
    z = torch.from_numpy(draw_latents(manifest.latent, 1, 0, 3))
    with torch.no_grad():
        own = module(z.long().reshape(3, 2, 4))
    np.testing.assert_allclose(open_bundle(tmp_path / "b").sample(3, seed=1), own.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("module", "told", "words"),
    [
        (Pyramid(), {}, r"several outputs: 0 \[N, 3, 1, 1\], 1 \[N, 3, 2, 2\].* Say output=0 or output=1"),
        (Named(), {"output": "image"}, r"output='image' is told; it gives sample \[N, 3, 2, 2\]"),
        (Decoder(), {"call": "generate"}, "has no method generate"),
        (Batched(), {}, r"rows depend on what shares their batch .*, from batch_norm in norm \(BatchNorm1d\) on"),
        (Mixed(), {"latent_shape": (DIM,)}, "rows depend on what shares their batch"),
        (Sequence(), {}, r"several outputs: 0 \[5, 2, 3, 2, 2\], 1 \[N, 2\]; which is the sample"),
        (
            Pictures(),
            {"call": lambda module, z: list(module(z).flatten(1))},
            r"one a latent; make one tensor of them.*torch.stack",
        ),
        (Several(), {}, r"gives 3 samples a latent, \[3 \* N, 2, 2\]; one a latent is needed"),
        (Certain(), {}, "two answers for the same inputs, and draws by Python's random, which no graph has"),
        (Remembering(), {}, "keeps a state: running it changes its before"),
        (Unset(), {}, "running it changes its weights shift, as layers do that set themselves by the first rows"),
        (Two(), {"labels": ["a", "b"]}, "labels are told, and it takes one, other: say which, inputs="),
        (Doubtful(), {}, "gives a distribution, Normal; say what of it the sample is"),
        (Shrinking(), {}, "rows depend on what shares their batch"),
        (NotANumber(), {}, "values that are not finite for latents from the prior"),
        (Keyword(), {}, "inputs="),
        (Gradient(), {}, "it takes gradients, which no graph does"),
        (Pictures(), {"latent_dim": None}, "say latent_dim=, or the shape of a row of z"),
        (
            nn.ModuleDict({"decoder": Pictures()}),
            {},
            "ModuleDict has no forward; if another part of it makes samples, give its .decoder",
        ),
        ("g.onnx", {}, "of an ONNX graph, latentserve pack takes the file"),
        (Pictures(), {"inputs": {"y": "label"}}, "takes no y; it takes z"),
        (Pictures(), {"inputs": {"z": "latex"}}, "'latex' is none of"),
        (nn.Linear(5, 2), {}, "other ways to call it fail too: say latent_shape="),
        (3, {}, "int is no module and nothing that can be called"),
        ("g.pt", {}, "str is no module and nothing that can be called: load what lies there"),
        (Pictures().state_dict(), {}, r"of weights, make the module, give it to module.load_state_dict"),
        (Pictures, {}, "Pictures is a class; give an object of it"),
        (nn.Linear(DIM, 2, device="meta"), {}, "its weight weight is on the meta device"),
        (nn.LazyLinear(2), {}, "its weight weight was never made"),
    ],
)
def test_what_cannot_be_is_one_line(module: Any, told: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=words) as caught:
        exported(module, tmp_path, **told)
    assert "\n" not in str(caught.value)
