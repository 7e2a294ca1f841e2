"""Runs whose networks go through torch.compile: here with `aot_eager`, which captures and differentiates the graphs as
for a GPU, and makes no kernels of them."""

from pathlib import Path

import pytest
import torch
from torch import nn

from latentserve.training.data import Dataset
from latentserve.training.recipe.config import Config
from latentserve.training.run.loop import train
from tests.training.conftest import stop_after
from tests.training.run.test_loop import assert_equal, folder, weights


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the networks that were."""
    compile_in_place, names = nn.Module.compile, []

    def capture(network: nn.Module) -> None:
        names.append(type(network).__name__)
        compile_in_place(network, backend="aot_eager", fullgraph=True)

    monkeypatch.setattr(nn.Module, "compile", capture)
    torch._dynamo.reset()
    return names


@pytest.mark.parametrize(
    ("network", "compiled"),
    [
        ("dense", True),
        pytest.param("dense", "generator", marks=pytest.mark.full),
        pytest.param("r3gan", "generator", marks=pytest.mark.full),
        pytest.param("residual", True, marks=pytest.mark.full),
        pytest.param("residual", "generator", marks=pytest.mark.full),
        pytest.param("convolutional", True, marks=pytest.mark.full),
    ],
)
def test_it_learns_the_same_and_goes_on_exactly(
    network: str, compiled: bool | str, tiny: Config, digits: Dataset, tmp_path: Path, captured: list[str]
) -> None:
    changed = {"network": network, "images": 128, "tick": 64, "snapshot": 64}
    if compiled is True:  # cannot be differentiated twice
        changed |= {"loss": "hinge", "gamma": {"start": 0.0, "end": 0.0}}
    plain = tiny.model_copy(update=changed)
    config = plain.model_copy(update={"compile": compiled})
    one, other, parts = (folder(tmp_path, name) for name in ("one", "other", "parts"))
    train(plain, digits, one)
    assert captured == []
    train(config, digits, other)
    assert captured == ["Generator", "Critic"][: 2 if compiled is True else 1]
    found = weights(other)
    assert found.keys() == weights(one).keys()
    for name, tensor in weights(one).items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-4)
    train(config, digits, parts, stop_after(1))
    train(config, digits, parts)
    assert_equal(other, parts)
