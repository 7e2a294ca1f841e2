"""Tones made by code: 128 ms each at 8 kHz, of four forms, each of random pitch, phase, loudness and envelope.

Square and sawtooth are sums of their harmonics below half the sample rate, so that nothing is aliased.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.data.dataset import Dataset

RATE = 8_000  # Hz
FRAMES = 1_024
FORMS = ("sine", "square", "sawtooth", "chirp")
COUNTS = {"train": 8_000, "test": 2_000}  # as many of each form

_SEEDS = {"train": 0, "test": 1}
_PITCH = (200.0, 800.0)  # Hz, equally likely in logarithm, as loudness and times are
_GLIDE = 2.0  # a chirp ends this many times as high as it began
_PEAK = (0.3, 0.9)
_ATTACK = (0.002, 0.02)  # seconds in which a tone rises
_DECAY = (0.03, 0.3)  # seconds in which it then falls to 1/e
_NOISE = 0.003  # standard deviation of the hiss under all of them


def load(split: Literal["train", "test"]) -> Dataset:
    """One split, samples float32 [N, 1, FRAMES] in [-1, 1], their labels places in FORMS. The splits have no tone in
    common, and no run makes its own: the data have one name."""
    labels = np.arange(COUNTS[split]) % len(FORMS)
    samples = tones(labels, _SEEDS[split])[:, None]
    return Dataset("waves", samples, labels, list(FORMS), kind="audio", sample_rate=RATE)


def tones(labels: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
    """Tones float32 [N, FRAMES] of the forms `labels` int64 [N]; the same seed makes the same."""
    rng = np.random.default_rng(seed)

    def between(bounds: tuple[float, float]) -> NDArray[np.float64]:
        low, high = np.log(bounds)
        return np.exp(rng.uniform(float(low), float(high), (len(labels), 1)))

    pitch, peak, attack, decay = (between(bounds) for bounds in (_PITCH, _PEAK, _ATTACK, _DECAY))
    seconds = np.arange(FRAMES) / RATE
    turns = rng.uniform(size=(len(labels), 1)) + pitch * seconds
    glide = np.log(_GLIDE) / (FRAMES / RATE)
    chirps = labels == FORMS.index("chirp")
    turns[chirps] += pitch[chirps] * (np.expm1(glide * seconds) / glide - seconds)
    waves = np.sin(2 * np.pi * turns)
    for form, step in (("square", 2), ("sawtooth", 1)):
        some = labels == FORMS.index(form)
        waves[some] = _harmonics(turns[some], pitch[some], step)
    envelope = np.minimum(seconds / attack, np.exp(np.minimum(0, (attack - seconds) / decay)))
    hiss = _NOISE * rng.standard_normal(waves.shape)
    tones: NDArray[np.float32] = (peak * envelope * waves + hiss).clip(-1, 1).astype(np.float32)
    return tones


def _harmonics(turns: NDArray[np.float64], pitch: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    """The sum of sin(2 pi k turns) / k over k = 1, 1 + step, ... that are below half the sample rate, its largest
    value about 1."""
    first = np.exp(2j * np.pi * turns)
    power, forward, total = first.copy(), first**step, np.zeros_like(turns)
    for k in range(1, int(RATE / 2 / _PITCH[0]) + 1, step):
        total += np.where(k * pitch < RATE / 2, power.imag / k, 0)
        power *= forward
    return total * (2 / np.pi if step == 1 else 4 / np.pi) / 1.18  # Gibbs
