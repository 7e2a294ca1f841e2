"""Counters looked at over the last rows alone: what was long ago says nothing of now."""

from __future__ import annotations

import json


class RecentCounts:
    """Of two counters that grow together, rows and those of them that are something, what came in this span of so many
    rows and the last one."""

    def __init__(self, span: int) -> None:
        self._span = span
        self._last = self._this = (0, 0)  # the counters when these spans began

    def note(self, rows: int, hits: int) -> None:
        """Take the counters as they stand, as often as they are looked at; where they fell, begin anew."""
        if rows < self._this[0]:
            self._last = self._this = (rows, hits)
        elif rows - self._this[0] >= self._span:
            self._last, self._this = self._this, (rows, hits)

    def since(self, rows: int, hits: int) -> tuple[int, int]:
        """Rows, and hits among them, since the last span began."""
        return rows - self._last[0], hits - self._last[1]

    def forgotten_at(self, hits: int) -> int:
        """The row at which the hits so far are no more in it, if none come."""
        return self._this[0] + self._span * (2 if hits > self._this[1] else 1)

    def to_json(self) -> str:
        """The state as text, for `restore`."""
        return json.dumps([self._last, self._this])

    def restore(self, text: str) -> bool:
        """Go on from a saved state. False, with nothing changed, if it is damaged."""
        try:
            last, this = ((int(rows), int(hits)) for rows, hits in json.loads(text))
        except (ValueError, TypeError):
            return False
        self._last, self._this = last, this
        return True
