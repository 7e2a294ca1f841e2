import numpy as np
import pytest

from latentserve.service.bundle import Column
from latentserve.training.data import Dataset
from latentserve.training.evaluation.views import log_spectra, view_of


def test_a_tables_columns() -> None:
    columns = [
        Column(name="age", type="float32", missing=-1.0),
        Column(name="job", type="string", categories=["a", "b"]),
    ]
    rows = np.array([[20, 0], [40, 1], [-1, 1], [60, 0]], np.float32)
    view = view_of(Dataset("people", rows, np.zeros(4, np.int64), [], kind="table", columns=columns))
    assert view.columns == ["age", "age is missing", "job = a", "job = b"]
    seen = view.of(rows)
    assert seen[:, 0] == pytest.approx(np.array([-1, 0, 0, 1]) * np.sqrt(1.5))
    assert seen[:, 1:].tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 0]]


def test_numbers_over_their_spread() -> None:
    points = np.array([[0, 5], [2, 5]], np.float32)
    view = view_of(Dataset("points", points, np.zeros(2, np.int64), [], kind="array"))
    assert view.of(points).tolist() == [[0, 5], [2, 5]]


@pytest.mark.parametrize("length", [1, 3, 100, 1_000])
def test_spectra_of_any_length_are_finite(length: int) -> None:
    sounds = np.random.default_rng(0).uniform(-1, 1, (3, 2, length)).astype(np.float32)
    view = view_of(Dataset("sounds", sounds, np.zeros(3, np.int64), [], kind="audio", sample_rate=8_000))
    seen = view.of(sounds)
    assert seen.shape[0] == 3
    assert np.isfinite(seen).all()


def test_a_tone_is_where_it_should_be() -> None:
    time = np.arange(4_096)
    low, high = (np.sin(2 * np.pi * at * time / 256).astype(np.float32)[None, None] for at in (4, 64))
    bands = [log_spectra(tone, 256)[0] for tone in (low, high)]
    half = len(bands[0]) // 2
    assert bands[0][:half].argmax() < bands[1][:half].argmax()
