"""From lines to actions: windows, detectors, hysteresis, a cool-down, and a budget."""

import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from latentserve.training.recipe.config import Config
from latentserve.training.supervising import remedies
from latentserve.training.supervising.detectors import AT_ONCE, WARM_UP, Detector, NonFinite, Reading, detectors
from latentserve.training.supervising.journal import Action
from latentserve.training.supervising.remedies import Changes, Step
from latentserve.training.supervising.windows import Line, Windows

COOL_DOWN = 3  # windows after a change that count for nothing: statistics need time to follow
BUDGET = 8  # times that a run may be changed; the last of them ends it
WINDOW = 5  # values that the journal keeps


class Alarm:
    """A detector and its last readings. It rings when enough windows on end were bad, and is quiet until they are clear
    or somebody has acted on it."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.window: deque[float] = deque(maxlen=WINDOW)
        self.bad_windows = 0
        self.noted = False  # in the journal, and nothing was to be done about it
        self.reading: Reading | None = None

    def forget(self) -> None:
        """The run went back."""
        self.detector.forget()
        self.window.clear()
        self.bad_windows, self.noted, self.reading = 0, False, None

    def see(self, line: Line, counts: bool) -> bool:
        """Whether it rings; a window that does not count is read all the same."""
        self.reading = reading = self.detector.read(line)
        if reading is None:
            return False
        self.window.append(reading.value)
        if reading.clear:
            self.bad_windows, self.noted = 0, False
        self.bad_windows += reading.bad and counts
        return reading.bad and not self.noted and self.bad_windows >= self.detector.patience


class Supervisor:
    """Sees a run's lines in their order.

    Attributes:
        changes: what it has changed so far; where it only observes, what it would have.
        best_images: of the window with the best samples so far, to which a rollback goes; 0 is the run's beginning,
            which is never the best.
    """

    def __init__(self, config: Config, kind: str) -> None:
        """`config` is the run's, with its `supervise`; `kind` that of the data's samples."""
        self.changes = Changes()
        self.best_images = 0
        self._config, self._kind = config, kind
        self._acts = config.supervise == "act"
        self._alarms = [Alarm(detector) for detector in detectors(config)]
        self._taken: Counter[str] = Counter()  # rungs of each ladder, with those passed over
        self._rest = 0  # windows that count for nothing
        self._windows = Windows(config.planned)
        self._first: Line | None = None
        self._best: Line | None = None

    def see(self, line: Line) -> list[Action]:
        """What is to be done after this line."""
        if self.changes.stopped:
            return []
        # Steps that are not finite count always: the run would end by itself.
        ringing = [alarm for alarm in self._alarms if isinstance(alarm.detector, AT_ONCE) and alarm.see(line, True)]
        window = self._windows.see(line)
        if window is not None:
            counts = self._rest == 0
            self._rest = max(0, self._rest - 1)
            early = window["images"] <= WARM_UP * self._config.planned
            for alarm in self._alarms:
                detector = alarm.detector
                if not isinstance(detector, AT_ONCE) and alarm.see(
                    window, counts and not (early and detector.warms_up)
                ):
                    ringing.append(alarm)
            self._remember(window, early)
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
        if any(action.action == remedies.BACK[0] for action in actions):
            for alarm in self._alarms:
                alarm.forget()
        return actions

    def _remember(self, line: Line, early: bool) -> None:
        """Note the best window: by the Frechet distance, or where there is none, the last one that was not bad. None is
        of the warm-up."""
        self._first = self._first or line
        if early:
            return
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
            if steps == remedies.STOP or self.changes.count >= BUDGET - 1:
                return remedies.STOP if self._best is not None else None  # it would end with what is untrained
            if any(self._changed(step) for step in steps):
                return steps
        return None

    def _changed(self, step: Step) -> tuple[Any, Any, Changes] | None:
        return remedies.change(step, self._config, self.changes, self._best or self._first, self._kind)

    def _change(self, alarm: Alarm, steps: tuple[Step, ...], line: Line) -> list[Action]:
        """Take the steps, and rest."""
        actions = []
        for step in steps:
            changed = self._changed(step)
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
            each.bad_windows = 0
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
