"""A bundle opened in this process gives the rows that a server of it gives, and refuses what a server refuses."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import latentserve
from latentserve import OpenedBundle, open_bundle
from latentserve.service.bundle import SampleSpec, read_bundle
from latentserve.service.errors import BundleError, InvalidError, TooLargeError
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.sampler import Sampler
from tests.conftest import LABELS, make_bundle
from tests.generators import dense_generator
from tests.server import Server

NPY = "application/x-npy"


@pytest.fixture(scope="module")
def toy(bundle: Path) -> OpenedBundle:
    return open_bundle(bundle)


@pytest.fixture(scope="module")
def plain(plain_bundle: Path) -> OpenedBundle:
    return open_bundle(str(plain_bundle))


CASES: list[dict[str, Any]] = [
    {"seed": 9},
    {"seed": 9, "n": 300},
    {"seed": 2**53 - 1, "n": 5, "offset": 2**53 - 5},
    {"seed": 4, "n": 40, "offset": 7, "truncation": 0.5},
    {"seed": 4, "n": 3, "label": 3},
    {"seed": 4, "n": 3, "label": "digit 3"},
    {"seed": 4, "labels": [0, "digit 7", 9]},
    {"latents": [[0.5] * 8, [0.1] * 8], "labels": [1, 2]},
]


@pytest.mark.parametrize("fields", CASES, ids=str)
def test_rows_are_those_of_a_server(toy: OpenedBundle, server: Server, fields: dict[str, Any]) -> None:
    rows = toy.sample(**fields)
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    served = server.samples(accept=NPY, model="toy", **fields)
    assert served.content.endswith(rows.tobytes())
    assert rows.shape == (fields.get("n", len(fields.get("labels", [0]))), 1, 8, 8)


def test_rows_that_depend_on_their_batch_are_those_of_a_deterministic_request(bundle: Path) -> None:
    placed = replace(read_bundle(bundle), generator_file=dense_generator(places=True).SerializeToString())
    engine = Engine(placed, "cpu")
    engine.warm_up()
    assert not engine.batch_invariant
    sampler = Sampler(engine, max_queue_rows=1000)
    sampler.start()
    served = asyncio.run(sampler.rows(RowsRequest(n=100, seed=3, offset=5, deterministic=True)))
    sampler.stop()
    assert np.array_equal(OpenedBundle(placed).sample(n=100, seed=3, offset=5), served.samples)


@given(offset=st.integers(0, 2**53 - 60), n=st.integers(1, 60), data=st.data())
def test_rows_may_be_asked_for_in_any_portions(toy: OpenedBundle, offset: int, n: int, data: st.DataObject) -> None:
    whole = toy.sample(n, seed=11, offset=offset)
    cuts = data.draw(st.lists(st.integers(1, n), max_size=4).map(lambda cuts: sorted({0, *cuts, n})))
    parts = [toy.sample(stop - start, seed=11, offset=offset + start) for start, stop in pairwise(cuts)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_portions_beyond_a_slice(plain: OpenedBundle) -> None:
    whole = plain.sample(1000, seed=5, offset=3)
    assert np.array_equal(np.concatenate([plain.sample(993, 5, 3), plain.sample(7, 5, 996)]), whole)


def test_without_a_seed_one_is_drawn(plain: OpenedBundle) -> None:
    assert plain.sample().shape == (1, 6)
    assert not np.array_equal(plain.sample(), plain.sample())


def test_numpys_values_stand_for_pythons(toy: OpenedBundle) -> None:
    expected = toy.sample(n=3, seed=7, offset=2, labels=[1, 2, 3], truncation=0.5)
    given = {"n": np.int64(3), "seed": np.uint8(7), "offset": np.int32(2), "truncation": np.float32(0.5)}
    for labels in (np.array([1, 2, 3], np.int16), (np.int64(1), 2, 3), range(1, 4), np.array(LABELS[1:4])):
        assert np.array_equal(toy.sample(**given, labels=labels), expected)
    latents = latentserve.draw_latents(toy.manifest.latent, 7, 2, 3, 0.5)
    assert np.array_equal(toy.sample(latents=latents, labels=[1, 2, 3]), expected)


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("n", {"n": 0}),
        ("n", {"n": True}),
        ("n", {"n": 2.0}),
        ("n", {"n": np.float64(2)}),
        ("n", {"n": "2"}),
        ("n", {"n": np.array([2])}),
        ("n", {"n": 2, "labels": [1]}),
        ("seed", {"seed": -1}),
        ("seed", {"seed": 2**53}),
        ("seed", {"seed": np.True_}),
        ("seed", {"seed": 1.0}),
        ("offset", {"offset": 2**53 - 1, "n": 2}),
        ("offset", {"offset": np.float32(1)}),
        ("truncation", {"truncation": 0}),
        ("truncation", {"truncation": float("nan")}),
        ("truncation", {"truncation": True}),
        ("label", {"label": 10}),
        ("label", {"label": 10**5000}),
        ("label", {"label": -1}),
        ("label", {"label": "3"}),
        ("label", {"label": 3.0}),
        ("label", {"label": 1, "labels": [1]}),
        ("labels[1]", {"labels": [1, 1.5]}),
        ("labels[0]", {"labels": np.array([1.0, 2.0])}),
        ("labels[0]", {"labels": [True]}),
        ("labels", {"labels": []}),
        ("labels", {"labels": "digit 1"}),
        ("latents[0]", {"latents": np.zeros(8)}),
        ("latents[1]", {"latents": [[0] * 8, [0] * 7]}),
        ("latents[0][0]", {"latents": np.full((1, 8), np.nan)}),
        ("seed", {"latents": np.zeros((1, 8)), "seed": 1}),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_a_refusal_names_its_field(toy: OpenedBundle, field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidError) as refused:
        toy.sample(**fields)
    assert refused.value.field == field
    assert str(refused.value).startswith(f"{field}: ")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_what_cannot_be_given_is_refused_in_one_line(toy: OpenedBundle, plain: OpenedBundle, tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match=r"^label: .*takes no labels"):
        plain.sample(label=0)
    with pytest.raises(TooLargeError, match=r"^n: "):
        plain.sample(2**52)
    with pytest.raises(TooLargeError, match=r"^n: "):
        plain.sample(10**5000)
    with pytest.raises(TooLargeError, match=r"^n: "):
        toy.sample(2**52, label=3)
    with pytest.raises(BundleError, match="nowhere"):
        open_bundle(tmp_path / "nowhere")


def test_it_needs_no_torch(bundle: Path) -> None:
    code = f"""
import sys, latentserve
assert latentserve.open_bundle({str(bundle)!r}).sample(2, seed=1).shape == (2, 1, 8, 8)
assert not {{"torch", "bentoml", "starlette"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)


PEAK = """
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
"""

TAKE = (
    PEAK
    + """
import sys, latentserve
bundle = latentserve.open_bundle(sys.argv[1])
assert bundle.sample(1, seed=1).shape == (1, 3, 128, 128)
before = peak()
taken = sum(len(part) for part in bundle.slices(bundle.request(n=1500, seed=1, offset=7)))
assert taken == 1500
print(peak() - before)
"""
)


def test_large_samples_are_taken_a_few_at_a_time(tmp_path: Path) -> None:
    """1500 of them are 295 MB."""
    large = make_bundle(
        tmp_path / "large",
        generator=dense_generator(shape=(3, 128, 128), hidden=2).SerializeToString(),
        critic=None,
        sample=SampleSpec(kind="image", shape=[3, 128, 128], value_range=(-1, 1), channels="RGB"),
        reference_samples=64,
    )
    taken = subprocess.run([sys.executable, "-c", TAKE, large], capture_output=True, text=True, check=True).stdout
    assert int(taken) < 200e6


WEIGHTS = 48 << 20  # bytes

MEASURE = (
    PEAK
    + """
import sys, latentserve
from latentserve.service.opened import OpenedBundle

before = peak()
latentserve.open_bundle(sys.argv[1])
print(peak() - before)
"""
)


def test_a_bundle_is_opened_in_three_and_a_half_times_the_memory_of_its_weights(tmp_path: Path) -> None:
    """The pages of their file, which is mapped; as the runtime copies them, and lays them out. The first go again."""
    hidden = math.isqrt(WEIGHTS // 4)
    large = make_bundle(
        tmp_path / "large",
        generator=dense_generator(hidden=hidden, depth=1).SerializeToString(),
        critic=None,
        reference_samples=64,
    )
    taken = subprocess.run([sys.executable, "-c", MEASURE, large], capture_output=True, text=True, check=True).stdout
    assert WEIGHTS < int(taken) < 3.5 * WEIGHTS
