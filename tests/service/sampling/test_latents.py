"""Latents by (seed, row), held against Philox4x64-10 written down from its paper."""

from __future__ import annotations

import itertools
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import ndtr, ndtri

from latentserve.service.bundle import Condition, Latent, LatentPart
from latentserve.service.sampling.latents import (
    SEED_LIMIT,
    Span,
    draw_conditions,
    draw_labels,
    draw_latents,
    draw_latents_of,
    draw_noise_of,
)

MASK = 2**64 - 1
LATENTS, LABELS, CONDITIONS, NOISE = 0, 1, 2, 3

seeds = st.integers(0, SEED_LIMIT - 1)
dims = st.integers(1, 13)
truncations = st.floats(0.01, 1.0)
priors = st.sampled_from(["normal", "uniform"])


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> list[int]:
    """Philox4x64-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC'11)."""
    c, (k0, k1) = list(counter), key
    for _ in range(10):
        p0, p1 = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [(p1 >> 64) ^ c[1] ^ k0, p1 & MASK, (p0 >> 64) ^ c[3] ^ k1, p0 & MASK]
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return c


def uniforms(dim: int, seed: int, row: int, stream: int) -> list[float]:
    """u of every word of a row's blocks."""
    blocks = -(-dim // 4)
    words = [word for b in range(blocks) for word in philox((row * blocks + b, 0, 0, stream), (seed, 0))]
    return [min(((word >> 11) + 0.5) * 2.0**-53, 1 - 2.0**-53) for word in words]


def test_the_oracle_gives_the_published_vector() -> None:
    zero = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    assert philox((0, 0, 0, 0), (0, 0)) == zero
    ones = [0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0]
    assert philox((MASK,) * 4, (MASK,) * 2) == ones


def test_the_published_vector() -> None:
    """Row 0 of seed 0 is the published vector for counter and key zero."""
    words = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    u = np.array([((word >> 11) + 0.5) * 2.0**-53 for word in words])
    assert np.array_equal(draw_latents(Latent(dim=4), 0, 0, 1)[0], ndtri(u).astype(np.float32))
    assert np.array_equal(draw_latents(Latent(dim=4, prior="uniform"), 0, 0, 1)[0], (2 * u - 1).astype(np.float32))


@given(seed=seeds, row=seeds, dim=dims, truncation=truncations, prior=priors)
@example(seed=SEED_LIMIT - 1, row=SEED_LIMIT - 1, dim=13, truncation=1.0, prior="normal")
@example(seed=0, row=0, dim=1, truncation=1.0, prior="uniform")
def test_every_row_is_what_the_recipe_says(seed: int, row: int, dim: int, truncation: float, prior: str) -> None:
    u = np.array(uniforms(dim, seed, row, LATENTS)[:dim])
    if truncation < 1:
        u = 0.5 + truncation * (u - 0.5)
    expected = (ndtri(u) if prior == "normal" else 2 * u - 1).astype(np.float32)
    drawn = draw_latents(Latent(dim=dim, prior=prior), seed, row, 1, truncation)  # type: ignore[arg-type]
    assert drawn.dtype == np.float32
    assert np.array_equal(drawn[0], expected)


@given(
    seed=seeds,
    offset=st.integers(0, SEED_LIMIT - 100),
    dim=dims,
    cuts=st.lists(st.integers(0, 60), max_size=6),
    prior=priors,
    truncation=truncations,
)
def test_any_partition_of_the_rows_gives_the_same_bits(
    seed: int, offset: int, dim: int, cuts: list[int], prior: str, truncation: float
) -> None:
    latent = Latent(dim=dim, prior=prior)  # type: ignore[arg-type]
    whole = draw_latents(latent, seed, offset, 60, truncation)
    labels = draw_labels(dim, 7, seed, offset, 60)
    edges = [0, *sorted(cuts), 60]
    for start, stop in itertools.pairwise(edges):
        part = draw_latents(latent, seed, offset + start, stop - start, truncation)
        assert part.shape == (stop - start, dim)
        assert np.array_equal(part, whole[start:stop])
        assert np.array_equal(draw_labels(dim, 7, seed, offset + start, stop - start), labels[start:stop])


@given(seed=seeds, row=seeds, dim=dims, shares=st.lists(st.floats(0.01, 1), min_size=1, max_size=12))
def test_labels_follow_the_recipe(seed: int, row: int, dim: int, shares: list[float]) -> None:
    prior = (np.array(shares) / np.sum(shares)).tolist()
    u = uniforms(dim, seed, row, LABELS)[0]
    expected = next((i for i, edge in enumerate(np.cumsum(prior)) if u < edge), len(prior) - 1)
    assert draw_labels(dim, prior, seed, row, 1).tolist() == [expected]


sizes = st.floats(0.01, 100)
parts = st.builds(
    lambda shape, prior, shift, scale, truncation: LatentPart(
        name="part", shape=shape, prior=prior, shift=shift, scale=scale, truncation=truncation
    ),
    st.lists(st.integers(1, 3), max_size=3),
    priors,
    st.floats(-50, 50),
    sizes,
    truncations,
)


def of_parts(drawn: list[LatentPart], noises: list[LatentPart]) -> Latent:
    """A latent of these parts, the noise last."""
    named = [
        part.model_copy(update={"name": f"part {index}", "noise": index >= len(drawn)})
        for index, part in enumerate([*drawn, *noises])
    ]
    return Latent(dim=sum(part.width for part in named), prior=named[0].prior, parts=named)


@given(
    seed=seeds,
    row=seeds,
    drawn=st.lists(parts, min_size=1, max_size=3),
    noises=st.lists(parts, max_size=2),
    truncation=truncations,
)
def test_every_part_of_a_latent_is_what_the_recipe_says(
    seed: int, row: int, drawn: list[LatentPart], noises: list[LatentPart], truncation: float
) -> None:
    latent = of_parts(drawn, noises)
    expected: list[float] = []
    for stream, of_stream in ((LATENTS, drawn), (NOISE, noises)):
        words = iter(uniforms(sum(part.width for part in of_stream), seed, row, stream))
        for part in of_stream:
            for _ in range(part.width):
                u = next(words)
                if stream == LATENTS:
                    u = 0.5 + part.truncation * truncation * (u - 0.5)
                z = float(ndtri(u)) if part.prior == "normal" else 2 * u - 1
                expected.append(part.scale * z + part.shift)
    found = draw_latents(latent, seed, row, 1, truncation)[0]
    assert np.allclose(found, np.array(expected, np.float32), rtol=1e-6, atol=1e-6)
    if noises:
        assert np.array_equal(found[latent.width :], draw_noise_of(latent, [Span(seed, row, 1)])[0])


@given(
    drawn=st.lists(parts, min_size=1, max_size=3),
    noises=st.lists(parts, max_size=2),
    spans=st.lists(
        st.tuples(seeds, st.integers(0, SEED_LIMIT - 100), st.integers(1, 20), truncations), min_size=1, max_size=4
    ),
)
def test_parts_of_many_spans_are_those_of_each(
    drawn: list[LatentPart], noises: list[LatentPart], spans: list[tuple[int, int, int, float]]
) -> None:
    latent = of_parts(drawn, noises)
    together = draw_latents_of(latent, [Span(*span) for span in spans])
    alone = [
        draw_latents(latent, seed, row, 1, share) for seed, start, n, share in spans for row in range(start, start + n)
    ]
    assert np.array_equal(together, np.concatenate(alone))


def recipe(condition: Condition, u: float) -> float:
    """A condition's value, as docs/latents.md has it."""
    low, high = condition.range
    if condition.prior == "uniform":
        return low + u * (high - low)
    if condition.prior == "log-uniform":
        return low * math.exp(u * math.log(high / low))
    if condition.prior == "normal":
        outside = float(ndtr(-3))
        return (low + high) / 2 + (high - low) / 6 * float(ndtri(outside + u * (1 - 2 * outside)))
    assert condition.quantiles is not None
    at = u * (len(condition.quantiles) - 1)
    below = int(at)
    one, other = condition.quantiles[below : below + 2]
    return one + (at - below) * (other - one)


kinds = st.one_of(
    st.tuples(st.floats(-100, 100), sizes).map(lambda ends: Condition(name="c", range=(ends[0], sum(ends)))),
    st.tuples(sizes, sizes).map(lambda ends: Condition(name="c", range=(ends[0], sum(ends)), prior="log-uniform")),
    st.tuples(st.floats(-100, 100), sizes).map(
        lambda ends: Condition(name="c", range=(ends[0], sum(ends)), prior="normal")
    ),
    st.lists(st.floats(-10, 10), min_size=2, max_size=9).map(
        lambda values: Condition(name="c", range=(-10, 10), prior="quantiles", quantiles=sorted(values))
    ),
)


@given(seed=seeds, row=seeds, dim=dims, conditions=st.lists(kinds, min_size=1, max_size=9))
def test_conditions_follow_the_recipe(seed: int, row: int, dim: int, conditions: list[Condition]) -> None:
    drawn = draw_conditions(Latent(dim=dim), conditions, seed, row, 1)
    assert drawn.shape == (1, len(conditions))
    assert drawn.dtype == np.float32
    words = uniforms(max(dim, len(conditions)), seed, row, CONDITIONS)
    for value, condition, u in zip(drawn[0], conditions, words, strict=False):
        assert np.float32(condition.range[0]) <= value <= np.float32(condition.range[1])
        assert math.isclose(value, recipe(condition, u), rel_tol=1e-6, abs_tol=1e-5)


@given(
    seed=seeds,
    offset=st.integers(0, SEED_LIMIT - 100),
    dim=dims,
    conditions=st.lists(kinds, min_size=1, max_size=9),
    cut=st.integers(1, 39),
)
def test_any_partition_of_the_rows_gives_the_same_conditions(
    seed: int, offset: int, dim: int, conditions: list[Condition], cut: int
) -> None:
    whole = draw_conditions(Latent(dim=dim), conditions, seed, offset, 40)
    parts = [(offset, cut), (offset + cut, 40 - cut)]
    found = [draw_conditions(Latent(dim=dim), conditions, seed, *part) for part in parts]
    assert np.array_equal(np.concatenate(found), whole)


@pytest.mark.parametrize(
    ("condition", "cdf"),
    [
        (Condition(name="c", range=(-3, 5)), stats.uniform(-3, 8).cdf),
        (Condition(name="c", range=(1, 100), prior="log-uniform"), stats.loguniform(1, 100).cdf),
        (Condition(name="c", range=(-3, 3), prior="normal"), stats.truncnorm(-3, 3).cdf),
        (
            Condition(name="c", range=(0, 10), prior="quantiles", quantiles=[0, 1, 10]),
            lambda x: np.interp(x, [0, 1, 10], [0, 0.5, 1]),
        ),
    ],
    ids=lambda value: getattr(value, "prior", ""),
)
def test_conditions_follow_their_prior(condition: Condition, cdf: object) -> None:
    drawn = draw_conditions(Latent(dim=2), [condition], 3, 0, 20_000)[:, 0].astype(np.float64)
    assert stats.kstest(drawn, cdf).pvalue > 1e-3


def test_noise_labels_and_conditions_do_not_depend_on_the_latents() -> None:
    latent = of_parts([LatentPart(name="z", shape=[])], [LatentPart(name="noise", shape=[])])
    z, noise = draw_latents(latent, 3, 0, 20_000).T
    condition = draw_conditions(latent, [Condition(name="c", range=(0, 1), prior="normal")], 3, 0, 20_000)[:, 0]
    labels = draw_labels(latent.width, 2, 3, 0, 20_000)
    columns = [ndtr(z), ndtr(noise), condition, labels + ndtr(z)[::-1]]
    assert np.abs(np.corrcoef(columns) - np.eye(4)).max() < 5 / np.sqrt(20_000)


@pytest.mark.parametrize("prior", ["normal", "uniform"])
@pytest.mark.parametrize("truncation", [0.05, 0.5, 0.9])
def test_truncation_keeps_the_central_mass(prior: str, truncation: float) -> None:
    latent = Latent(dim=16, prior=prior)  # type: ignore[arg-type]
    z = draw_latents(latent, 1, 0, 5000, truncation).astype(np.float64)
    bound = ndtri(0.5 + truncation / 2) if prior == "normal" else truncation
    assert np.abs(z).max() <= bound * (1 + 1e-6)
    # Within the bound it is the prior itself, cut off: F(z) is uniform on the central mass.
    u = ndtr(z) if prior == "normal" else (z + 1) / 2
    assert stats.kstest(((u - 0.5) / truncation + 0.5).ravel(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize(("prior", "cdf"), [("normal", "norm"), ("uniform", stats.uniform(-1, 2).cdf)])
def test_latents_follow_their_prior(prior: str, cdf: object) -> None:
    z = draw_latents(Latent(dim=10, prior=prior), 12345, 0, 20_000)  # type: ignore[arg-type]
    for coordinate in z.T:
        assert stats.kstest(coordinate.astype(np.float64), cdf).pvalue > 1e-3 / 10
    correlation = np.corrcoef(z.T) - np.eye(10)
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)


def test_neighbouring_seeds_have_nothing_in_common() -> None:
    rows = np.concatenate([draw_latents(Latent(dim=4), seed, 0, 1000) for seed in range(20)])
    assert len(np.unique(rows)) > 0.999 * rows.size


def test_labels_follow_their_prior() -> None:
    prior = [0.5, 0.0, 0.3, 0.2]
    counts = np.bincount(draw_labels(8, prior, 3, 0, 50_000), minlength=4)
    assert counts[1] == 0
    assert stats.chisquare(counts[[0, 2, 3]], np.array([0.5, 0.3, 0.2]) * 50_000).pvalue > 1e-3
    equal = np.bincount(draw_labels(8, 10, 3, 0, 50_000), minlength=10)
    assert stats.chisquare(equal).pvalue > 1e-3


def test_labels_do_not_depend_on_the_latents() -> None:
    z, labels = draw_latents(Latent(dim=1), 3, 0, 20_000)[:, 0], draw_labels(1, 2, 3, 0, 20_000)
    assert stats.ks_2samp(z[labels == 0], z[labels == 1]).pvalue > 1e-3


@pytest.mark.parametrize("word", [MASK, 0, 1 << 63])
def test_u_is_never_0_or_1(word: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest word would round up to 1, whose normal quantile is infinite."""
    from latentserve.service.sampling import latents

    monkeypatch.setattr(latents, "_words", lambda *_: np.full(4, word, np.uint64))
    for prior, truncation in itertools.product(("normal", "uniform"), (1.0, 0.5)):
        z = draw_latents(Latent(dim=4, prior=prior), 0, 0, 1, truncation)  # type: ignore[arg-type]
        assert np.isfinite(z).all()
    assert draw_labels(4, 3, 0, 0, 1)[0] in (0, 1, 2)


def test_threads_do_not_disturb_each_other() -> None:
    expected = [draw_latents(Latent(dim=9), seed, seed, 50) for seed in range(16)]
    barrier = threading.Barrier(8)

    def same(worker: int) -> bool:
        barrier.wait()
        order = np.random.default_rng(worker).permutation(16)
        return all(
            np.array_equal(draw_latents(Latent(dim=9), int(seed), int(seed), 50), expected[seed])
            for _ in range(30)
            for seed in order
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(same, range(8)))
