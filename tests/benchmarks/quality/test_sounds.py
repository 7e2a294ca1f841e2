import numpy as np
import pytest

from benchmarks.quality.sounds import COMPONENTS, FLOOR, classifier, frechet, log_spectra
from latentserve.training.data.synthetic import FORMS, tones


def spectra(labels: np.ndarray, seed: int) -> np.ndarray:
    return log_spectra((tones(labels, seed) / 32768).astype(np.float32)[:, None])


def test_pitch_is_heard_and_phase_is_not() -> None:
    seconds = np.arange(1024) / 8000
    low, moved, high = (
        np.sin(2 * np.pi * pitch * seconds + phase) for pitch, phase in ((440, 0), (440, 1.5), (523, 0))
    )
    heard = log_spectra(np.stack([low, moved, high])[:, None].astype(np.float32))
    assert np.linalg.norm(heard[0] - heard[1]) < 0.05 * np.linalg.norm(heard[0] - heard[2])
    assert heard.max() == pytest.approx(np.log10(1 / 4), abs=0.15)
    assert log_spectra(np.zeros((1, 1, 1024), np.float32)).max() == pytest.approx(np.log10(FLOOR))


def test_forms_are_told_apart_and_like_is_near_to_like() -> None:
    labels = np.arange(400) % len(FORMS)
    first, second = spectra(labels, 0), spectra(labels, 1)
    assert classifier(first, labels).score(second, labels) > 0.95
    some = slice(0, COMPONENTS)  # numbers that are there, few enough for 400 tones
    sines = spectra(np.zeros(400, np.int64), 2)
    assert frechet(first[:, some], second[:, some]) < 0.2 * frechet(first[:, some], sines[:, some])
