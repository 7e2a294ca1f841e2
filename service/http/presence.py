"""Work for a client, for as long as it is there."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

Result = TypeVar("Result")


async def until_gone(receive: Receive) -> None:
    """Until the client whose body was read has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_there(
    receive: Receive,
    work: Awaitable[Result],
    seconds: float = math.inf,
    late: Callable[[], Exception | None] = lambda: None,
) -> Result:
    """What it comes to. Raises ClientDisconnect: the client has gone; and, if there is such, why after so many seconds
    it was `late`. Then it is given up."""
    task = asyncio.ensure_future(work)
    gone = asyncio.create_task(until_gone(receive))
    try:
        done, _ = await asyncio.wait(
            {task, gone}, timeout=None if seconds == math.inf else seconds, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            if (error := late()) is not None:
                raise error
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
