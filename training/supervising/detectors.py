"""The detectors: each reads one kind of failure from windows of a run's lines. Thresholds are as published, or marked
(own)."""

import math
from abc import ABC, abstractmethod
from collections import deque
from statistics import median
from typing import ClassVar, NamedTuple

from latentserve.training.recipe.choices import LOSSES
from latentserve.training.recipe.config import Config
from latentserve.training.supervising.windows import WINDOWS, Line

FIRST = 5  # windows that say what is healthy for a run
WARM_UP = 0.1  # share of the budget in which samples are not judged: untrained ones are like nothing (own)
SURE = 0.95  # accuracy of a critic that is nearly always right
FAR = 3.0  # floors from the reals: nearer to them a run that gets no better is at its end, and no failure (own)

COLLAPSED = 0.2  # of the reals' diversity, or effective rank (own)
HEALTHY = 0.5  # what a run must have had, for it to be lost; below is a warning


class Reading(NamedTuple):
    """A signal beside its threshold.

    Attributes:
        signal: what was read.
        value: what it was.
        threshold: beyond it the line counts against the run.
        bad: whether it is beyond.
        clear: whether it is far enough on the other side to forget the lines before. Between the two nothing changes.
    """

    signal: str
    value: float
    threshold: float
    bad: bool
    clear: bool


def above(signal: str, value: float, threshold: float, clear: float) -> Reading:
    """Bad above the threshold, clear below `clear`."""
    return Reading(signal, value, threshold, value > threshold, value < clear)


def below(signal: str, value: float, threshold: float, clear: float) -> Reading:
    """Bad below the threshold, clear above `clear`."""
    return Reading(signal, value, threshold, value < threshold, value > clear)


class Detector(ABC):
    """One kind of failure. It is shown windows, which are of the same length whatever the tick.

    Attributes:
        fault: its name.
        patience: windows that must be bad before it is called that.
        warms_up: whether it says nothing of the first WARM_UP of the budget.
    """

    fault: ClassVar[str]
    patience: ClassVar[int]
    warms_up: ClassVar[bool] = False

    def __init__(self, config: Config) -> None:
        """Of a run with this configuration."""
        self._config = config
        self._equilibrium = LOSSES[config.loss].equilibrium
        self._first: list[float] = []  # of what is read, the values of the run's first windows
        self._best: float | None = None

    def forget(self) -> None:  # noqa: B027, most know nothing else
        """The run went back: what was seen of the state that is left says nothing of the one to come. What is healthy
        for the run, and what was the best of it, stays known."""

    @abstractmethod
    def read(self, line: Line) -> Reading | None:
        """What this line says; None where it says nothing."""


class NonFinite(Detector):
    """Losses or gradients that are not finite. The loop has left such steps out already; here they are counted. Any of
    them is written down: no healthy run has one."""

    fault = "non-finite values"
    patience = 1

    def read(self, line: Line) -> Reading | None:
        steps = line.get("nonfinite_steps", 0)
        return Reading("nonfinite_steps", steps, 1, steps >= 1, steps == 0)


class ManyNonFinite(NonFinite):
    """So many, without a window between them that has none, that something must be done."""

    MANY = 10  # steps, the loop's own limit of those on end: then skipping is no longer enough

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.forget()

    def forget(self) -> None:
        self._steps, self._last = 0.0, 0.0

    def read(self, line: Line) -> Reading | None:
        steps = line.get("nonfinite_steps", 0)
        if steps:
            self._steps, self._last = self._steps + steps, line["images"]
        elif line["images"] - self._last >= self._config.planned / WINDOWS:
            self._steps = 0
        many = self._steps >= self.MANY
        reading = Reading("nonfinite_steps without a pause", self._steps, self.MANY, many, steps == 0)
        if many:
            self._steps = 0
        return reading


class Divergence(Detector):
    """Losses, or gradients, of another order of magnitude than those of a healthy run."""

    fault = "divergence"
    patience = 1

    LOSS = 100.0  # healthy losses lie within 0 and 10, a broken run's have three digits (README of gigagan-pytorch)
    GRADIENT = 30.0  # "norms above 100: things are screwing up" (ganhacks, 10); here a tick's mean over the run's own
    # Times the critic's loss at equilibrium, where it knows nothing: a critic that is so much worse than that has lost
    # its hold, and gradients that grow are no sharpening. Data of tight clusters need large ones (own).
    LOST = 2.0

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._first_norms: dict[str, list[float]] = {"critic_gradient_norm": [], "generator_gradient_norm": []}

    def read(self, line: Line) -> Reading | None:
        """The worst of the losses and of the gradients."""
        readings = []
        losses = {loss: abs(line[loss]) for loss in ("critic_loss", "generator_loss") if loss in line}
        holds = self._equilibrium is not None and losses.get("critic_loss", 0.0) < self.LOST * self._equilibrium
        for signal, first in self._first_norms.items():
            if signal not in line:
                continue
            if len(first) < FIRST:
                first.append(line[signal])
            healthy = max(1.0, median(first)) if len(first) < FIRST else median(first)
            if healthy > 0 and not holds:
                times = line[signal] / healthy
                readings.append(above(f"{signal} over its first median", times, self.GRADIENT, self.GRADIENT / 10))
        if self._equilibrium is not None:
            readings += [above(loss, size, self.LOSS, self.LOSS / 10) for loss, size in losses.items()]
        return max(readings, key=lambda reading: reading.value / reading.threshold, default=None)


class MismatchedData(Detector):
    """Reals shown are further from those held out than chance takes as many others."""

    fault = "mismatched data"
    patience = 3

    TIMES = 2.0  # the distance of the reals shown from those held out, over what it should be (own)
    DEVIATIONS = 5.0  # of the floor, beyond it: in few dimensions chance alone doubles it (own)

    def read(self, line: Line) -> Reading | None:
        floor = line.get("frechet_floor", 0.0)
        if "real_frechet" not in line or floor <= 0:
            return None
        return self.further("real_frechet over its floor", line, floor)

    def further(self, signal: str, line: Line, expected: float) -> Reading:
        """The distance over what is expected of it, against what chance makes of that."""
        times = max(self.TIMES, 1 + self.DEVIATIONS * line.get("frechet_floor_deviation", 0.0) / expected)
        return above(signal, line["real_frechet"] / expected, times, (1 + times) / 2)


class ChangedData(MismatchedData):
    """Reals shown lately are further from those held out than those shown at first."""

    fault = "changed data"

    def read(self, line: Line) -> Reading | None:
        if "real_frechet" not in line:
            return None
        if len(self._first) < FIRST:
            self._first.append(line["real_frechet"])
            return None
        expected = max(median(self._first), line.get("frechet_floor", 0.0))
        return self.further("real_frechet over its first median", line, expected) if expected else None


class Collapse(Detector):
    """Samples of one label are all alike, or the critic sees few directions that they differ in."""

    fault = "mode collapse"
    patience = 2
    warms_up = True

    LATE = 0.5  # share of the budget after which a run that never was healthy has collapsed, unless it is on its way
    BEFORE = 5  # windows over which being on the way shows
    RISE = 1.1

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.forget()

    def forget(self) -> None:
        self._was_healthy = {"diversity": False, "effective_rank": False}
        self._last = {signal: deque[float](maxlen=self.BEFORE) for signal in (*self._was_healthy, "frechet")}

    def read(self, line: Line) -> Reading | None:
        readings = []
        late = line["images"] > self.LATE * self._config.planned
        better = self._moved("frechet", line, 1 / self.RISE) < 1 / self.RISE
        for signal in self._was_healthy:
            if signal not in line:
                continue
            self._was_healthy[signal] |= line[signal] > HEALTHY
            stuck = not better and self._moved(signal, line, self.RISE) < self.RISE
            if self._was_healthy[signal] or (late and stuck):
                readings.append(below(signal, line[signal], COLLAPSED, HEALTHY))
        return min(readings, key=lambda reading: reading.value, default=None)

    def _moved(self, signal: str, line: Line, unknown: float) -> float:
        """The signal over what it was BEFORE windows ago."""
        last = self._last[signal]
        moved = line[signal] / last[0] if signal in line and len(last) == self.BEFORE and last[0] > 0 else unknown
        if signal in line:
            last.append(line[signal])
        return moved


class Worsening(Detector):
    """The Frechet distance against the best so far; what real samples have between them is no worsening."""

    fault = "worse quality"
    patience = 3
    warms_up = True

    SETTLED = 0.25  # share of the budget before which a distance swings by a factor of three in healthy runs (own)
    WORSE = 1.5  # times the best (own)
    SLACK = 0.1  # of the reals' variance: a worsening below is none, however near to them the best was (own)

    def read(self, line: Line) -> Reading | None:
        if "frechet" not in line or line["images"] <= self.SETTLED * self._config.planned:
            return None
        self._best = min(line["frechet"], self._best or line["frechet"])
        threshold = self.WORSE * self._best + max(self.SLACK, line.get("frechet_floor", 0.0))
        return above("frechet", line["frechet"], threshold, (self._best + threshold) / 2)


class Plateau(Detector):
    """A long time without anything better, far from the reals: to be known, and no failure."""

    fault = "plateau"
    patience = 1
    warms_up = True

    BETTER = 0.98  # of the best, to count as better
    SHARE = 0.4  # of the budget, without anything better (own)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._since = 0.0

    def read(self, line: Line) -> Reading | None:
        if "frechet" not in line or "frechet_floor" not in line:
            return None
        if self._best is None or line["frechet"] < self.BETTER * self._best:
            self._best, self._since = line["frechet"], line["images"]
        far = self._best > FAR * line["frechet_floor"]
        share = (line["images"] - self._since) / self._config.planned if far else 0.0
        reading = above("share of the budget without a better frechet", share, self.SHARE, 0.01)
        if reading.bad:
            self._since = line["images"]
        return reading


class Vanishing(Detector):
    """Vanishing gradients: the generator learns nothing any more."""

    fault = "vanishing gradients"
    patience = 2

    RATIO = 1e-3  # of the healthy level, with a critic that is nearly always right about fakes (own)
    NOTHING = 1e-10  # a norm that is none, whatever the critic thinks
    SATURATION = 0.01  # of minimax: its loss over the log 2 of equilibrium, which the gradient follows (own)

    def read(self, line: Line) -> Reading | None:
        if "generator_gradient_norm" not in line:
            return None
        norm = line["generator_gradient_norm"]
        if norm < self.NOTHING:
            return below("generator_gradient_norm", norm, self.NOTHING, self.NOTHING)
        if len(self._first) < FIRST:
            self._first.append(norm)
        sure = line.get("fake_accuracy", 0.0) > SURE
        if self._config.loss == "minimax" and sure and "generator_loss" in line:
            left = -line["generator_loss"] / math.log(2)
            return below("generator_loss over that of equilibrium", left, self.SATURATION, 10 * self.SATURATION)
        ratio = norm / median(self._first)
        signal = "generator_gradient_norm over its first median"
        return below(signal, ratio if sure else max(ratio, self.RATIO), self.RATIO, 10 * self.RATIO)


class Overpowering(Detector):
    """A critic that tells all apart, at no cost, and so has nothing to teach. Early in a run it is as it should be: it
    must do so for longer than others are given."""

    fault = "overpowering critic"
    patience = 4
    warms_up = True

    SHARE = 0.05  # of the critic's loss at equilibrium; "D loss goes to 0: failure mode" (ganhacks, 10)

    def read(self, line: Line) -> Reading | None:
        if self._equilibrium is None or "critic_loss" not in line:
            return None
        sure = min(line.get("real_accuracy", 0.0), line.get("fake_accuracy", 0.0)) > SURE
        left = line["critic_loss"] / self._equilibrium
        return below("critic_loss over that of equilibrium", left if sure else 1.0, self.SHARE, 3 * self.SHARE)


class Overfitting(Detector):
    """A critic that knows the reals it was shown by heart, and takes unseen ones for fakes: of its lead over fakes,
    E[sign(D(x) - D(G(z)))], they have lost much. Where there is hardly a lead it is read from the scores themselves, as
    it is in lines of earlier versions.

    In the end many a small data set is known by heart. It is a failure where samples suffer, far from the reals; where
    they are nearly as close to unseen reals as other reals are, there is nothing to mend.
    """

    fault = "overfitting critic"
    patience = 4
    warms_up = True

    GAP = 0.5  # unseen reals are nearer to fakes than to seen reals: r_v of Karras et al. 2020, section 3
    CLEAR = 0.35
    LEAD = 0.25  # below, what is lost of it would be a ratio of two accidents (own)

    def read(self, line: Line) -> Reading | None:
        if "held_out_gap" not in line or line.get("real_accuracy", 0.0) < 0.5:
            return None  # a critic that sees nothing has a gap between two accidents
        signal, value = "held_out_gap", line["held_out_gap"]
        if line.get("shown_lead", 0.0) > self.LEAD and "held_out_lead" in line:
            signal, value = "share of the lead lost on unseen reals", 1 - line["held_out_lead"] / line["shown_lead"]
        reading = above(signal, value, self.GAP, self.CLEAR)
        far = line.get("frechet", math.inf) > FAR * line.get("frechet_floor", 0.0)
        return reading._replace(bad=reading.bad and far)


class Stall(Detector):
    """A run that waits for its data, or has become slow. This depends on the machine, and so changes nothing."""

    fault = "stall"
    patience = 3

    SHARE = 0.5  # of the time that went into waiting for data
    SLOWER = 4.0  # times as slow as the run's median
    WINDOWS = 20  # that the median is of

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._rates: deque[float] = deque(maxlen=self.WINDOWS)
        self._images = 0.0

    def read(self, line: Line) -> Reading | None:
        rate = line.get("images_per_second", 0.0)
        images, self._images = line["images"] - self._images, line["images"]
        if rate <= 0:
            return None
        self._rates.append(rate)
        waited = line.get("data_seconds", 0.0) * rate / images if images > 0 else 0.0
        if waited > self.SHARE:
            return above("share of time that waited for data", waited, self.SHARE, self.SHARE / 2)
        return above("times slower than the median", median(self._rates) / rate, self.SLOWER, self.SLOWER / 2)


# What is looked at line by line: it cannot wait.
AT_ONCE = (ManyNonFinite, NonFinite)
# Those first whose fault explains the others'.
DETECTORS = (
    ManyNonFinite, NonFinite, Divergence, ChangedData, Collapse, Worsening, Vanishing, Overpowering, Overfitting,
    Plateau, MismatchedData, Stall,
)  # fmt: skip

FAULTS = tuple(dict.fromkeys(detector.fault for detector in DETECTORS))


def detectors(config: Config) -> list[Detector]:
    """One of each."""
    return [detector(config) for detector in DETECTORS]
