"""By task: classifiers that learn from generated samples and are tested on real ones, and the reverse.

The classification accuracy score of Ravuri & Vinyals 2019 (Classification Accuracy Score for Conditional Generative
Models), called train on synthetic, test on real since Esteban et al. 2017; and its reverse.
"""

from collections.abc import Sequence

import numpy as np

from latentserve.training.evaluation.classifier import Classifier, Labels
from latentserve.training.evaluation.resampling import DRAWS, Floats, Measured, Resampling
from latentserve.training.evaluation.views import Samples

SEEDS = (0, 1, 2)  # of classifiers that learn from the same samples


def learn(seen: Samples, labels: Labels, count: int) -> list[Classifier]:
    """A classifier for each seed, of seen samples [N, ...] with labels [N] below `count`."""
    return [Classifier(seen, labels, count, seed) for seed in SEEDS]


def accuracy(
    classifiers: Sequence[Classifier], seen: Samples, labels: Labels, resampling: Resampling | None
) -> Measured:
    """Share of samples [M, ...] whose label [M] is predicted, on average over classifiers; classifiers are resampled
    together with the samples, for other seeds would have made others."""
    right = [classifier.predict(seen) == labels for classifier in classifiers]
    value = float(np.mean(right))
    if resampling is None:
        return Measured(value)
    drawn: Floats = np.stack([resampling.means(each) for each in right])
    count = len(classifiers)
    which = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS) / count
    return Measured(value, np.einsum("ds,sd->d", which, drawn))
