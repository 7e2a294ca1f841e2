"""What is coded comes back: every row, through torch and through ONNX."""

import json
import math
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor, nn

from latentserve.service.bundle import Column
from latentserve.training.data.transform import TableTransform
from latentserve.training.export import export_bundle
from latentserve.training.networks.samples import Decode, Encode, RowCritic, RowGenerator

MIXED = [
    Column(name="income", type="float64", decimals=2),
    Column(name="work", type="string", categories=["a", "b", None]),
    Column(name="age", type="int64", decimals=0, missing=-3),
    Column(name="always", type="int64", categories=[7]),
]


def mixed_rows(count: int = 600) -> np.ndarray:
    rng = np.random.default_rng(0)
    income = np.where(rng.random(count) < 0.8, 0, rng.normal(50_000, 10_000, count).round(2))
    age = np.where(rng.random(count) < 0.1, -3, rng.integers(17, 90, count))
    return np.stack([income, rng.integers(0, 3, count), age, np.zeros(count)], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def mixed() -> TableTransform:
    return TableTransform.fit(mixed_rows(), MIXED)


def through(transform: TableTransform, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    codes = Encode(transform)(torch.from_numpy(rows))
    return codes.numpy(), Decode(transform)(codes).numpy()


def test_mixed_rows_come_back_exactly(mixed: TableTransform) -> None:
    rows = mixed_rows()
    codes, again = through(mixed, rows)
    assert codes.shape == (600, mixed.width)
    assert np.array_equal(again, rows)


def test_one_hot_parts_are_where_the_spans_say(mixed: TableTransform) -> None:
    codes, _ = through(mixed, mixed_rows())
    places = set(range(mixed.width))
    for start, stop in mixed.spans:
        part = codes[:, start:stop]
        assert ((part == 0) | (part == 1)).all()
        assert (part.sum(axis=1) == 1).all()
        places -= set(range(start, stop))
    assert len(places) == 2  # the numbers' own places
    assert np.abs(codes[:, sorted(places)]).max() < 8


def test_a_number_is_told_by_its_place_in_the_likeliest_mode() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(-10, 1, 500), rng.normal(30, 4, 500)]).astype(np.float32)[:, None]
    transform = TableTransform.fit(values, [Column(name="x")])
    (coding,) = transform.codings
    codes, _ = through(transform, values)
    modes = codes[:, 1:].argmax(axis=1)
    means, stds = np.array(coding.means)[modes], np.array(coding.stds)[modes]
    np.testing.assert_allclose(codes[:, 0], (values[:, 0] - means) / stds, rtol=1e-4, atol=1e-5)
    assert ((means < 10) == (values[:, 0] < 10)).all()


@settings(deadline=None, max_examples=25)
@given(
    values=arrays.arrays(np.float32, st.integers(1, 40), elements=st.floats(-(2.0**80), 2.0**80, width=32)),
    missing=st.booleans(),
)
def test_any_numbers_come_back_to_rounding(values: np.ndarray, missing: bool) -> None:
    low = float(values.min())
    column = Column(name="x", missing=float(np.nextafter(np.float32(low), np.float32(-np.inf))) if missing else None)
    rows = values[:, None]
    if column.missing is not None:
        rows = np.concatenate([rows, np.full((3, 1), column.missing, np.float32)])
    transform = TableTransform.fit(rows, [column])
    _, again = through(transform, rows)
    span = max(abs(low), float(values.max()), float(values.max()) - low)
    np.testing.assert_allclose(again[: len(values), 0], values, rtol=0, atol=4e-7 * span + 1e-37)
    assert np.array_equal(again[len(values) :], rows[len(values) :])


@settings(deadline=None, max_examples=25)
@given(
    values=st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=40),
    decimals=st.integers(0, 1),
)
def test_rounded_numbers_come_back_exactly(values: list[int], decimals: int) -> None:
    rows = (np.array(values, np.float64) / 10**decimals / 2 // 1).astype(np.float32)[:, None]
    if decimals:
        rows = (rows.astype(np.float64) / 10).astype(np.float32)
    _, again = through(TableTransform.fit(rows, [Column(name="x", decimals=decimals)]), rows)
    assert np.array_equal(again, rows)


@settings(deadline=None)
@given(codes=arrays.arrays(np.float32, (5, 30), elements=st.floats(-50, 50, width=32)))
def test_whatever_a_network_gives_is_a_row(mixed: TableTransform, codes: np.ndarray) -> None:
    rows = mixed_rows()
    padded = np.resize(codes, (5, mixed.width))
    made = Decode(mixed)(torch.from_numpy(padded)).numpy()
    for at, column in enumerate(MIXED):
        if column.categories is not None:
            assert np.isin(made[:, at], np.arange(len(column.categories))).all()
            continue
        present = made[:, at][made[:, at] != np.float32(column.missing if column.missing is not None else math.nan)]
        known = rows[:, at][rows[:, at] != -3]
        assert (present >= known.min()).all()
        assert (present <= known.max()).all()


def test_a_transform_survives_json_and_is_the_same_for_the_same_rows(mixed: TableTransform) -> None:
    assert TableTransform.from_json(json.loads(json.dumps(mixed.to_json()))) == mixed
    assert TableTransform.fit(mixed_rows(), MIXED) == mixed


def test_a_generator_of_codes_is_exported_as_one_of_rows(tmp_path: Path, mixed: TableTransform) -> None:
    torch.manual_seed(0)

    class Critic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(mixed.width, 8), nn.ReLU())

        def forward(self, codes: Tensor) -> tuple[Tensor, Tensor]:
            features: Tensor = self.layers(codes)
            return features.sum(1), features

    manifest = export_bundle(
        RowGenerator(nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, mixed.width)), mixed),
        tmp_path / "bundle",
        name="people",
        latent_dim=4,
        critic=RowCritic(Critic(), mixed),
        kind="table",
        columns=MIXED,
        reference_samples=1000,
        real=mixed_rows(),
    )
    assert manifest.sample.columns == MIXED
    session = onnxruntime.InferenceSession(tmp_path / "bundle" / "generator.onnx")
    (rows,) = session.run(["sample"], {"z": np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)})
    assert np.array_equal(np.round(rows[:, 1]), rows[:, 1])
    assert set(rows[:, 3].tolist()) == {0}
    np.testing.assert_array_equal(np.round(rows[:, 0].astype(np.float64), 2).astype(np.float32), rows[:, 0])


@pytest.mark.parametrize("value", [0.0, 99_999.0, 1e-6])
def test_a_value_that_is_most_of_a_column_is_a_mode_of_its_own(value: float) -> None:
    rng = np.random.default_rng(0)
    rows = np.where(rng.random(2000) < 0.9, value, rng.lognormal(8, 1, 2000)).astype(np.float32)[:, None]
    (coding,) = TableTransform.fit(rows, [Column(name="gain")]).codings
    nearest = int(np.abs(np.array(coding.means) - value).argmin())
    assert coding.stds[nearest] * 4 < 1
    assert coding.weights[nearest] > 0.8


def test_shares_are_how_often_each_entry_is_on(mixed: TableTransform) -> None:
    rows = mixed_rows()
    labels = (rows[:, 1] > 0).astype(np.int64)
    codes, _ = through(mixed, rows)
    on = np.concatenate([codes[:, start:stop] for start, stop in mixed.spans], axis=1)
    found = np.array(mixed.shares(rows, labels, 3))
    for label in (0, 1):
        np.testing.assert_allclose(found[label], on[labels == label].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found[2], on.mean(axis=0), atol=1e-6)  # no row has this label


def test_frequent_values_are_points(mixed: TableTransform) -> None:
    assert mixed.codings[0].points == 1
    assert mixed.codings[0].means[0] == 0
    assert mixed.codings[2].points == 0
