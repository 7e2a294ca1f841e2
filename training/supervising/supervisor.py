"""From lines to actions: detectors, hysteresis, a cool-down, and a budget."""

import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from latentserve.training.recipe.config import Config
from latentserve.training.supervising import remedies
from latentserve.training.supervising.detectors import Detector, Line, NonFinite, Reading, detectors
from latentserve.training.supervising.journal import Action
from latentserve.training.supervising.remedies import Changes, Step

COOL_DOWN = 3  # lines after a change that count for nothing: statistics need time to follow
BUDGET = 8  # times that a run may be changed; the last of them ends it
WINDOW = 5  # values that the journal keeps


class Alarm:
    """A detector and its last readings. It rings when enough lines on end were bad, and is quiet until they are clear
    or somebody has acted on it."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.window: deque[float] = deque(maxlen=WINDOW)
        self.bad_lines = 0
        self.noted = False  # in the journal, and nothing was to be done about it
        self.reading: Reading | None = None

    def see(self, line: Line, counts: bool) -> bool:
        """Whether it rings; a line that does not count is read all the same."""
        self.reading = reading = self.detector.read(line)
        if reading is None:
            return False
        self.window.append(reading.value)
        if reading.clear:
            self.bad_lines, self.noted = 0, False
        self.bad_lines += reading.bad and counts
        return reading.bad and not self.noted and self.bad_lines >= self.detector.patience


class Supervisor:
    """Sees a run's lines in their order.

    Attributes:
        changes: what it has changed so far; where it only observes, what it would have.
        best_images: of the line with the best samples so far, to which a rollback goes; 0 is the run's beginning.
    """

    def __init__(self, config: Config, kind: str) -> None:
        """`config` is the run's, with its `supervise`; `kind` that of the data's samples."""
        self.changes = Changes()
        self.best_images = 0
        self._config, self._kind = config, kind
        self._acts = config.supervise == "act"
        self._alarms = [Alarm(detector) for detector in detectors(config)]
        self._taken: Counter[str] = Counter()  # rungs of each ladder, with those passed over
        self._rest = 0  # lines that count for nothing
        self._best: Line | None = None

    def see(self, line: Line) -> list[Action]:
        """What is to be done after this line."""
        if self.changes.stopped:
            return []
        counts = self._rest == 0
        self._rest = max(0, self._rest - 1)
        # Steps that are not finite count always: the run would end by itself.
        ringing = [alarm for alarm in self._alarms if alarm.see(line, counts or isinstance(alarm.detector, NonFinite))]
        self._remember(line)
        actions: list[Action] = []
        changed = False
        for alarm in ringing:
            fault = alarm.detector.fault
            if fault in {action.fault for action in actions}:
                continue
            if type(alarm.detector) is NonFinite:
                actions.append(self._entry(alarm, line, "skip", 0, line["nonfinite_steps"], applied=True))
                alarm.noted = True
            elif fault in remedies.LADDERS and changed:
                continue  # one thing at a time: what was done may help with this, too
            elif (steps := self._next_rung(fault)) is not None:
                actions += self._change(alarm, steps, line)
                changed = True
            else:
                actions.append(self._entry(alarm, line, "tell", None, None, applied=False))
                alarm.noted = True
        return actions

    def _remember(self, line: Line) -> None:
        """Note the best line: by the Frechet distance, or where there is none, the last one that was not bad."""
        if "frechet" in line:
            better = self._best is None or line["frechet"] < self._best.get("frechet", math.inf)
        elif self._best is not None and "frechet" in self._best:
            better = False
        else:
            better = not any(alarm.reading is not None and alarm.reading.bad for alarm in self._alarms)
        if better:
            self._best, self.best_images = line, int(line["images"])

    def _next_rung(self, fault: str) -> tuple[Step, ...] | None:
        """The next steps of the fault's ladder that mean something to this run; None at its end."""
        ladder = remedies.LADDERS.get(fault, ())
        while self._taken[fault] < len(ladder):
            steps = ladder[self._taken[fault]]
            self._taken[fault] += 1
            if any(remedies.change(step, self._config, self.changes, self._best, self._kind) for step in steps):
                return steps if self.changes.count < BUDGET - 1 else remedies.STOP
        return None

    def _change(self, alarm: Alarm, steps: tuple[Step, ...], line: Line) -> list[Action]:
        """Take the steps, and rest."""
        actions = []
        for step in steps:
            changed = remedies.change(step, self._config, self.changes, self._best, self._kind)
            if changed is None:
                continue
            before, after, self.changes = changed
            if step == remedies.BACK:
                before, after = int(line["images"]), self.best_images
            actions.append(self._entry(alarm, line, step[0], before, after, applied=self._acts))
            if step[0] == "loss":  # what is healthy is another thing now
                self._alarms = [Alarm(detector) for detector in detectors(self.changes.applied_to(self._config))]
        self.changes = replace(self.changes, count=self.changes.count + 1)
        self._rest = COOL_DOWN
        for each in self._alarms:
            each.bad_lines = 0
        return actions

    def _entry(self, alarm: Alarm, line: Line, action: str, before: Any, after: Any, applied: bool) -> Action:
        assert alarm.reading is not None  # noqa: S101, it rang
        return Action(
            images=int(line["images"]),
            fault=alarm.detector.fault,
            signal=alarm.reading.signal,
            window=tuple(float(f"{value:.6g}") for value in alarm.window),
            threshold=float(f"{alarm.reading.threshold:.6g}"),
            action=action,
            before=before,
            after=after,
            applied=applied,
        )


def replay(config: Config, kind: str, lines: Iterable[Line]) -> list[Action]:
    """The journal that a run with these lines has."""
    supervisor = Supervisor(config, kind)
    return [action for line in lines for action in supervisor.see(line)]
