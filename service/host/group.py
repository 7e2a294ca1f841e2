"""What a worker knows of its server's workers, itself among them, and what it tells of itself.

The application is made with the group of its process: it reads how all are, and says in `examine` how this one is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from latentserve.service.host.refusal import Refused


@dataclass(frozen=True)
class Health:
    """How a worker is.

    Attributes:
        ready: it takes requests; one that does not gets no new connections while others do.
        fault: why it should be replaced, in one line; None where it need not be.
    """

    ready: bool = True
    fault: str | None = None


@dataclass
class Group:
    """The workers of a server, as one of them sees them. A process that nobody watches is a group of its own.

    Attributes:
        index: this worker's place, from 0; who comes in its place has the same.
        size: how many workers there should be.
        others: how many others take requests.
        draining: the server is being stopped: what comes new is answered 503.
        connections: how many clients this worker is connected with.
        refused: told of each request that this worker's host answers itself, and who asked.
        turned_away: told how many more clients the supervisor has turned away, no worker having heard of them.
        examine: says how this worker is; called four times a second, on the event loop.
    """

    index: int = 0
    size: int = 1
    others: int = 0
    draining: bool = False
    connections: int = 0
    refused: Callable[[Refused, str | None], None] = lambda refused, client: None
    turned_away: Callable[[int], None] = lambda clients: None
    examine: Callable[[], Health] = Health

    @property
    def workers(self) -> int:
        """How many workers take requests."""
        return self.others + self.examine().ready

    @property
    def ready(self) -> bool:
        """Whether the server takes requests, whichever worker is asked."""
        return not self.draining and self.workers > 0
