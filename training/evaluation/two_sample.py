"""Can a classifier tell generated samples from real ones? The classifier two-sample test."""

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latentserve.service.encoding.images import to_uint8
from latentserve.training.evaluation.resampling import Floats, Measured, Resampling, share
from latentserve.training.evaluation.views import Samples

ROWS = 4_000  # of each side at the most: half to learn from, half to be tested on
WIDEST = 1_024  # numbers of a sample that are compared as they are
_HIDDEN = (64,)
_EPOCHS = 60


class ToldApart(NamedTuple):
    """How well a classifier does on the test half.

    Attributes:
        accuracy: share that it is right on; 0.5 where nothing can be told.
        auc: chance that to it a generated sample looks more generated than a real one.
        n: samples of each side that were used, of both halves.
    """

    accuracy: Measured
    auc: float
    n: int


def two_sample_test(real: Floats, fake: Floats) -> ToldApart:
    """A classifier two-sample test (C2ST; Lopez-Paz & Oquab 2017, Revisiting Classifier Two-Sample Tests, section 3).

    A small network (one hidden layer of 64, on standardised numbers, always the same seed) learns real from generated
    on one half of each side, and is tested on the other.

    Args:
        real: Features float64 [N, d]; 4,000 rows are used at the most.
        fake: The same of generated samples, [N, d]; more of one side are left out, so that guessing is right on half.
    """
    count = min(len(real), len(fake), ROWS)
    learn, test = slice(0, count // 2), slice(count // 2, count)
    network = MLPClassifier(_HIDDEN, alpha=0.1, batch_size=min(128, 2 * (count // 2)), max_iter=_EPOCHS, random_state=0)
    telling = make_pipeline(StandardScaler(), network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # epochs are bounded, and that is enough
        telling.fit(np.concatenate([real[learn], fake[learn]]), np.repeat([0, 1], count // 2))
    of_real, of_fake = (telling.predict_proba(part[test])[:, 1] for part in (real, fake))
    # A pair of a real and a generated row is drawn at once: both halves of what is right.
    right = ((of_real < 0.5).astype(np.float64) + (of_fake >= 0.5)) / 2
    answers = np.repeat([0, 1], len(right))
    auc = float(roc_auc_score(answers, np.concatenate([of_real, of_fake])))
    return ToldApart(share(right, Resampling.of(len(right), 4)), auc, count)


def shown_pixels(images: Samples) -> Floats:
    """Images [N, C, H, W] in [-1, 1] as eight bits show them, so that no classifier lives on finer differences than
    are ever delivered: float64 [N, C H W] of the first rows."""
    return to_uint8(images[:ROWS], (-1, 1)).reshape(-1, images[0].size).astype(np.float64)
