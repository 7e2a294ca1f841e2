import numpy as np
import pytest

from latentserve.training.data import load
from latentserve.training.data.synthetic import COUNTS, FORMS, FRAMES, RATE, tones


@pytest.fixture(scope="module")
def clean() -> dict[str, np.ndarray]:
    """Power spectra of 50 tones of each form, over frequencies that are RATE / FRAMES apart."""
    labels = np.repeat(np.arange(len(FORMS)), 50)
    window = np.hanning(FRAMES)
    power = np.abs(np.fft.rfft(tones(labels, seed=3) * window)) ** 2
    return {
        form: power[labels == place] / power[labels == place].sum(axis=1)[:, None] for place, form in enumerate(FORMS)
    }


def test_what_is_loaded() -> None:
    train, test = load("waves", None), load("waves", None, "test")
    for dataset, split in ((train, "train"), (test, "test")):
        assert dataset.samples.shape == (COUNTS[split], 1, FRAMES)  # type: ignore[index]
        assert (dataset.kind, dataset.sample_rate, dataset.samples.dtype) == ("audio", 8000, np.int16)
        assert np.bincount(dataset.labels).tolist() == [COUNTS[split] // 4] * 4  # type: ignore[index]
        assert 0.8 < np.abs(dataset.take(slice(None))).max() < 0.95
    assert train.description.sha256 != test.description.sha256
    assert load("waves", None, "test").description.sha256 == test.description.sha256


def test_the_same_seed_makes_the_same_tones() -> None:
    labels = np.array([0, 1, 2, 3])
    assert np.array_equal(tones(labels, 5), tones(labels, 5))
    assert not np.array_equal(tones(labels, 5), tones(labels, 6))


def test_each_form_has_its_own_harmonics(clean: dict[str, np.ndarray]) -> None:
    """A sine has one line, a square wave odd harmonics of 1/k, a sawtooth all, and a chirp lies over an octave."""
    for form, expected in {"sine": (0, 0), "square": (0, 1 / 9), "sawtooth": (1 / 4, 1 / 9)}.items():
        for power in clean[form]:
            first = int(power.argmax())
            alone, *others = (power[k * first - k - 2 : k * first + k + 3].sum() for k in (1, 2, 3))
            assert np.abs(np.array(others) / alone - expected).max() < 0.05, (form, first)
    assert np.median([(power > power.max() / 100).sum() for power in clean["sine"]]) < 8
    assert np.median([(power > power.max() / 100).sum() for power in clean["chirp"]]) > 20


def test_nothing_is_aliased(clean: dict[str, np.ndarray]) -> None:
    """Between the harmonics of a sawtooth there is hiss and nothing else."""
    for power in clean["sawtooth"]:
        first = int(power.argmax())
        if first < 40:  # lines wide enough apart for a look between
            continue
        highest = int(RATE / 2 / (first * RATE / FRAMES)) - 1
        between = [power[int((k + 0.5) * first)] for k in range(1, highest)]
        assert max(between) < 1e-3 * power[first]
