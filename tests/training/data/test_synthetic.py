import numpy as np
import pytest

from latentserve.training.data import load
from latentserve.training.data.synthetic import MIXTURES
from latentserve.training.errors import DataError


@pytest.mark.parametrize(("name", "means", "std"), [("ring", 8, 0.01), ("grid", 25, 0.05)])
def test_points_lie_about_their_means_and_are_the_same_each_time(name: str, means: int, std: float) -> None:
    dataset = load(name, None)
    assert dataset.samples.shape == (100_000, 2)
    assert (dataset.kind, dataset.label_names) == ("array", [])
    centres = MIXTURES[name].means
    assert len(np.unique(centres.round(6), axis=0)) == means
    offsets = dataset.samples[:, None] - centres
    nearest = np.linalg.norm(offsets, axis=-1).argmin(axis=1)
    counts = np.bincount(nearest)
    assert counts.min() > 0.9 * 100_000 / means
    assert offsets[np.arange(100_000), nearest].std() == pytest.approx(std, rel=0.01)
    assert dataset.description.sha256 == load(name, None).description.sha256
    assert not np.array_equal(load(name, None, "test").samples, dataset.samples)


def test_where_they_lie() -> None:
    assert {tuple(mean) for mean in MIXTURES["grid"].means} == {
        (x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)
    }
    np.testing.assert_allclose(np.linalg.norm(MIXTURES["ring"].means, axis=1), 1)


def test_a_folder_means_nothing_to_them(tmp_path) -> None:
    with pytest.raises(DataError, match="--data: `grid` is drawn by code and takes no folder"):
        load("grid", tmp_path)
