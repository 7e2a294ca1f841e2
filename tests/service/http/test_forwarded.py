"""Who asked, where proxies stand between."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentserve.service.http.forwarded import Hop, TrustedProxies, hops

CLIENT, FORGED, INNER, OUTER = "203.0.113.9", "198.51.100.66", "10.0.0.1", "10.0.0.2"


def believed(trusted: list[str], peer: str | None, **headers: str) -> tuple[str | None, str]:
    scope = {"client": None if peer is None else (peer, 4711), "scheme": "http"}
    sent = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
    TrustedProxies(trusted).believe(scope, sent)
    client = scope["client"]
    return client and client[0], scope["scheme"]  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("trusted", "peer", "headers", "client", "scheme"),
    [
        (["10.0.0.0/8"], OUTER, {"x_forwarded_for": CLIENT}, CLIENT, "http"),
        (["10.0.0.0/8"], OUTER, {"x_forwarded_for": CLIENT, "x_forwarded_proto": "https"}, CLIENT, "https"),
        (["10.0.0.0/8"], OUTER, {"x_forwarded_proto": "https"}, OUTER, "https"),
        (["10.0.0.0/8"], OUTER, {"x_forwarded_proto": "gopher"}, OUTER, "http"),
        (["10.0.0.0/8"], OUTER, {}, OUTER, "http"),
        # What the client itself claims comes first, and is not believed.
        (["10.0.0.0/8"], OUTER, {"x_forwarded_for": f"{FORGED}, {CLIENT}"}, CLIENT, "http"),
        (["10.0.0.0/8"], OUTER, {"x_forwarded_for": f"{FORGED}, {CLIENT}, {INNER}"}, CLIENT, "http"),
        (["10.0.0.2"], OUTER, {"x_forwarded_for": f"{CLIENT}, {INNER}"}, INNER, "http"),
        # A client of its own is believed nothing.
        (["10.0.0.0/8"], CLIENT, {"x_forwarded_for": FORGED, "x_forwarded_proto": "https"}, CLIENT, "http"),
        (["*"], CLIENT, {"x_forwarded_for": f"{FORGED}, {CLIENT}"}, FORGED, "http"),
        (["10.0.0.0/8"], OUTER, {"x_forwarded_for": "unknown"}, OUTER, "http"),
        (["10.0.0.0/8"], OUTER, {"x_forwarded_for": f"{FORGED}, nonsense"}, OUTER, "http"),
        (["10.0.0.0/8"], OUTER, {"x_forwarded_for": f"{CLIENT}:5000"}, CLIENT, "http"),
        (["::1"], "::1", {"x_forwarded_for": "[2001:db8::7]:443"}, "2001:db8::7", "http"),
        (["::1"], "::1", {"x_forwarded_for": "2001:db8::7"}, "2001:db8::7", "http"),
        (["127.0.0.1"], "::ffff:127.0.0.1", {"x_forwarded_for": CLIENT}, CLIENT, "http"),
        (["10.0.0.0/8"], OUTER, {"forwarded": f"for={CLIENT};proto=https;by={INNER}"}, CLIENT, "https"),
        (["10.0.0.0/8"], OUTER, {"forwarded": f'For="{CLIENT}:80";Proto=HTTPS;host="a;b,c"'}, CLIENT, "https"),
        (["10.0.0.0/8"], OUTER, {"forwarded": f'for={FORGED};proto=https, for="{CLIENT}"'}, CLIENT, "http"),
        (["10.0.0.0/8"], OUTER, {"forwarded": 'for="[2001:db8::7]:443"'}, "2001:db8::7", "http"),
        (["10.0.0.0/8"], OUTER, {"forwarded": "for=_hidden;proto=https"}, OUTER, "https"),
        (["10.0.0.0/8"], OUTER, {"forwarded": f"for={CLIENT};;"}, OUTER, "http"),
        (["10.0.0.0/8"], OUTER, {"forwarded": f'for="{CLIENT}'}, OUTER, "http"),
        # A proxy that knows the older headers lets the newer pass as the client wrote it.
        (["10.0.0.0/8"], OUTER, {"x_forwarded_for": CLIENT, "forwarded": f"for={FORGED}"}, CLIENT, "http"),
        # Who comes over a socket of the file system is of this machine.
        (["127.0.0.1"], None, {"x_forwarded_for": CLIENT}, CLIENT, "http"),
        (["10.0.0.0/8"], None, {"x_forwarded_for": CLIENT}, None, "http"),
    ],
)
def test_who_asked(
    trusted: list[str], peer: str | None, headers: dict[str, str], client: str | None, scheme: str
) -> None:
    assert believed(trusted, peer, **headers) == (client, scheme)


addresses = st.ip_addresses().map(str)


@given(st.lists(addresses, min_size=1, max_size=6))
def test_both_kinds_say_the_same(clients: list[str]) -> None:
    quoted = ", ".join(f'for="[{one}]"' if ":" in one else f"for={one}" for one in clients)
    expected = [Hop(str(getattr(ipaddress.ip_address(one), "ipv4_mapped", None) or one), None) for one in clients]
    assert hops({b"x-forwarded-for": ", ".join(clients).encode()}) == expected
    assert hops({b"forwarded": quoted.encode()}) == expected


@given(st.binary(), st.binary(), st.binary())
def test_anything_is_read_to_its_end(for_: bytes, proto: bytes, forwarded: bytes) -> None:
    for headers in ({b"x-forwarded-for": for_, b"x-forwarded-proto": proto}, {b"forwarded": forwarded}):
        for hop in hops(headers):
            assert hop.scheme in (None, "http", "https")
            assert hop.client is None or ipaddress.ip_address(hop.client)
        scope = {"client": (OUTER, 1), "scheme": "http"}
        TrustedProxies(["*"]).believe(scope, headers)
        assert ipaddress.ip_address(scope["client"][0])


@given(st.text('fo=r;,"\\ 1.', max_size=30))
def test_forwarded_is_read_to_its_end(value: str) -> None:
    hops({b"forwarded": value.encode()})
