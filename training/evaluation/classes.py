"""Sample by sample, by class: how often each class is made, and whether what is asked for is what is made."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.training.evaluation.classifier import Labels
from latentserve.training.evaluation.resampling import Measured, Resampling
from latentserve.training.evaluation.views import Samples
from latentserve.training.watching.space import LIMIT, spread


@dataclass(frozen=True)
class ClassRow:
    """One class, as the classifier that learnt from all real training samples sees it.

    Attributes:
        name: of the class.
        share: of generated samples that it takes for this class.
        real_share: the same of held-out real samples.
        agreement: share of samples asked to be of this class that it takes for one; None: none could be asked for.
        real_agreement: the same of held-out real samples of the class.
        coverage: share of real samples of the class that have a generated one in their neighbourhood.
        diversity: mean distance between two samples of the class, over that of held-out real ones; None: there are no
            two.
    """

    name: str
    share: float
    real_share: float
    agreement: float | None
    real_agreement: float
    coverage: float
    diversity: float | None

    def to_json(self) -> dict[str, Any]:
        """What report.json says of it."""
        return asdict(self)


def class_rows(
    names: list[str],
    taken_for: Labels,
    asked: Labels | None,
    held_taken_for: Labels,
    held: Labels,
    covered: NDArray[np.bool_],
    reference: Labels,
    diverse: list[float | None],
) -> list[ClassRow]:
    """A row a class, of predictions for generated [N] and held-out samples [M], and of covered reference ones [N]."""

    def mean(truths: NDArray[np.bool_]) -> float:
        return float(truths.mean()) if len(truths) else 0.0

    return [
        ClassRow(
            name,
            share=mean(taken_for == at),
            real_share=mean(held_taken_for == at),
            agreement=None if asked is None else mean(taken_for[asked == at] == at),
            real_agreement=mean(held_taken_for[held == at] == at),
            coverage=mean(covered[reference == at]),
            diversity=diverse[at],
        )
        for at, name in enumerate(names)
    ]


def diversities(
    fake: Samples, fakes_of: Labels | None, real: Samples, reals_of: Labels | None, count: int
) -> list[float | None]:
    """Of each of `count` classes, how far samples [N, ...] with labels [N] lie apart, over how far real ones do: what a
    run calls diversity. Without labels all are of one."""

    def apart(seen: Samples, labels: Labels | None, at: int) -> float:
        some = seen[:LIMIT] if labels is None else seen[np.flatnonzero(labels == at)[:LIMIT]]
        return spread(some, np.zeros(len(some), np.int64))

    pairs = [(apart(fake, fakes_of, at), apart(real, reals_of, at)) for at in range(count)]
    return [made / of_reals if of_reals > 0 and made >= 0 else None for made, of_reals in pairs]


def imbalance(
    taken_for: Labels, reference: Labels, count: int, chances: tuple[Resampling, Resampling] | None
) -> Measured:
    """Total variation distance between the shares of `count` classes in predictions [N] and in reference ones [M]."""
    fakes, reals = np.eye(count)[taken_for], np.eye(count)[reference]
    value = float(np.abs(fakes.mean(axis=0) - reals.mean(axis=0)).sum() / 2)
    if chances is None:
        return Measured(value)
    drawn = [
        np.stack([resampling.means(column) for column in each.T])
        for resampling, each in zip(chances, (reals, fakes), strict=True)
    ]
    return Measured(value, np.abs(drawn[0] - drawn[1]).sum(axis=0) / 2)
