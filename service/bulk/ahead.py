"""What one thread makes while another uses what was made before."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

Item = TypeVar("Item")

_DEPTH = 4
_MOMENT = 0.1  # seconds in which a thread that waits sees that nobody wants more


class Ahead(Generic[Item]):
    """The items of an iterable, which a thread of its own takes: a few of them before they are asked for.

    To be closed; what the iterable raises is raised where its item would have been.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = items
        self._queue: queue.Queue[tuple[Item] | BaseException | None] = queue.Queue(_DEPTH)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._take, name="ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]

    def close(self) -> None:
        """Let the thread end, and wait for it."""
        self._over.set()
        self._thread.join()

    def _take(self) -> None:
        end: BaseException | None = None
        try:
            for item in self._items:
                if not self._put((item,)):
                    return
        except BaseException as error:
            end = error
        self._put(end)

    def _put(self, item: tuple[Item] | BaseException | None) -> bool:
        """Whether somebody wants more."""
        while not self._over.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=_MOMENT)
                return True
        return False
