"""Which proxy of the environment is asked, and for whom none is."""

from __future__ import annotations

import os

import httpx
import pytest

from latentserve.service.client.proxies import proxy_for
from latentserve.service.client.server import Server

PROXY = "http://127.0.0.1:9"
FAR = "http://10.1.2.3:3000"
# `kind`, OpenShift and others write networks and brackets there.
EXCEPTED = "localhost, .svc,cluster.local,10.96.0.0/16,fd00:10:244::/56,[fe80::1],fe80::/10,example.com:81,,a b"


@pytest.fixture(autouse=True)
def _nothing_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("stated", "url", "proxy"),
    [
        ({}, FAR, None),
        ({"HTTP_PROXY": PROXY}, FAR, PROXY),
        ({"http_proxy": "127.0.0.1:9"}, FAR, PROXY),
        ({"https_proxy": PROXY}, FAR, None),
        ({"https_proxy": PROXY}, "https://example.com", PROXY),
        ({"ALL_PROXY": PROXY}, FAR, PROXY),
        ({"ALL_PROXY": PROXY, "HTTP_PROXY": ""}, FAR, PROXY),
        ({"ALL_PROXY": PROXY}, "http://127.0.0.1:3000", None),
        ({"ALL_PROXY": PROXY}, "http://[::1]:3000", None),
        ({"ALL_PROXY": PROXY, "NO_PROXY": "*"}, FAR, None),
        ({"ALL_PROXY": PROXY, "NO_PROXY": EXCEPTED}, FAR, PROXY),
        ({"ALL_PROXY": PROXY, "NO_PROXY": EXCEPTED}, "http://10.96.12.7:3000", None),
        ({"ALL_PROXY": PROXY, "no_proxy": EXCEPTED}, "http://latentserve.default.svc", None),
        ({"ALL_PROXY": PROXY, "no_proxy": EXCEPTED}, "http://latentserve.default.svc.cluster.local:3000", None),
        ({"ALL_PROXY": PROXY, "no_proxy": EXCEPTED}, "http://svc.example", PROXY),
        ({"ALL_PROXY": PROXY, "no_proxy": EXCEPTED}, "http://[fd00:10:244::7]:3000", None),
        ({"ALL_PROXY": PROXY, "no_proxy": EXCEPTED}, "http://[fe80::1]:3000", None),
        ({"ALL_PROXY": PROXY, "no_proxy": EXCEPTED}, "http://[fd00:10:245::7]:3000", PROXY),
    ],
)
def test_who_is_asked(stated: dict[str, str], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in stated.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == proxy
    with Server(url).sync_client(1) as client:
        assert isinstance(client, httpx.Client)
