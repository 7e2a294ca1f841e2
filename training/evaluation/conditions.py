"""Do samples keep to the conditions that were asked for? A regressor that has learnt from real ones reads them off."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from latentserve.training.data.conditions import Conditions, quantiles, ranks
from latentserve.training.evaluation.classifier import Regressor
from latentserve.training.evaluation.resampling import Floats, Measured, Resampling
from latentserve.training.evaluation.views import Samples

_SPREAD = math.sqrt(12)  # ranks times this deviate by 1


@dataclass(frozen=True)
class ConditionRow:
    """One condition, as the regressor sees it. What is read off held-out real samples stands beside all of it.

    Attributes:
        name: of the condition.
        unit: of its values; None: it has none.
        range: least and largest value in the training data.
        error: root mean square of how far what is read off samples is from what was asked for, in ranks among the
            training data, over the standard deviation of what was asked for: 0 where it is kept to exactly, 1 for a
            guess that is always the middle.
        real_error: the same of held-out real samples.
        off: median distance of what is read off from what was asked for, in the condition's own unit.
        real_off: the same of held-out real samples.
        correlation: of both, in ranks; None: samples or what was asked for are all alike.
        real_correlation: the same of held-out real samples.
    """

    name: str
    unit: str | None
    range: tuple[float, float]
    error: float
    real_error: float
    off: float
    real_off: float
    correlation: float | None
    real_correlation: float | None

    def to_json(self) -> dict[str, Any]:
        """What report.json says of it."""
        return asdict(self)


class ConditionBaseline:
    """A regressor that has learnt from the training part, and what it makes of the held-out one."""

    def __init__(self, of: Conditions, learn_from: Callable[[Floats], Regressor]) -> None:
        """`of` are the training part's; `learn_from` makes a regressor of their ranks, float64 [N, k]."""
        self._of = of
        self._known = [quantiles(column) for column in of.values.T]
        self._regressor = learn_from((ranks(of.values, self._known) - 0.5) * _SPREAD)
        self._held: tuple[Samples, Floats] | None = None

    @property
    def names(self) -> list[str]:
        """The conditions', in the data's order."""
        return self._of.names

    def hold(self, seen: Samples, asked: Samples) -> float:
        """Let held-out samples [N, ...], made for `asked` [N, k], be what others are held against: their error."""
        self._held = asked, self._read(seen)
        return float(np.mean(self._errors(self._held[1], asked)))

    def measure(self, seen: Samples, asked: Samples, resampling: Resampling) -> tuple[Measured, list[ConditionRow]]:
        """The mean error over conditions of samples [N, ...] that `asked` [N, k] was asked for, and a row of each."""
        assert self._held is not None  # noqa: S101, it was told to
        told, (real_asked, real_told) = self._read(seen), self._held
        errors, real_errors = self._errors(told, asked), self._errors(real_told, real_asked)
        rows = []
        for at, known in enumerate(self._known):
            pairs = [(told[:, at], asked[:, at]), (real_told[:, at], real_asked[:, at])]
            off, real_off = (float(np.median(np.abs(_values(one, known) - other))) for one, other in pairs)
            alike, real_alike = (_correlation(one, ranks(other[:, None], [known])[:, 0]) for one, other in pairs)
            name, unit, span = self._of.names[at], self._of.units[at], (known[0], known[-1])
            both = (float(errors[at]), float(real_errors[at]), off, real_off, alike, real_alike)
            rows.append(ConditionRow(name, unit, span, *both))
        squares = (told - ranks(asked, self._known)) ** 2
        drawn = np.sqrt(np.stack([resampling.means(column) for column in squares.T], axis=1)) / self._spread(asked)
        return Measured(float(np.mean(errors)), drawn.mean(axis=1)), rows

    def _read(self, seen: Samples) -> Floats:
        """What is read off samples [N, ...], in ranks [N, k]."""
        told: Floats = (self._regressor.predict(seen) / _SPREAD + 0.5).clip(0, 1)
        return told

    def _errors(self, told: Floats, asked: Samples) -> Floats:
        """Of each condition, [k], over the spread of what was asked for."""
        off: Floats = np.sqrt(((told - ranks(asked, self._known)) ** 2).mean(axis=0)) / self._spread(asked)
        return off

    def _spread(self, asked: Samples) -> Floats:
        spread: Floats = ranks(asked, self._known).std(axis=0)
        return np.where(spread > 0, spread, 1 / _SPREAD)


def _values(told: Floats, known: list[float]) -> Floats:
    """Ranks [N] as values."""
    return np.interp(told, np.linspace(0, 1, len(known)), known)


def _correlation(one: Floats, other: Floats) -> float | None:
    return float(np.corrcoef(one, other)[0, 1]) if one.std() > 0 and other.std() > 0 else None
