"""What a key lets a request have, for as long as it is under way."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

from latentserve.service.access.key_file import KeyRing
from latentserve.service.access.keys import Key
from latentserve.service.access.quotas import Quota
from latentserve.service.errors import UnauthorizedError

Part = TypeVar("Part")


class Grant:
    """Of one request.

    Attributes:
        key: that it came with.
        quota: of the key.
    """

    __slots__ = ("_ring", "key", "quota")

    def __init__(self, key: Key, quota: Quota, ring: KeyRing) -> None:
        self.key = key
        self.quota = quota
        self._ring = ring

    def check(self) -> None:
        """Raise UnauthorizedError where the key is of no use any more; NotReadyError where that cannot be known."""
        key = self._ring.of(self.key.id)
        fault = "was taken away" if key is None else key.fault(time.time())
        if fault is not None:
            raise UnauthorizedError(f"the key {self.key.id} {fault} while rows were sent", given=True)

    async def rows(
        self, parts: AsyncGenerator[Part], owed: int, size: Callable[[Part], int], cut: Callable[[Part, int, int], Part]
    ) -> AsyncGenerator[Part]:
        """Parts of an answer, each when it is paid for where rows are `owed`, as long as the key is of use. `size` is
        the rows of a part; `cut` takes rows of it, from one to another.

        Raises what `check` does.
        """
        burst = self.quota.burst
        try:
            async for part in parts:
                rows = size(part)
                step = rows if not owed or burst is None else burst
                for start in range(0, max(rows, 1), max(step, 1)):
                    stop = min(start + step, rows)
                    self.check()
                    if owed:
                        await self.quota.pay(stop - start)
                        self.check()
                    yield part if stop - start == rows else cut(part, start, stop)
        finally:
            await parts.aclose()
