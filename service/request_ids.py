"""`X-Request-ID`: what an answer, and a line of the log on it, can be found by."""

from __future__ import annotations

import re
import secrets
from itertools import count

_FORM = re.compile(rb"[\w.~:/+=@-]{1,128}", re.ASCII)
_PROCESS = secrets.token_hex(6).encode()
_numbers = count(1)


def request_id(given: bytes | None = None) -> bytes:
    """The client's own, where it is one; else a new one."""
    return given if given is not None and _FORM.fullmatch(given) else b"%b-%x" % (_PROCESS, next(_numbers))
