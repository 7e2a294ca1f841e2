"""Modules whose weights are too many for one file."""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latentserve.service.bundle import read_bundle
from latentserve.service.bundle.files import DATA
from latentserve.service.packing.storing import store
from latentserve.service.sampling.engine import Engine
from latentserve.training.export import export_bundle, module


class Wide(nn.Module):
    def __init__(self, width: int = 700) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, width), nn.Linear(width, 64)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.last(torch.relu(self.first(z)))).reshape(-1, 1, 8, 8)


def test_their_weights_lie_beside_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    wide = Wide()
    told = {"name": "wide", "latent_dim": 8, "value_range": (-1.0, 1.0), "reference_samples": 100}
    whole = export_bundle(wide, tmp_path / "whole", **told)
    monkeypatch.setattr(module, "store", functools.partial(store, largest=100_000))
    beside = export_bundle(wide, tmp_path / "beside", **told)
    assert (DATA in whole.sha256, DATA in beside.sha256) == (False, True)
    assert whole.version == beside.version
    bundle = read_bundle(tmp_path / "beside")
    made = Engine(bundle, "cpu").generate(bundle.golden.inputs)
    with torch.no_grad():
        expected = wide(torch.from_numpy(bundle.golden.z)).numpy()
    assert np.allclose(made, expected, atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beside", "whole"]
