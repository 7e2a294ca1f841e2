"""Answers that are kept in memory, because they are the same whenever they are asked for."""

from __future__ import annotations

from collections import OrderedDict

from latentserve.service.http.responses import Headers, WholeResponse
from latentserve.service.watching.metrics import CACHE_BYTES, CACHE_REQUESTS

_LARGEST_SHARE = 8  # what takes more than this part of the room would push out too much
_ENTRY_BYTES = 1024  # of headers, and of what keeps them


class Kept:
    """The answers that were asked for last, up to `limit` bytes of them; by tags that say all that they depend on."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._answers: OrderedDict[bytes, tuple[Headers, bytes]] = OrderedDict()
        self._bytes = 0

    def find(self, tag: bytes) -> WholeResponse | None:
        """The answer, counted as found or not."""
        if not self._limit:
            return None
        found = self._answers.get(tag)
        CACHE_REQUESTS.labels(outcome="miss" if found is None else "hit").inc()
        if found is None:
            return None
        self._answers.move_to_end(tag)
        headers, content = found
        return WholeResponse([*headers], content, lambda: None)

    def keep(self, tag: bytes, headers: Headers, content: bytes) -> None:
        """Keep an answer, unless it is large; those that nobody asked for longest go."""
        size = len(content) + _ENTRY_BYTES
        if size > self._limit // _LARGEST_SHARE or tag in self._answers:
            return
        self._answers[tag] = [*headers], content
        self._bytes += size
        while self._bytes > self._limit:
            _, (_, gone) = self._answers.popitem(last=False)
            self._bytes -= len(gone) + _ENTRY_BYTES
        CACHE_BYTES.set(self._bytes)
