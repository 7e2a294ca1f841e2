"""Rows that a key has to pay for: when a request begins, or portion by portion as they are sent."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from latentserve.service.http.call import Call
from latentserve.service.http.presence import while_there
from latentserve.service.sampling.samples import Samples


class Bill:
    """Of one call: what its rows cost the key that it came with; nothing where it needed none."""

    __slots__ = ("_begun", "_call", "owed")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._begun = 0
        self.owed = 0  # rows that are not paid for yet

    def begin(self, rows: int, *, known: bool = True) -> None:
        """So many rows are asked for; `known`: no more will be looked at. Raises QuotaError, TooLargeError."""
        if (grant := self._call.grant) is not None:
            self.owed = grant.quota.begin(rows, known=known)
            self._begun = rows

    async def pay(self) -> None:
        """Return when all of it is paid for. Raises ClientDisconnect."""
        if self.owed:
            await while_there(self._call.receive, self.wait())

    async def wait(self) -> None:
        """The same, whether the client is there or not."""
        if self.owed and (grant := self._call.grant) is not None:
            await grant.quota.pay(self.owed)
            grant.check()
            self.owed = 0

    def paced(self, rows: AsyncGenerator[Samples]) -> AsyncGenerator[Samples]:
        """The same rows, when they may be had."""
        grant = self._call.grant
        return rows if grant is None else grant.rows(rows, self.owed, _count, _cut)

    def end(self) -> None:
        """The rows were sent, or given up."""
        if self._begun and self._call.grant is not None:
            self._call.grant.quota.end(self._begun)
            self._begun = 0


def _count(part: Samples) -> int:
    return len(part.samples)


def _cut(part: Samples, start: int, stop: int) -> Samples:
    return part.take(slice(start, stop))
