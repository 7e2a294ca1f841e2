import numpy as np

from latentserve.service.packing.spans import share_off

_ROWS = np.random.default_rng(0).standard_normal((50, 2))


def test_columns_are_judged_by_their_own_spans() -> None:
    table = (_ROWS * [1e6, 1]).astype(np.float32)
    off = table.copy()
    off[3, 1] += 0.1
    assert 0.01 < share_off(off, table, table) < 0.1
    assert share_off(off.reshape(50, 2, 1), table.reshape(50, 2, 1), table.reshape(50, 2, 1)) < 1e-6


def test_columns_of_series_are_judged_by_their_own_spans() -> None:
    series = (np.random.default_rng(0).standard_normal((50, 9, 2)) * [1e6, 1]).astype(np.float32)
    off = series.copy()
    off[3, 5, 1] += 0.1
    assert 0.01 < share_off(off, series, series) < 0.1
    turned = [one.transpose(0, 2, 1) for one in (off, series, series)]
    assert share_off(*turned) == share_off(off, series, series)


def test_of_integers_the_mean_of_a_row_counts() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 3, 8, 8)).astype(np.uint8)
    off = pixels.copy()
    off[3, 0, 0, 0] ^= 1
    assert 0 < share_off(off, pixels, pixels) < 1e-3
    assert share_off(pixels[::-1], pixels, pixels) > 0.1


def test_what_hardly_varies_is_judged_by_its_size() -> None:
    still = (_ROWS * [1e-6, 1] + [100, 0]).astype(np.float32)
    assert share_off(still + np.float32(1e-5), still, still) < 1e-3


def test_shapes_numbers_and_nothing() -> None:
    assert share_off(np.zeros((2, 3)), np.zeros((2, 4)), _ROWS) == np.inf
    assert np.isnan(share_off(np.full((2, 2), np.nan), np.zeros((2, 2)), _ROWS))
    assert share_off(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 2))) == 0
    assert share_off(np.array([[True]]), np.array([[False]]), np.array([[True], [False]])) == 1
