"""Rows around a row: near it, in the prior, and the same always."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from latentserve.service.bundle import Latent, LatentPart, Manifest, read_bundle
from latentserve.service.errors import InvalidError, TooLargeError
from latentserve.service.sampling.arithmetic.variations import VariationFields, variation_request
from latentserve.service.sampling.latents import draw_labels, draw_latents


@pytest.fixture(scope="module")
def shower(shower_bundle: Path) -> Manifest:
    return read_bundle(shower_bundle).manifest


def latents(manifest: Manifest, **fields: Any) -> np.ndarray:
    request = variation_request(VariationFields.of(**fields), manifest, 10_000)
    assert request.latents is not None
    return request.latents


@given(st.integers(0, 2**53 - 1), st.integers(0, 2**53 - 2), st.sampled_from([1.0, 0.6]))
def test_at_a_small_strength_they_are_near(shower: Manifest, seed: int, row: int, truncation: float) -> None:
    around = draw_latents(shower.latent, seed, row, 1, truncation)
    width = shower.latent.width
    far = []
    for strength in (1e-6, 1e-3, 0.1):
        z = latents(shower, seed=seed, row=row, n=5, strength=strength, truncation=truncation)
        assert (z[:, width:] == around[:, width:]).all()
        far.append(np.abs(z - around).max())
    assert far[0] < 1e-4
    assert 0 < far[1] < 0.05
    assert far[1] < far[2]


@given(st.integers(1, 40), st.data())
def test_parts_are_the_whole(shower: Manifest, n: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, n))
    fields: dict[str, Any] = {"seed": 7, "row": 3, "strength": 0.4, "variation_seed": 2}
    whole = latents(shower, **fields, offset=5, n=n)
    parts = [
        latents(shower, **fields, offset=5 + start, n=stop - start)
        for start, stop in ((0, cut), (cut, n))
        if stop > start
    ]
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("strength", [0.1, 0.5, 1.0])
@pytest.mark.parametrize(
    "part",
    [
        LatentPart(name="z", shape=[16]),
        LatentPart(name="z", shape=[16], truncation=0.5),
        LatentPart(name="z", shape=[16], prior="uniform", shift=0.5, scale=0.5),
    ],
    ids=["normal", "truncated", "uniform"],
)
def test_they_stay_in_the_prior(shower: Manifest, part: LatentPart, strength: float) -> None:
    """One variation each of many rows is distributed as the rows are."""
    manifest = shower.model_copy(update={"latent": Latent(dim=16, prior=part.prior, parts=[part])})
    z = np.concatenate([latents(manifest, seed=1, row=row, strength=strength, offset=row) for row in range(250)])
    drawn = draw_latents(manifest.latent, 99, 0, 2000)
    assert kstest(z.ravel(), drawn.ravel()).pvalue > 1e-3
    assert drawn.min() - 0.1 <= z.min() <= z.max() <= drawn.max() + 0.1 or part.prior == "normal"


def test_at_the_largest_strength_nothing_of_the_row_is_left(shower: Manifest) -> None:
    width = shower.latent.width
    one, other = (latents(shower, seed=seed, strength=1)[:, :width] for seed in (1, 2))
    assert np.allclose(one, other, atol=1e-6)
    assert not np.allclose(one, latents(shower, seed=1, strength=1, variation_seed=1)[:, :width])


def test_they_have_the_labels_and_conditions_of_the_row(shower: Manifest) -> None:
    fields = VariationFields.of(seed=7, row=3, n=4, condition={"energy": 50})
    request = variation_request(fields, shower, 10)
    assert request.labels is not None
    assert request.labels.tolist() == draw_labels(7, shower.label_prior or 3, 7, 3, 1).tolist() * 4
    assert request.conditions is not None
    assert (request.conditions[:, 0] == 50).all()
    assert len(set(request.conditions[:, 1].tolist())) == 1


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "seed"),
        ({"seed": 1, "strength": 0}, "strength"),
        ({"seed": 1, "strength": 1.5}, "strength"),
        ({"seed": 1, "n": 0}, "n"),
        ({"seed": 1, "offset": 2**53 - 1, "n": 2}, "offset"),
        ({"latent": [0.0] * 12, "truncation": 0.5}, "truncation"),
        ({"latent": [0.0] * 5}, "latent"),
        ({"seed": 1, "label": "muon"}, "label"),
        ({"seed": 1, "ends": []}, "ends"),
    ],
)
def test_what_is_wrong_is_named(shower: Manifest, fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidError) as refused:
        latents(shower, **fields)
    assert refused.value.field == named, refused.value


def test_they_are_bounded(shower: Manifest) -> None:
    with pytest.raises(TooLargeError, match=r"^n: 11 rows"):
        variation_request(VariationFields.of(seed=1, n=11), shower, 10)
    with pytest.raises(TooLargeError, match=r"^n: the latents of 10 rows"):
        variation_request(VariationFields.of(seed=1, n=10), shower, 10, 479)
