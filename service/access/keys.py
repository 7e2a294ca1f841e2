"""A key: what its holder may ask for, how much of it, and until when. Of the key itself only the SHA-256 is kept."""

from __future__ import annotations

import hashlib
import math
import secrets
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Scope = Literal["sample", "score", "metrics"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

MOST_CHARACTERS = 200  # of what is looked at as a key
_PREFIX = "ls_"  # by which those find a key who look for what should not be in a repository or a log
_BYTES = 32
ID_CHARACTERS = 12

NameText = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[\w.@+-]+$")]
_Most = Annotated[int, Field(ge=1, le=1_000_000_000)]


class Key(BaseModel):
    """What is kept of a key.

    Attributes:
        id: names it in logs and accounts: the first digits of its SHA-256.
        name: whose it is, for people; no two keys that are not revoked have the same.
        sha256: of the key's characters, in hexadecimal digits.
        scopes: what its holder may ask for.
        rows_per_second, rows_in_flight: None: any number.
        created, expires, revoked: None: never.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=rf"^[0-9a-f]{{{ID_CHARACTERS}}}$")]
    name: NameText
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: tuple[Scope, ...]
    rows_per_second: _Most | None = None
    rows_in_flight: _Most | None = None
    created: AwareDatetime
    expires: AwareDatetime | None = None
    revoked: AwareDatetime | None = None

    @cached_property
    def digest(self) -> bytes:
        """The SHA-256."""
        return bytes.fromhex(self.sha256)

    @cached_property
    def ends(self) -> float:
        """From when on it is of no use, in seconds since 1970."""
        return min((end.timestamp() for end in (self.expires, self.revoked) if end is not None), default=math.inf)

    def fault(self, now: float) -> str | None:
        """Why it is of no use at this time, in seconds since 1970; None: it is."""
        if now < self.ends:
            return None
        return "was revoked" if self.revoked is not None and self.revoked.timestamp() <= now else "has expired"


def new_key(
    name: str,
    scopes: tuple[Scope, ...],
    rows_per_second: int | None = None,
    rows_in_flight: int | None = None,
    expires: datetime | None = None,
) -> tuple[str, Key]:
    """A key of 32 random bytes, which nobody will be shown again, and what is kept of it. Raises ValidationError."""
    text = _PREFIX + secrets.token_urlsafe(_BYTES)
    sha256 = digest_of(text.encode()).hex()
    return text, Key(
        id=sha256[:ID_CHARACTERS],
        name=name,
        sha256=sha256,
        scopes=scopes,
        rows_per_second=rows_per_second,
        rows_in_flight=rows_in_flight,
        created=datetime.now(UTC).replace(microsecond=0),
        expires=expires,
    )


def digest_of(text: bytes) -> bytes:
    """What a key is known by. It has as much chance in it as the digest: no slow hash would make it harder to guess."""
    return hashlib.sha256(text).digest()
