"""Data that are drawn by code: mixtures of Gaussians whose modes are known, notes of four forms, and blobs.

The mixtures, 8 on a ring and 25 on a grid, are as they have been since "VEEGAN: Reducing Mode Collapse in GANs using
Implicit Variational Learning" (Srivastava et al. 2017), section 4.1; numbers from "PacGAN" (Lin et al. 2018), section
4.1. All of a mixture's Gaussians are alike and equally likely. The notes are 128 ms each at 8 kHz, of random pitch,
phase, loudness and envelope; square and sawtooth are sums of their harmonics below half the sample rate, so that
nothing is aliased. A blob is a disc with a soft edge in a picture of 16x16 pixels, made for where its centre lies from
left to right and for its radius; how high it lies and how bright it is are left to chance.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentserve.training.data.conditions import Conditions
from latentserve.training.data.dataset import Dataset, Split

_SEEDS = {"train": 0, "test": 1}

POINTS = 100_000  # of either split of a mixture
_ANGLES = 2 * np.pi * np.arange(8) / 8
_TICKS = np.arange(-4, 5, 2)

RATE = 8_000  # Hz
FRAMES = 1_024
FORMS = ("sine", "square", "sawtooth", "chirp")
COUNTS = {"train": 8_000, "test": 2_000}  # as many of each form

_NOTES = 261.6 * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12]) / 12)  # Hz: an octave of C major, all equally likely
_GLIDE = 2.0  # a chirp ends this many times as high as it began
_PEAK = (0.3, 0.9)  # equally likely in logarithm, as times are
_ATTACK = (0.002, 0.02)  # seconds in which a tone rises
_DECAY = (0.03, 0.3)  # seconds in which it then falls to 1/e
_NOISE = 0.003  # standard deviation of the hiss under all of them
_SCALE = 0.54  # 1 / Si(pi): Si(pi) is the largest value of the sum over all k, and half of it of that over odd ones
_FULL_SCALE = 1 << 15
_TOGETHER = 64  # tones that are made at once, in what a processor keeps at hand

SIDE = 16  # pixels of a picture
BLOBS = {"train": 8_000, "test": 2_000}
CENTRE = (4.0, 12.0)  # pixels from the left edge, and from the upper one, all equally likely
RADIUS = (1.5, 4.0)  # pixels, equally likely in logarithm
_BRIGHTNESS = (0.6, 1.0)  # of a white disc
_EDGE = 0.5  # pixels in which a disc fades by a factor e, far out


class Mixture(NamedTuple):
    """Equally likely Gaussians in the plane: their means float64 [M, 2], and the standard deviation of each number."""

    means: NDArray[np.float64]
    std: float

    def draw(self, count: int, seed: int) -> NDArray[np.float32]:
        """Points float32 [count, 2]; the same seed draws the same."""
        rng = np.random.default_rng(seed)
        means = self.means[rng.integers(len(self.means), size=count)]
        return (means + self.std * rng.standard_normal((count, 2))).astype(np.float32)


MIXTURES = {
    "ring": Mixture(np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1), std=0.01),
    "grid": Mixture(np.stack(np.meshgrid(_TICKS, _TICKS), axis=-1).reshape(-1, 2).astype(np.float64), std=0.05),
}


def ring(split: Split) -> Dataset:
    """8 Gaussians on a circle, samples float32 [N, 2] without labels. No run draws its own: the data have one name."""
    return _points("ring", split)


def grid(split: Split) -> Dataset:
    """25 Gaussians on a grid, likewise."""
    return _points("grid", split)


def _points(name: str, split: Split) -> Dataset:
    points = MIXTURES[name].draw(POINTS, _SEEDS[split])
    return Dataset(name, points, np.zeros(POINTS, np.int64), [], kind="array")


def waves(split: Split) -> Dataset:
    """One split, samples [N, 1, FRAMES] of 16 bits, their labels places in FORMS. The splits have no tone in common.

    No run makes its own: the data have one name.
    """
    labels = np.arange(COUNTS[split]) % len(FORMS)
    samples = tones(labels, _SEEDS[split])[:, None]
    return Dataset("waves", samples, labels, list(FORMS), "audio", (-_FULL_SCALE, _FULL_SCALE), RATE)


def tones(labels: NDArray[np.int64], seed: int) -> NDArray[np.int16]:
    """Tones int16 [N, FRAMES] of the forms `labels` int64 [N]. The same seed makes the same, on any machine: what its
    sines are off by is far less than a step of 16 bits."""
    rng = np.random.default_rng(seed)
    samples = np.empty((len(labels), FRAMES), np.int16)
    for start in range(0, len(labels), _TOGETHER):
        some = labels[start : start + _TOGETHER]
        waves = _tones(some, rng) + _NOISE * rng.standard_normal((len(some), FRAMES))
        samples[start : start + _TOGETHER] = np.rint(waves.clip(-1, 1) * (_FULL_SCALE - 1))
    return samples


def _tones(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """The same without hiss, float64 [N, FRAMES]."""

    def between(bounds: tuple[float, float]) -> NDArray[np.float64]:
        low, high = np.log(bounds)
        return np.exp(rng.uniform(float(low), float(high), (len(labels), 1)))

    pitch = rng.choice(_NOTES, (len(labels), 1))
    peak, attack, decay = (between(bounds) for bounds in (_PEAK, _ATTACK, _DECAY))
    seconds = np.arange(FRAMES) / RATE
    turns = rng.uniform(size=(len(labels), 1)) + pitch * seconds
    glide = np.log(_GLIDE) / (FRAMES / RATE)
    chirps = labels == FORMS.index("chirp")
    turns[chirps] += pitch[chirps] * (np.expm1(glide * seconds) / glide - seconds)
    waves = np.sin(2 * np.pi * turns)
    for form, step in (("square", 2), ("sawtooth", 1)):
        some = labels == FORMS.index(form)
        waves[some] = _harmonics(turns[some], pitch[some], step)
    envelope: NDArray[np.float64] = np.minimum(seconds / attack, np.exp(np.minimum(0, (attack - seconds) / decay)))
    return peak * envelope * waves


def _harmonics(turns: NDArray[np.float64], pitch: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    """The sum of sin(2 pi k turns) / k over k = 1, 1 + step, ... below half the sample rate, about 1 at the most."""
    twice = 2 * np.cos(2 * np.pi * step * turns)
    before, now = -np.sin(2 * np.pi * (step - 1) * turns), np.sin(2 * np.pi * turns)
    total = np.zeros_like(turns)
    for k in range(1, int(RATE / 2 / _NOTES[0]) + 1, step):
        total += (k * pitch < RATE / 2) / k * now
        before, now = now, twice * now - before  # sin (k + step) x = 2 cos (step x) sin k x - sin (k - step) x
    return total * (step * _SCALE)


def blobs(split: Split) -> Dataset:
    """One split, pictures uint8 [N, 1, SIDE, SIDE] without labels, whose conditions are `x` and `radius` in pixels.

    No run makes its own: the data have one name.
    """
    count, rng = BLOBS[split], np.random.default_rng(_SEEDS[split])
    x, y = rng.uniform(*CENTRE, (2, count))
    radius = RADIUS[0] * (RADIUS[1] / RADIUS[0]) ** rng.uniform(size=count)
    brightness = rng.uniform(*_BRIGHTNESS, count)
    made_for = np.stack([x, radius], axis=1).astype(np.float32)
    samples = discs(x, y, radius, brightness)[:, None]
    conditions = Conditions(made_for, ["x", "radius"], ["px", "px"])
    return Dataset("blobs", samples, np.zeros(count, np.int64), [], stored_range=(0.0, 255.0), conditions=conditions)


def discs(*of: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Pictures uint8 [N, SIDE, SIDE] of discs by the x and y of their centres, their radius and brightness [N]."""
    x, y, radius, brightness = (each[:, None, None] for each in of)
    middle = np.arange(SIDE) + 0.5
    away = np.hypot(middle[None, None, :] - x, middle[None, :, None] - y)
    return np.rint(255 * brightness / (1 + np.exp((away - radius) / _EDGE))).astype(np.uint8)
