"""How much of what a key is for its holder may have: rows a second, and rows in flight, of all workers together.

Rows a second are a token bucket that holds what one second brings: in any time t no more than rate * (t + 1 s) pass.
A request of no more rows than that is paid for as a whole or refused; of a larger one each portion is paid for when it
is sent, and waits until it can be.
"""

from __future__ import annotations

import asyncio
import math
import time

from latentserve.service.access.keys import Key
from latentserve.service.access.usage_table import UsageTable
from latentserve.service.errors import QuotaError, TooLargeError

_LEAST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25  # seconds between two looks whether there are rows to be had


class Quota:
    """Of one key, in one worker.

    Attributes:
        burst: rows that may be had at once; None: any number.
        left: that could be had at once after the last request here.
    """

    def __init__(self, key: Key, table: UsageTable) -> None:
        self._rate = key.rows_per_second
        self._most = key.rows_in_flight
        self.burst = self._rate
        self.left = self._rate or 0
        self._policy = None if self._rate is None else (b"ratelimit-policy", b'"rows";q=%d;w=1' % self._rate)
        self._table = table
        self._place = table.place(key.id)

    def begin(self, rows: int, *, known: bool = True) -> int:
        """A request for so many rows begins, and is to `end`; how many of them are to be paid for as they are sent.

        `known`: it will be these, and no more. Raises QuotaError, and TooLargeError where no wait would help.
        """
        most, burst = self._most, self.burst
        if most is not None and rows > most:
            raise TooLargeError(f"n: {rows} rows were asked for; this key may have {most} in flight")
        table, place = self._table, self._place
        table.lock()
        try:
            now = time.time()  # not before: others have counted until now
            id_, had, counted, requests, total, refused, _ = table.read(place)
            tokens = self._tokens(had, counted, now)
            if most is not None and table.in_flight(place) + rows > most:
                table.forget_ended()  # before somebody is refused for what nobody waits for
                if (others := table.in_flight(place)) + rows > most:
                    table.write(place, id_, had, counted, requests, total, refused + 1, now)
                    raise QuotaError(f"{others} rows of this key are in flight; it may have {most}", 1)
            paid = 0
            if burst is not None:
                whole = known and rows <= burst
                if tokens < (needed := rows if whole else 1):
                    table.write(place, id_, tokens, now, requests, total, refused + 1, now)
                    self.left = int(tokens)
                    seconds = max(1, math.ceil((needed - tokens) / burst))
                    raise QuotaError(f"this key may have {burst} rows a second; try again in {seconds} s", seconds)
                paid = rows if whole else 0
            table.begin(place, rows)
            total += paid if burst is not None else rows
            table.write(place, id_, tokens - paid, now, requests + 1, total, refused, now)
        finally:
            table.unlock()
        self.left = int(tokens - paid)
        return 0 if burst is None or paid else rows

    def end(self, rows: int) -> None:
        """It has ended."""
        self._table.end(self._place, rows)

    async def pay(self, rows: int) -> None:
        """Return when so many rows are paid for."""
        while rows:
            rows -= self._take(rows)
            if rows:
                await asyncio.sleep(min(_LONGEST_PAUSE, max(_LEAST_PAUSE, rows / (self.burst or 1))))

    def _take(self, rows: int) -> int:
        """Pay for up to so many rows; for how many."""
        table, place = self._table, self._place
        with table.locked():
            now = time.time()  # not before: others have counted until now
            id_, had, counted, requests, total, refused, _ = table.read(place)
            tokens = self._tokens(had, counted, now)
            taken = min(rows, int(tokens))
            left = tokens - taken
            table.write(place, id_, left, now, requests, total + taken, refused, now)
        self.left = int(left)
        return taken

    def _tokens(self, tokens: float, counted: float, now: float) -> float:
        """What there is now of what there was. A clock that was put back brings nothing."""
        if self._rate is None:
            return 0.0
        return min(float(self._rate), tokens + max(0.0, now - counted) * self._rate) if counted else float(self._rate)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """What is told of it with an answer (draft-ietf-httpapi-ratelimit-headers-10)."""
        if self._policy is None:
            return []
        return [self._policy, (b"ratelimit", b'"rows";r=%d;t=1' % max(0, self.left))]
