import numpy as np
from numpy.typing import NDArray

from latentserve.training.data import load
from latentserve.training.data.synthetic import BLOBS, CENTRE, RADIUS, SIDE


def measured(images: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The x of the centre of gravity, and the mean distance from it over that of a disc of radius 1, of images
    [N, 1, H, W] in [-1, 1]."""
    light = (images[:, 0].astype(np.float64) + 1) / 2
    light = np.where(light > 0.1, light, 0)
    total = light.sum(axis=(1, 2)) + 1e-9
    middle = np.arange(SIDE) + 0.5
    x, y = (light * middle).sum(axis=(1, 2)) / total, (light * middle[:, None]).sum(axis=(1, 2)) / total
    away = np.hypot(middle[None, None, :] - x[:, None, None], middle[None, :, None] - y[:, None, None])
    return x, (light * away).sum(axis=(1, 2)) / total * 1.5


def test_a_picture_shows_what_it_was_made_for() -> None:
    train, test = load("blobs", None), load("blobs", None, "test")
    for dataset, split in ((train, "train"), (test, "test")):
        assert dataset.samples.shape == (BLOBS[split], 1, SIDE, SIDE)
        assert (dataset.kind, dataset.label_names, dataset.samples.dtype) == ("image", [], np.uint8)
        assert dataset.conditions is not None
        assert (dataset.conditions.names, dataset.conditions.units) == (["x", "radius"], ["px", "px"])
        for values, (low, high) in zip(dataset.conditions.values.T, (CENTRE, RADIUS), strict=True):
            assert low <= values.min() < values.max() <= high
        for seen, asked in zip(measured(dataset.take(slice(0, 500))), dataset.conditions.values[:500].T, strict=True):
            assert np.corrcoef(seen, asked)[0, 1] > 0.98
    assert train.description.sha256 == load("blobs", None).description.sha256 != test.description.sha256
