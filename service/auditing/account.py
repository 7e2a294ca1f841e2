"""The account of one process: what was sent to whom, a line before its first byte, and another where it ended early."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping
from typing import Any, Literal

import orjson

from latentserve.service import logs
from latentserve.service.auditing.arguments import arguments_of
from latentserve.service.auditing.entry import NO_SEED, model_sum
from latentserve.service.auditing.log import AuditLog, UnauditedError, now
from latentserve.service.bundle import Manifest
from latentserve.service.sampling.request import RowsRequest

_RETRY_SECONDS = 1.0  # between two tries to write where the last one has failed

WhenFull = Literal["refuse", "serve"]


class Sent:
    """An answer that is in the account.

    Attributes:
        rows: of it, that were sent so far.
    """

    __slots__ = ("_account", "_began", "_id", "_n", "_over", "rows")

    def __init__(self, account: Account, id_: str, began: str, n: int) -> None:
        self._account, self._id, self._began, self._n = account, id_, began, n
        self._over = False
        self.rows = 0

    def end(self, rows: int | None = None, **more: object) -> None:
        """Say how many rows were sent in the end: as many as were begun with, if nothing else is said."""
        if not self._over:
            self._over = True
            told = {"sent": self.rows if rows is None else rows, "of": self._n, **more}
            self._account.tell({"event": "ended", "id": self._id, "began": self._began, **told}, self._id)

    def broke(self) -> None:
        """The client has not taken all of it; it may have taken any part."""
        self.end(broken=True)


class Account:
    """What this process writes into it; counts `lost` lines where it serves on without."""

    def __init__(self, log: AuditLog, when_full: WhenFull, *, keep: bool) -> None:
        """`keep`: what is too long for a line is kept beside it, else only its SHA-256."""
        self._log = log
        self._when_full = when_full
        self._keep = log.keep if keep else _digest
        self._failed = 0.0  # when a line could not be written, the last time
        self._fault: UnauditedError | None = None
        self.lost = 0

    def require(self) -> None:
        """Raise UnauditedError where a line could not be written a moment ago: rows would be made for nobody."""
        if self._fault is not None and self._when_full == "refuse" and time.monotonic() - self._failed < _RETRY_SECONDS:
            raise UnauditedError(str(self._fault))

    def sent(
        self,
        id_: str,
        key: str | None,
        route: str,
        manifest: Manifest,
        request: RowsRequest,
        n: int,
        media: str,
        more: Mapping[str, Any] | None = None,
    ) -> Sent | None:
        """A line on n rows that are about to be sent; None: it could not be written, and they may be sent without.

        Of rows that are chosen the request has all that may be looked at. Raises UnauditedError.
        """
        began = now()
        try:
            name, version = manifest.name, manifest.version
            told: dict[str, object] = {"time": began, "event": "sampled", "id": id_, "key": key, "route": route}
            if key is None:
                del told["key"]
            told.update(model=name, version=version, n=n, **arguments_of(request, more, self._keep))
            told["as"] = media
            by_number = request.latents is None and not request.derived
            self._log.write(
                orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE),
                id_.encode(),
                model_sum(name, version),
                seed=request.seed if by_number else NO_SEED,
                offset=request.offset,
                rows=request.n,
            )
        except UnauditedError as error:
            self._fail(error)
            if self._when_full == "refuse":
                raise
            return None
        self._fault = None
        return Sent(self, id_, began, n)

    def scored(self, id_: str, key: str | None, route: str, manifest: Manifest, n: int) -> None:
        """A line on scores that are about to be sent. Raises UnauditedError."""
        told = {"event": "scored", "id": id_, "key": key, "route": route}
        told |= {"model": manifest.name, "version": manifest.version, "n": n}  # type: ignore[dict-item]
        if not self.tell(told, id_) and self._when_full == "refuse" and self._fault is not None:
            raise UnauditedError(str(self._fault))

    def tell(self, told: Mapping[str, object], id_: str) -> bool:
        """Write another line, if that can be; whether it could."""
        line = {"time": now(), **{name: value for name, value in told.items() if value is not None}}
        try:
            self._log.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE), id_.encode())
        except UnauditedError as error:
            self._fail(error)
            return False
        return True

    def close(self) -> None:
        """Write no more."""
        self._log.close()

    def _fail(self, error: UnauditedError) -> None:
        self.lost += 1
        self._failed, self._fault = time.monotonic(), error
        logs.event("audit-failed", logging.ERROR, kind="audit-failed", detail=str(error))


def _digest(content: bytes, _suffix: str) -> str:
    return hashlib.sha256(content).hexdigest()
