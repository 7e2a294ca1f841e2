"""A bundle of schema_version 1, as it was written before there was another: it loads, keeps its version, and gives the
rows that it gave."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from latentserve.service.bundle import read_bundle
from latentserve.service.errors import BundleError
from latentserve.service.opened import open_bundle
from latentserve.service.sampling.engine import Engine

HERE = Path(__file__).parent
BUNDLE = HERE / "version_1"


def test_it_is_read_as_it_was() -> None:
    bundle = read_bundle(BUNDLE)
    assert (bundle.manifest.schema_version, bundle.manifest.version) == (1, "a71d3938651d")
    assert bundle.manifest.label_prior == [0.5, 0.25, 0.25]
    assert bundle.manifest.conditions is None
    engine = Engine(bundle, "cpu")
    assert engine.probe().max() <= bundle.golden.tolerance
    assert engine.probe_critic().max() <= 1


def test_its_rows_are_what_they_were() -> None:
    """Latents and labels to the bit; samples but for what another processor rounds differently."""
    rows = open_bundle(BUNDLE).sample(n=6, seed=7, offset=3, truncation=0.7)
    np.testing.assert_allclose(rows, np.load(HERE / "rows_of_version_1.npy"), atol=1e-6)


def test_a_newer_one_is_refused_by_name(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(BUNDLE, tmp_path / "copy"))
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 3}))
    with pytest.raises(BundleError, match=r"manifest\.json: schema_version is 3; .* a newer latentserve made it"):
        read_bundle(copy)
