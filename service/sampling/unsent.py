"""What is kept in memory for clients, and how much of it there may be."""

from __future__ import annotations

from latentserve.service.errors import QueueFullError

_SMALL_SHARE = 256  # what holds less than this part of all is small


class Unsent:
    """Bytes of this worker that wait for clients, up to `limit`: bodies on their way in, samples and answers on their
    way out.

    The last quarter is for what is small: slow readers of large answers do not keep others from small ones. The last
    half is not for what is made ahead of a reader.
    """

    def __init__(self, limit: int = 1 << 28) -> None:
        self.used = 0
        self._limit = limit

    def take(self, size: int, held: int = 0, *, ahead: bool = False) -> None:
        """For a request that holds `held` bytes already. Raises QueueFullError.

        Who is alone may take any number: there are other limits for what one may ask for.
        """
        room = self._limit
        if ahead:
            room //= 2
        elif held + size > room // _SMALL_SHARE:
            room -= room // 4
        if self.used > held and self.used + size > room:
            raise QueueFullError(f"{self.used} bytes wait to be sent to others; try again in 1 s", 1)
        self.used += size

    def give(self, size: int) -> None:
        """Say that so many were sent, or given up."""
        self.used -= size


class Share:
    """What one request holds of it."""

    __slots__ = ("_unsent", "held")

    def __init__(self, unsent: Unsent) -> None:
        self._unsent = unsent
        self.held = 0

    def take(self, size: int) -> None:
        """Hold so many bytes more. Raises QueueFullError."""
        self._unsent.take(size, self.held)
        self.held += size

    def change(self, size: int) -> None:
        """Hold so many bytes, instead of those that were held. Raises QueueFullError, and then holds none."""
        unsent = self._unsent
        unsent.used -= self.held
        self.held = 0
        unsent.take(size)
        self.held = size

    def give(self) -> None:
        """Hold none any more."""
        self._unsent.used -= self.held
        self.held = 0
