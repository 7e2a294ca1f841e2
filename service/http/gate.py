"""Who may ask: with a key, where keys are on; without, who is on this machine, or everybody where that is allowed."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from latentserve.service import logs
from latentserve.service.access.grants import Grant
from latentserve.service.access.key_file import KeyRing, key_ring
from latentserve.service.access.keys import MOST_CHARACTERS, Key
from latentserve.service.access.needs import SCOPE_OF, Needs, is_open
from latentserve.service.access.quotas import Quota
from latentserve.service.access.usage_table import USAGE, UsageTable, UsageTableError, open_table, usage_path
from latentserve.service.errors import ForbiddenError, NotReadyError, UnauthorizedError, one_line
from latentserve.service.http.call import Call
from latentserve.service.http.loopback import require_loopback, require_own_name
from latentserve.service.http.mounted import is_page
from latentserve.service.settings import Settings
from latentserve.service.state import state_folder

_HOW = "send one as `Authorization: Bearer KEY` or `X-API-Key: KEY`"

_SCORES = "/score"


def needs_mounted(path: str) -> Needs:
    """What is needed to ask BentoML's application."""
    if path == _SCORES:
        return "score"
    return "nothing" if is_page(path) else "sample"


class Gate:
    """Lets calls pass, or does not."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._hosts = frozenset(name.lower().removesuffix(".") for name in settings.hosts)
        self._ring = key_ring(settings.keys, settings.home)
        self._table: UsageTable | None = None
        self._quotas: dict[str, tuple[Key, Quota]] = {}

    @property
    def keys_are_on(self) -> bool:
        """Whether a key is needed."""
        return self._ring is not None and self._ring.on

    def admit(self, call: Call, needs: Needs, *, for_strangers: bool = False) -> None:
        """Let a call pass; it is told what its key grants, where one was needed.

        `for_strangers`: other machines may ask this, whether they are allowed or not.

        Raises UnauthorizedError, ForbiddenError, NotReadyError (the keys cannot be read); without keys ClosedError,
        MisdirectedError.
        """
        if self._ring is not None and self._ring.on:
            if not is_open(needs, open_metadata=self._settings.open_metadata):
                call.grant = self._grant(self._ring, call, needs)
        elif not self._settings.allow_open and not for_strangers:
            require_loopback(call.scope)
            require_own_name(call.scope, call.headers.get(b"host", b""), self._hosts)

    def _grant(self, ring: KeyRing, call: Call, needs: Needs) -> Grant:
        text = presented(call.headers)
        if text is None:
            raise UnauthorizedError(f"{call.shown} needs a key: {_HOW}")
        key = ring.find(text) if len(text) <= MOST_CHARACTERS else None
        if key is None:
            raise UnauthorizedError("there is no such key", given=True)
        if (fault := key.fault(time.time())) is not None:
            raise UnauthorizedError(f"the key {key.id} {fault}", given=True)
        scope = SCOPE_OF.get(needs)
        if scope is not None and scope not in key.scopes:
            told = ", ".join(key.scopes) or "nothing"
            raise ForbiddenError(f"{call.shown} needs the scope {scope}; the key {key.id} has {told}", scope)
        return Grant(key, self._quota(ring, key), ring)

    def _quota(self, ring: KeyRing, key: Key) -> Quota:
        kept, quota = self._quotas.get(key.id, (None, None))
        if quota is None or kept is not key:  # the file of keys was read again
            try:
                if self._table is None:
                    self._table = open_table(usage_path(ring.path), state_folder() / ring.path.with_suffix(USAGE).name)
                quota = Quota(key, self._table)
            except (OSError, UsageTableError) as error:
                logs.event("keys-failed", logging.ERROR, kind="keys-failed", detail=one_line(error))
                raise NotReadyError("what keys use cannot be counted; the server's log says why") from None
            self._quotas[key.id] = key, quota
        return quota


def presented(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The key that a client sends: `X-API-Key`, which no proxy has a use of its own for, else a bearer token."""
    if (text := headers.get(b"x-api-key")) is not None:
        return text.strip()
    scheme, _, rest = headers.get(b"authorization", b"").partition(b" ")
    return rest.strip() if scheme.lower() == b"bearer" else None
