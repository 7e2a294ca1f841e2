"""A small classifier, always the same one: whose features samples are compared in, and which judges by task; and a
regressor like it, which reads off samples what they were made for."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from latentserve.training.evaluation.resampling import DRAWS, Floats, Measured, Resampling
from latentserve.training.evaluation.views import Samples, at_once

FEATURES = 64  # of its last hidden layer
BATCH = 128
SEEN = 30_000  # samples that it is trained on, each counted as often as it is seen
MOST_EPOCHS = 20

SEEDS = (0, 1, 2)  # of classifiers that learn from the same samples

_MOST = 1_000  # rows of a prediction at once
_LEARNING_RATE = 5e-3
_SCALED_BY = 10_000  # rows
_SMALLEST = 8  # side of an image below which no layer halves it

Labels = NDArray[np.int64]
Told = Callable[[int], None]  # of how much more is done


class Classifier:
    """Convolutions on images [C, H, W], a hidden layer on anything else; then 64 features, then a logit for each label.

    Trained by Adam under one cycle of its step size (Smith & Topin 2018) on cross-entropy, for as many epochs
    as make 30,000 samples, 20 at the most. The same seen samples, labels and seed give the same classifier, up to
    rounding that differs between processors.
    """

    def __init__(self, seen: Samples, labels: Labels, count: int, seed: int, told: Told = lambda _: None) -> None:
        """Of seen samples [N, ...] and their labels [N], indices below `count`; it is told of samples learnt from."""
        with _own_chance(seed):
            self.body = _body(seen.shape[1:])
            self.head = nn.Linear(FEATURES, count)
            fit(self.body, self.head, torch.from_numpy(seen), torch.from_numpy(labels), F.cross_entropy, told)
        self.body.eval()
        self._scale = 1.0
        self._scale = float(self.features(seen[:_SCALED_BY]).std(axis=0).mean()) or 1.0

    @torch.no_grad()
    def features(self, seen: Samples) -> NDArray[np.float64]:
        """Float64 [n, 64], of seen samples [n, ...]; on what it was trained on they deviate by 1 on average."""
        parts = [self.body(part) for part in torch.split(torch.from_numpy(seen), at_once(seen, _MOST))]
        return torch.cat(parts).double().numpy() / self._scale

    @torch.no_grad()
    def predict(self, seen: Samples) -> Labels:
        """Labels int64 [n]."""
        parts = [
            self.head(self.body(part)).argmax(dim=1)
            for part in torch.split(torch.from_numpy(seen), at_once(seen, _MOST))
        ]
        return torch.cat(parts).numpy()

    @property
    def sha256(self) -> str:
        """Of its weights."""
        digest = hashlib.sha256()
        for parameter in [*self.body.parameters(), *self.head.parameters()]:
            digest.update(parameter.detach().numpy().tobytes())
        return digest.hexdigest()


class Regressor:
    """The same network, of numbers instead of labels: trained on their mean squared error, where each deviates by about
    1."""

    def __init__(self, seen: Samples, numbers: Floats, seed: int, told: Told = lambda _: None) -> None:
        """Of seen samples [N, ...] and their numbers [N, k]; it is told of samples learnt from."""
        with _own_chance(seed):
            self.body = _body(seen.shape[1:])
            self.head = nn.Linear(FEATURES, numbers.shape[1])
            fit(self.body, self.head, torch.from_numpy(seen), torch.from_numpy(numbers).float(), F.mse_loss, told)

    @torch.no_grad()
    def predict(self, seen: Samples) -> Floats:
        """Numbers float64 [n, k]."""
        parts = [self.head(self.body(part)) for part in torch.split(torch.from_numpy(seen), at_once(seen, _MOST))]
        return torch.cat(parts).double().numpy()


def fit(
    body: nn.Module,
    head: nn.Module,
    seen: Tensor,
    targets: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    told: Told,
) -> None:
    """Train a head on a body's features, and the body with it, by torch's global random state."""
    epochs = lessons(len(seen)) // len(seen)
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()])
    steps = epochs * -(-len(seen) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=_LEARNING_RATE, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(seen)), BATCH):
            lost = loss(head(body(seen[rows])), targets[rows])
            optimizer.zero_grad()
            lost.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            told(len(rows))


def lessons(count: int) -> int:
    """How many samples are learnt from where there are so many, each counted as often as it is seen."""
    return min(-(-SEEN // count), MOST_EPOCHS) * count


def learn(seen: Samples, labels: Labels, count: int, told: Told = lambda _: None) -> list[Classifier]:
    """A classifier for each seed, of seen samples [N, ...] with labels [N] below `count`.

    What learns from generated samples and is tested on real ones has the classification accuracy score of Ravuri &
    Vinyals 2019, called train on synthetic, test on real since Esteban et al. 2017; and there is its reverse.
    """
    return [Classifier(seen, labels, count, seed, told) for seed in SEEDS]


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


def _body(shape: tuple[int, ...]) -> nn.Sequential:
    """Up to the features."""
    if len(shape) != 3:
        width = int(np.prod(shape))
        layers = [nn.Flatten(), nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, FEATURES), nn.ReLU()]
        return nn.Sequential(*layers)
    channels, height, width = shape
    convolutions: list[nn.Module] = []
    for wider in (16, 32, 32, 32, 32, 32):
        stride = 2 if min(height, width) > _SMALLEST or convolutions else 1
        convolutions += [nn.Conv2d(channels, wider, 3, stride=stride, padding=1), nn.ReLU()]
        channels, height, width = wider, -(-height // stride), -(-width // stride)
        if len(convolutions) > 2 and min(height, width) <= _SMALLEST:
            break
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(channels * height * width, FEATURES), nn.ReLU())


@contextmanager
def _own_chance(seed: int) -> Iterator[None]:
    """Within the block torch draws from a seed of its own, and afterwards goes on as if nothing had been."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
