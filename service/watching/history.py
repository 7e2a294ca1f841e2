"""The evidence of the last hour, for whoever looks at it: what stands behind a verdict has a course."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentserve.service.watching.workers import write_whole

STEP_SECONDS = 15.0
_MOST = 240  # steps: an hour


class History:
    """Evidence by detector, a step every STEP_SECONDS, in a file that the workers of a server share."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._steps: deque[tuple[float, Mapping[str, float]]] | None = None

    def note(self, log_evidence: Mapping[str, float]) -> None:
        """Take the evidence as it stands, as often as it is weighed; for the worker that judges."""
        now = time.monotonic()  # of the machine, for all workers
        if self._steps is None:  # another worker judged until now
            self._steps = deque(self._read(), _MOST)
        if self._steps and 0 <= now - self._steps[-1][0] < STEP_SECONDS:
            return
        self._steps.append((now, log_evidence))
        write_whole(self._file, json.dumps(list(self._steps)))

    def told(self) -> dict[str, Any]:
        """How many seconds ago each step was, oldest first, and the evidence by detector at each."""
        steps, now = self._read(), time.monotonic()
        names = list(steps[-1][1]) if steps else []
        return {
            "seconds_ago": [round(now - at, 1) for at, _ in steps],
            "log_evidence": {name: [found.get(name, 0.0) for _, found in steps] for name in names},
        }

    def _read(self) -> list[tuple[float, dict[str, float]]]:
        """The steps; none where none were written, or only by a machine that has started again since."""
        try:
            steps = [(float(at), dict(found)) for at, found in json.loads(self._file.read_text())]
        except (OSError, ValueError, TypeError):
            return []
        now = time.monotonic()
        return [step for step in steps if step[0] <= now]
