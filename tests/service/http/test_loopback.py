"""Names that a page may have mean this machine."""

from __future__ import annotations

import pytest

from latentserve.service.errors import MisdirectedError
from latentserve.service.http.loopback import require_own_name

TCP = {"server": ("127.0.0.1", 3000)}
OWN = [
    b"127.0.0.1:3000", b"127.0.0.1", b"localhost", b"localhost:3000", b"LOCALHOST.:80", b"[::1]:3000", b"a.localhost",
    b"latentserve", b"x:1", b"", b"10.0.0.7:3000", b"[fe80::1]",
]  # fmt: skip
OTHERS = [b"evil.example", b"evil.example:3000", b"127.0.0.1.evil.example", b"localhost.evil.example", b"7f.1.nip.io",
          b"evil.example.", b"[evil.example]", b"EVIL.example"]  # fmt: skip


@pytest.mark.parametrize("host", OWN)
def test_this_machine_has_these_names(host: bytes):
    require_own_name(TCP, host, ())


@pytest.mark.parametrize("host", OTHERS)
def test_what_anybody_may_register_is_another(host: bytes):
    with pytest.raises(MisdirectedError):
        require_own_name(TCP, host, ())
    require_own_name({"server": ("/run/socket", None)}, host, ())


def test_names_that_are_allowed():
    require_own_name(TCP, b"Samples.example.org:443", ["samples.example.org"])
    with pytest.raises(MisdirectedError):
        require_own_name(TCP, b"x.samples.example.org", ["samples.example.org"])
