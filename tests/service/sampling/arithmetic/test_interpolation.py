"""Paths between rows: their ends, their parts, and where they lead."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentserve.service.bundle import Latent, LatentPart, Manifest, read_bundle
from latentserve.service.errors import InvalidError, TooLargeError
from latentserve.service.sampling.arithmetic.interpolation import InterpolationFields, interpolation_request
from latentserve.service.sampling.latents import Span, draw_conditions, draw_labels, draw_latents, draw_noise_of
from latentserve.service.sampling.request import RowsRequest


@pytest.fixture(scope="module")
def shower(shower_bundle: Path) -> Manifest:
    return read_bundle(shower_bundle).manifest


@pytest.fixture(scope="module")
def toy(bundle: Path) -> Manifest:
    return read_bundle(bundle).manifest


def frames(manifest: Manifest, **fields: Any) -> RowsRequest:
    return interpolation_request(InterpolationFields.of(**fields), manifest, 10_000)


def latents(request: RowsRequest) -> np.ndarray:
    assert request.latents is not None
    return request.latents


def seeds(*rows: tuple[int, int]) -> list[dict[str, Any]]:
    return [{"seed": seed, "row": row} for seed, row in rows]


ENDS = st.lists(st.tuples(st.integers(0, 2**53 - 1), st.integers(0, 2**53 - 2)), min_size=2, max_size=5)


@given(ENDS, st.integers(0, 30), st.booleans(), st.sampled_from([None, "slerp", "linear"]), st.sampled_from([1.0, 0.5]))
def test_its_ends_are_the_rows_that_samples_are_drawn_for(
    shower: Manifest, ends: list[tuple[int, int]], more: int, loop: bool, curve: str | None, truncation: float
) -> None:
    count = len(ends) + more
    chosen = {} if curve is None else {"curve": curve}
    request = frames(shower, ends=seeds(*ends), frames=count, loop=loop, truncation=truncation, **chosen)
    z = latents(request)
    latent, width = shower.latent, shower.latent.width
    assert z.shape == (count, latent.dim)
    assert request.labels is not None
    assert request.conditions is not None
    spans = len(ends) - (not loop)
    steps = count if loop else count - 1
    noise = draw_latents(latent, *ends[0], 1, truncation)[0, width:]
    for index, (seed, row) in enumerate(ends):
        frame = (2 * index * steps + spans) // (2 * spans)
        assert np.array_equal(z[frame, :width], draw_latents(latent, seed, row, 1, truncation)[0, :width])
        assert request.labels[frame] == draw_labels(width, shower.label_prior or 3, seed, row, 1)[0]
        assert np.array_equal(
            request.conditions[frame], draw_conditions(latent, shower.conditions or [], seed, row, 1)[0]
        )
    assert (z[:, width:] == noise).all()
    assert np.isfinite(z).all()
    phase = z[:, 4:7]
    assert ((phase >= 0.5 - truncation / 2 - 1e-6) & (phase <= 0.5 + truncation / 2 + 1e-6)).all()


@given(st.integers(2, 200), st.data())
def test_frames_in_parts_are_the_whole(shower: Manifest, count: int, data: st.DataObject) -> None:
    fields = {"ends": seeds((1, 2), (3, 4)), "frames": count, "loop": data.draw(st.booleans())}
    whole = frames(shower, **fields)
    cuts = sorted({0, count, *data.draw(st.lists(st.integers(0, count), max_size=4))})
    parts = [frames(shower, **fields, offset=start, n=stop - start) for start, stop in pairwise(cuts)]
    assert [part.offset for part in parts] == cuts[:-1]
    assert np.array_equal(np.concatenate([latents(part) for part in parts]), latents(whole))
    assert np.array_equal(np.concatenate([part.labels for part in parts if part.labels is not None]), whole.labels)
    joined = np.concatenate([part.conditions for part in parts if part.conditions is not None])
    assert np.array_equal(joined, whole.conditions)


def manifest_of(toy: Manifest, latent: Latent) -> Manifest:
    return toy.model_copy(update={"latent": latent})


@pytest.mark.parametrize(("curve", "kept"), [("slerp", True), ("linear", False)])
def test_slerp_keeps_the_distribution_of_the_norm(toy: Manifest, curve: str, kept: bool) -> None:
    wide = manifest_of(toy, Latent(dim=64))
    middle = [latents(frames(wide, ends=seeds((seed, 0), (seed, 1)), frames=3, curve=curve))[1] for seed in range(200)]
    norms = np.linalg.norm(middle, axis=1)
    # sqrt(64) and a spread of 0.7 or less, where a line goes through what no draw is as near as.
    assert (abs(norms.mean() - 8) < 0.2) == kept
    assert norms.std() < 1


def test_slerp_turns_at_one_speed_and_goes_from_one_length_to_the_other(toy: Manifest) -> None:
    plane = manifest_of(toy, Latent(dim=2))
    z = latents(frames(plane, ends=[{"latent": [1.0, 0.0]}, {"latent": [0.0, 3.0]}], frames=4))
    assert np.allclose(np.degrees(np.arctan2(z[:, 1], z[:, 0])), [0, 30, 60, 90], atol=1e-4)
    assert np.allclose(np.linalg.norm(z, axis=1), [1, 5 / 3, 7 / 3, 3])


@pytest.mark.parametrize(
    ("one", "other", "middle"),
    [([1.0, 2.0], [-1.0, -2.0], [0, 0]), ([1.0, 2.0], [2.0, 4.0], [1.5, 3]), ([0.0, 0.0], [1.0, 2.0], [0.5, 1])],
)
def test_ends_without_a_circle_have_a_line(
    toy: Manifest, one: list[float], other: list[float], middle: list[float]
) -> None:
    plane = manifest_of(toy, Latent(dim=2))
    z = latents(frames(plane, ends=[{"latent": one}, {"latent": other}], frames=3))
    assert np.allclose(z[1], middle, atol=1e-6)


def test_parts_are_shifted_and_scaled_where_the_circle_is_none_of_theirs(toy: Manifest) -> None:
    parts = [LatentPart(name="z", shape=[2], shift=5, scale=2)]
    moved = manifest_of(toy, Latent(dim=2, parts=parts))
    z = latents(frames(moved, ends=[{"latent": [7.0, 5.0]}, {"latent": [5.0, 7.0]}], frames=3))
    assert np.allclose(z[1], 5 + 2 / np.sqrt(2))


def test_a_uniform_part_by_slerp_stays_uniform(plain_bundle: Path) -> None:
    plain = read_bundle(plain_bundle).manifest
    middle = np.concatenate(
        [latents(frames(plain, ends=seeds((s, 0), (s, 1)), frames=3, curve="slerp"))[1] for s in range(400)]
    )
    assert abs(np.abs(middle).mean() - 0.5) < 0.05  # of a line between two draws: a third
    assert np.abs(middle).max() <= 1


def test_conditions_go_as_their_priors_do_and_labels_as_the_nearest_end(shower: Manifest) -> None:
    ends = [
        {"seed": 1, "label": "photon", "condition": {"energy": 1, "angle": -0.5}},
        {"seed": 2, "label": 2, "condition": {"energy": 100, "angle": 0.5}},
    ]
    request = frames(shower, ends=ends, frames=5)
    assert request.conditions is not None
    assert np.allclose(request.conditions[:, 0], [1, 10**0.5, 10, 10**1.5, 100])
    assert np.allclose(request.conditions[:, 1], [-0.5, -0.25, 0, 0.25, 0.5])
    assert request.labels is not None
    assert request.labels.tolist() == [1, 1, 1, 2, 2]
    of_all = frames(shower, ends=seeds((1, 0), (2, 0)), frames=3, label="pion", condition={"energy": 50})
    assert of_all.labels is not None
    assert of_all.labels.tolist() == [2, 2, 2]
    assert of_all.conditions is not None
    assert of_all.conditions[:, 0].tolist() == [50, 50, 50]
    assert len(set(of_all.conditions[:, 1].tolist())) == 3


def test_a_latent_without_noise_has_that_of_its_seed(shower: Manifest) -> None:
    ends = [{"latent": [0.5] * 7, "seed": 9, "row": 4}, {"seed": 2}]
    z = latents(frames(shower, ends=ends, frames=2))
    assert np.array_equal(z[:, 7:], np.repeat(draw_noise_of(shower.latent, [Span(9, 4, 1)]), 2, axis=0))
    assert (z[0, :7] == 0.5).all()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"ends": [{"seed": 1}]}, "ends"),
        ({"ends": [{"seed": 1}, {}]}, "ends[1].seed"),
        ({"ends": [{"seed": 1}, {"seed": 1, "offset": 3}]}, "ends[1].offset"),
        ({"ends": [{"seed": 1}, {"seed": 1, "row": -3}]}, "ends[1].row"),
        ({"ends": [{"seed": 1}, {"seed": 1, "latent": [0.0] * 12}]}, "ends[1].seed"),
        ({"ends": [{"seed": 1}, {"row": 1, "latent": [0.0] * 12}]}, "ends[1].row"),
        ({"ends": [{"latent": [0.0] * 3}, {"seed": 1}]}, "ends[0].latent"),
        ({"ends": [{"latent": []}, {"seed": 1}]}, "ends[0].latent"),
        ({"ends": [{"latent": [0.0] * 6 + [1e99]}, {"seed": 1}]}, "ends[0].latent[6]"),
        ({"ends": [{"seed": 1}, {"seed": 2, "label": "muon"}]}, "ends[1].label"),
        ({"ends": [{"seed": 1}, {"seed": 2, "label": 1}], "label": 1}, "ends[1].label"),
        ({"ends": [{"seed": 1}, {"seed": 2}], "label": "muon"}, "label"),
        ({"ends": [{"seed": 1}, {"seed": 2, "condition": {"energy": 1e9}}]}, "ends[1].condition.energy"),
        ({"ends": [{"seed": 1}, {"seed": 2}], "condition": {"energy": 1e9}}, "condition.energy"),
        ({"ends": [{"seed": 1}, {"seed": 2}, {"seed": 3}], "frames": 2}, "frames"),
        ({"ends": [{"seed": 1}, {"seed": 2}], "frames": 2**60}, "frames"),
        ({"ends": [{"seed": 1}, {"seed": 2}], "frames": 9, "offset": 9}, "offset"),
        ({"ends": [{"seed": 1}, {"seed": 2}], "frames": 9, "offset": 5, "n": 5}, "n"),
        ({"ends": [{"seed": 1}, {"seed": 2}], "curve": "spline"}, "curve"),
        ({"ends": [{"seed": 1}, {"seed": 2}], "seed": 3}, "seed"),
        ({"ends": [{"latent": [0.0] * 12}, {"latent": [0.0] * 12}], "truncation": 0.5}, "truncation"),
        ({"ends": [{"seed": 1, "cls": 1, "self": 2}, {"seed": 2}]}, "ends[0].cls"),
    ],
)
def test_what_is_wrong_is_named(shower: Manifest, fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidError) as refused:
        frames(shower, **fields)
    assert refused.value.field == named, refused.value


def test_it_is_bounded(toy: Manifest) -> None:
    fields = InterpolationFields.of(ends=seeds((1, 0), (2, 0)), frames=1000)
    with pytest.raises(TooLargeError, match=r"^frames: 1000 rows"):
        interpolation_request(fields, toy, 999)
    with pytest.raises(TooLargeError, match=r"^frames: the latents of 1000 rows have 32000 bytes; at most 31999"):
        interpolation_request(fields, toy, 1000, 31_999)
    assert interpolation_request(fields, toy, 1000, 32_000).n == 1000
