"""Audio and series as pictures: the curve of the first channel, and where it is long enough its spectrogram below."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

WIDTH = 128  # pixels of a picture
CURVE = 48  # pixels of the curve's height
WINDOW = 128  # frames that a column of the spectrogram is made of; half as many pixels high
DEPTH = 6.0  # decades of power below the strongest that are still lit

Images = NDArray[np.float32]


def curves(samples: NDArray[np.float32]) -> Images:
    """Pictures float32 [N, 1, H, WIDTH] in [-1, 1] of samples float32 [N, C, T], all to one scale."""
    channel = samples[:, 0]
    drawn = _curve(channel)
    if channel.shape[1] > WINDOW:
        drawn = np.concatenate([drawn, _spectrogram(channel)], axis=1)
    return drawn[:, None]


def _curve(values: NDArray[np.float32]) -> Images:
    """[N, CURVE, WIDTH]: each column is lit from the least to the largest value of its frames."""
    edges = np.arange(WIDTH + 1) * (values.shape[1] - 1) / WIDTH
    columns = [values[:, int(start) : int(np.ceil(end)) + 1] for start, end in pairwise(edges)]
    lowest, highest = (np.stack([bound(column, axis=1) for column in columns], axis=1) for bound in (np.min, np.max))
    top = np.abs(values).max(initial=np.finfo(np.float32).tiny)
    heights = np.linspace(top, -top, CURVE)[None, :, None]
    half = top / CURVE
    lit = (heights >= lowest[:, None] - half) & (heights <= highest[:, None] + half)
    return np.where(lit, np.float32(1), np.float32(-1))


def _spectrogram(values: NDArray[np.float32]) -> Images:
    """[N, WINDOW / 2, WIDTH]: log power, high frequencies above."""
    starts = np.linspace(0, values.shape[1] - WINDOW, WIDTH).astype(int)
    windows = np.stack([values[:, start : start + WINDOW] for start in starts], axis=1) * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(windows)[:, :, 1:]) ** 2
    decades = np.log10(np.maximum(power / (power.max() or 1), 10**-DEPTH))
    return (2 * decades / DEPTH + 1).transpose(0, 2, 1)[:, ::-1].astype(np.float32)
