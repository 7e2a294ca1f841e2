"""Bundles of every kind of sample, opened once."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentserve.service.bundle import SampleSpec
from latentserve.service.opened import OpenedBundle, open_bundle
from tests.conftest import make_bundle, make_shower
from tests.generators import dense_generator
from tests.service.verifying.files import COLOUR, LATENT, SOUND, TABLE


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, OpenedBundle]:
    """Grey and colour pictures, sounds, a table, arrays; with labels and conditions, with neither."""
    folder = tmp_path_factory.mktemp("verified")
    plain = {"labels": None, "critic": None, "latent": LATENT, "reference_samples": 64}

    def unconditional(name: str, spec: SampleSpec) -> Path:
        generator = dense_generator(dim=8, shape=tuple(spec.shape), labels=None).SerializeToString()
        return make_bundle(folder / name, name, generator=generator, sample=spec, **plain)

    made = {
        "grey": make_shower(folder / "grey", "grey"),
        "sound": make_shower(folder / "sound", "sound", sample=SOUND),
        "colour": unconditional("colour", COLOUR),
        "table": unconditional("table", TABLE),
        "array": unconditional("array", SampleSpec(kind="array", shape=[2, 3])),
    }
    return {name: open_bundle(path) for name, path in made.items()}
