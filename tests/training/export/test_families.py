from pathlib import Path

import numpy as np
import pytest
import torch

from latentserve import Client, open_bundle
from latentserve.service.bundle import read_bundle
from latentserve.service.sampling.request import RowsRequest
from latentserve.training.export import export_bundle
from tests.families import FAMILIES, own_rows
from tests.server import Server

_SEED, _ROWS = 5, 6
_QUICK = {"DCGAN", "InfoGAN", "AutoencoderKL", "calorimeter GAN"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in _QUICK else pytest.mark.full) for name in FAMILIES]
)
def test_one_call_serves_the_rows_that_the_module_itself_gives(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    family = FAMILIES[name]
    module = family.make()
    manifest = export_bundle(module, tmp_path / "b", name="b", reference_samples=64, **family.told)
    bundle = read_bundle(tmp_path / "b")
    served = open_bundle(tmp_path / "b").sample(_ROWS, seed=_SEED)
    inputs = RowsRequest(n=_ROWS, seed=_SEED).inputs(manifest, 0, _ROWS)
    own = own_rows(name, module, bundle, inputs).numpy()
    np.testing.assert_allclose(served, own, atol=1e-4 * float(np.ptp(own)))


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_one_server_of_all_gives_the_rows_of_each_over_a_socket(tmp_path: Path) -> None:
    own = {}
    for place, (name, family) in enumerate(FAMILIES.items()):
        torch.manual_seed(0)
        module = family.make()
        out = tmp_path / f"family-{place}"
        manifest = export_bundle(module, out, name=out.name, reference_samples=64, **family.told)
        inputs = RowsRequest(n=_ROWS, seed=_SEED).inputs(manifest, 0, _ROWS)
        own[out] = own_rows(name, module, read_bundle(out), inputs).numpy()
    with Server(*own) as server, Client(server.url) as client:
        for out, rows in own.items():
            served = client.sample(_ROWS, seed=_SEED, model=out.name).array
            np.testing.assert_allclose(served, rows, atol=1e-4 * float(np.ptp(rows)))
