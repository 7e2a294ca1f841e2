import numpy as np
import pytest

from latentserve.training.reporting.pictures import CURVE, WIDTH, WINDOW, curves


def test_a_curve_is_drawn_from_left_to_right() -> None:
    """A ramp from -1 to 1 is lit from the lower left to the upper right; nothing of the second channel is."""
    ramp = np.linspace(-1, 1, 100, dtype=np.float32)
    picture = curves(np.stack([ramp, -ramp])[None])[0, 0]
    assert picture.shape == (CURVE, WIDTH)
    assert set(np.unique(picture)) == {-1, 1}
    rows = np.array([np.flatnonzero(column > 0).mean() for column in picture.T])
    assert rows[0] > CURVE - 3
    assert rows[-1] < 2
    assert (np.diff(rows) <= 0).all()


def test_a_tone_is_a_line_in_the_spectrogram() -> None:
    seconds = np.arange(1024) / 8000
    low, high = (np.sin(2 * np.pi * pitch * seconds) for pitch in (500, 3000))
    pictures = curves(np.stack([low, high])[:, None].astype(np.float32))
    assert pictures.shape == (2, 1, CURVE + WINDOW // 2, WIDTH)
    for picture, pitch in zip(pictures, (500, 3000), strict=True):
        line = picture[0, CURVE:].argmax(axis=0)
        assert (line == WINDOW // 2 - pitch * WINDOW // 8000).all()


@pytest.mark.parametrize("frames", [1, 2, 24, WINDOW, WINDOW + 1])
@pytest.mark.parametrize("value", [0.0, 1e9])
def test_any_length_and_height_has_a_picture(frames: int, value: float) -> None:
    picture = curves(np.full((3, 2, frames), value, np.float32))
    assert picture.shape[3] == WIDTH
    assert np.isfinite(picture).all()
    assert np.abs(picture).max() <= 1
