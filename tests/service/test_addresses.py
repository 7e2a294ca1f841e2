"""What names a server, and what is of this machine only."""

from __future__ import annotations

import pytest

from latentserve.service.addresses import is_loopback, is_url, unix_socket

OWN = ["127.0.0.1", "127.255.3.9", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "localhost", "LOCALHOST", "localhost."]
OWN += ["node.localhost", "127.1", "0x7f000001", "2130706433"]
OTHERS = ["0.0.0.0", "::", "", "127.0.0.1.example.org", "127.example.org", "10.0.0.1", "::ffff:10.0.0.1", "fe80::1%lo"]  # noqa: S104
OTHERS += ["localhost.example.org", "mylocalhost", "example.org", "1", "a", "127.0.0.1 ", "127.0.0.256"]


@pytest.mark.parametrize("host", OWN)
def test_what_is_of_this_machine_only(host: str):
    assert is_loopback(host)


@pytest.mark.parametrize("host", OTHERS)
def test_what_may_be_of_others(host: str):
    assert not is_loopback(host)


@pytest.mark.parametrize("text", ["http://a", "HTTPS://a:1/b", "http+unix:/run/a.sock", "https+unix:///run/a"])
def test_what_names_a_server(text: str):
    assert is_url(text)


@pytest.mark.parametrize("text", ["demo/bundle", "http", "http:/a", "/http://a", "ftp://a", "unix:/a"])
def test_what_names_a_folder(text: str):
    assert not is_url(text)


def test_unix_sockets():
    assert unix_socket("http+unix:/run/a b#?.sock") == ("http", "/run/a b#?.sock")
    assert unix_socket("HTTPS+UNIX:///run/a.sock") == ("https", "/run/a.sock")
    assert unix_socket("http://a/run/a.sock") is None
    assert unix_socket("http+unix:a.sock") is None
