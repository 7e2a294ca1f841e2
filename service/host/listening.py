"""Where a server is reached: sockets of addresses and ports or of the file system, and what TLS shows of itself."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import stat
from pathlib import Path

from latentserve.service.errors import LatentserveError, one_line

BACKLOG = 2048  # connections that the kernel holds while nobody accepts
_UNSENT_BYTES = 128 << 10  # of an answer in the kernel; more of them wait where they are counted
_TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)  # named since Python 3.12
_TCP_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _UNSENT_BYTES),
    # Of a client that is gone without a word nothing else is heard while its connection is idle: after five minutes.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 120),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6),
)
_FIRST_HANDED = 3  # of the descriptors that a service manager hands over (sd_listen_fds(3))


class ListeningError(LatentserveError):
    """An address cannot be listened on, or a certificate cannot be used."""


def bind_port(host: str, port: int) -> list[socket.socket]:
    """Bound sockets of every address of a host name, not listening yet. What they accept inherits their options.

    Raises ListeningError.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ListeningError(f"{host}: {one_line(error)}") from None
    bound: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            bound.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _set_options(sock)
            if family == socket.AF_INET6:  # `::` is every address, of either kind
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != "::")
            sock.bind(address)
    except OSError as error:
        for sock in bound:
            sock.close()
        raise ListeningError(f"{host}:{port}: {one_line(error)}") from None
    return bound


def bind_localhost(port: int) -> list[socket.socket]:
    """The same of `127.0.0.1` and, where there is such, of `::1`: what `localhost` is depends on who asks."""
    bound = bind_port("127.0.0.1", port)
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as trial:
        trial.bind(("::1", 0))
        try:
            bound += bind_port("::1", bound[0].getsockname()[1])
        except ListeningError:
            bound[0].close()
            raise
    return bound


def bind_path(path: Path) -> socket.socket:
    """A bound socket of the file system, in the place of one that nobody listens on any more. Raises ListeningError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_left_over(path):
            path.unlink()
        sock.bind(str(path))
    except OSError as error:
        sock.close()
        raise ListeningError(f"{path}: {one_line(error)}") from None
    return sock


def handed_over() -> list[socket.socket]:
    """Sockets that the service manager listens on and has started this process for (`.socket` of systemd); none where
    it does not. They stay its own: it listens on when this process has ended.

    Raises ListeningError: one is none that connections of TCP or of the file system are accepted from.
    """
    count = os.environ.get("LISTEN_FDS", "")
    if not count.isdecimal() or os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    taken = []
    for descriptor in range(_FIRST_HANDED, _FIRST_HANDED + int(count)):
        try:
            sock = socket.socket(fileno=descriptor)
        except OSError as error:
            raise ListeningError(f"LISTEN_FDS={count}: descriptor {descriptor}: {one_line(error)}") from None
        if not is_listening(sock):
            raise ListeningError(
                f"LISTEN_FDS={count}: descriptor {descriptor} is no socket that is listened on (`Accept=no` of systemd)"
            )
        name = sock.getsockname()
        if sock.family not in (socket.AF_INET, socket.AF_INET6) and not (isinstance(name, str) and name):
            raise ListeningError(f"LISTEN_FDS={count}: descriptor {descriptor} has neither a port nor a path")
        sock.set_inheritable(False)
        _set_options(sock)
        taken.append(sock)
    return taken


def is_listening(sock: socket.socket) -> bool:
    """Whether connections are accepted from it, by whomever."""
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def tls_context(certificate: Path, key: Path | None = None, password: str = "") -> ssl.SSLContext:
    """TLS 1.2 and 1.3 with a certificate and its key (PEM; None: both are in one file). Raises ListeningError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, certificate, key, password)
    return context


def load_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None = None, password: str = "") -> None:
    """Show it to who connects from now on. Raises ListeningError."""
    try:
        context.load_cert_chain(certificate, key, password)
    except OSError as error:  # ssl.SSLError is one
        named = certificate if key is None else f"{certificate}, {key}"
        raise ListeningError(f"{named}: {_why(error, certificate if key is None else key)}") from None


def _set_options(sock: socket.socket) -> None:
    """What every connection is to have; a system that has no such option serves without it."""
    if sock.family != socket.AF_UNIX:
        for level, option, value in _TCP_OPTIONS:
            with contextlib.suppress(OSError):
                sock.setsockopt(level, option, value)


def _is_left_over(path: Path) -> bool:
    """Whether a server that has ended left its socket there."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return False
    except FileNotFoundError:
        return False
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as asking:
        asking.settimeout(1)
        return asking.connect_ex(os.fspath(path)) == errno.ECONNREFUSED and not _will_be_listened_on(path)


def _will_be_listened_on(path: Path) -> bool:
    """Whether a process has bound it, as a server has until its first worker is ready."""
    try:
        bound = [line.split(maxsplit=7) for line in Path("/proc/net/unix").read_text(errors="replace").splitlines()]
    except OSError:
        return False
    return any(one[5:6] == ["01"] and one[7:] == [str(path)] for one in bound)  # 01: neither listens nor is connected


def _why(error: OSError, key: Path) -> str:
    if isinstance(error, ssl.SSLError):
        if b"ENCRYPTED" in key.read_bytes():
            return "the key is encrypted, and nobody is asked for a password: `openssl pkey -in KEY` writes it in plain"
        if error.reason == "KEY_VALUES_MISMATCH":
            return "the key is not the certificate's"
        return "no certificate and key in PEM that can be read"
    return one_line(error)
