"""The connections of a worker: handed over, drained, and of a file system or TLS."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from latentserve.service.host import listening as module
from latentserve.service.host.certificate import Certificate
from latentserve.service.host.connections import Connections
from latentserve.service.host.limits import Limits
from latentserve.service.host.listening import ListeningError, bind_localhost, bind_path, bind_port, tls_context
from tests.certificates import self_signed
from tests.service.host.hosting import Host, echo, read_all, statuses
from tests.service.host.test_connection import GET, LAST, eventually, post


class Held:
    """An application that answers when it is let."""

    def __init__(self) -> None:
        self.begun = 0
        self.free = threading.Event()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.begun += 1
        await asyncio.to_thread(self.free.wait, 20)
        await echo(scope, receive, send)


@pytest.fixture
def held() -> Iterator[Held]:
    app = Held()
    yield app
    app.free.set()


# Handing over


def test_an_idle_connection_is_given_away_with_what_it_is_sent():
    with Host() as one, Host() as other, one.connect() as line:
        line.sendall(GET)
        assert line.recv(1000).endswith(b"GET /a  ")
        eventually(lambda: one.on_loop(lambda: [c.idle for c in one.connections._open]) == [True])
        [sock] = one.on_loop(lambda: one.connections.give_away(5))
        line.sendall(post("/b", b"abc"))
        assert one.connections.count == 0
        asyncio.run_coroutine_threadsafe(other.connections.adopt(sock), other.loop).result(10)
        assert line.recv(1000).endswith(b"POST /b  abc")
        assert other.connections.count == 1
        line.sendall(LAST)
        assert statuses(read_all(line)) == [200]


def test_a_busy_connection_is_given_away_when_it_is_answered(held: Held):
    with Host(held) as host, host.connect() as line:
        line.sendall(GET)
        eventually(lambda: held.begun)
        assert host.on_loop(lambda: host.connections.give_away(1)) == []
        assert host.given == []
        held.free.set()
        assert line.recv(1000).endswith(b"GET /a  ")
        eventually(lambda: host.given)
        assert host.connections.count == 0


def test_a_wish_is_forgotten_after_a_second(held: Held):
    with Host(held) as host, host.connect() as line:
        line.sendall(GET)
        eventually(lambda: held.begun)
        host.on_loop(lambda: host.connections.give_away(1))
        eventually(lambda: not host.connections.wanted)
        held.free.set()
        assert line.recv(1000)
        assert host.given == []


def test_a_connection_with_more_to_say_is_kept(held: Held):
    with Host(held) as host, host.connect() as line:
        line.sendall(GET + GET[:9])
        eventually(lambda: held.begun)
        host.on_loop(lambda: host.connections.give_away(1))
        held.free.set()
        line.sendall(GET[9:])
        eventually(lambda: held.begun == 2)


# Draining


def test_a_drain_answers_what_is_under_way_and_says_that_it_is_the_end(held: Held):
    with Host(held) as host, host.connect() as busy, host.connect() as idle:
        busy.sendall(GET + GET)
        eventually(lambda: held.begun and host.connections.count == 2)
        host.on_loop(host.connections.drain)
        idle.sendall(GET)  # it comes in time
        eventually(lambda: held.begun == 2)
        held.free.set()
        for line in (busy, idle):
            answers = read_all(line)
            assert statuses(answers) == [200]
            assert b"connection: close\r\n" in answers
        asyncio.run_coroutine_threadsafe(host.connections.closed(), host.loop).result(10)


def test_a_drain_closes_who_says_nothing():
    with Host() as host, host.connect() as line:
        line.sendall(GET)
        assert line.recv(1000)
        host.on_loop(host.connections.drain)
        assert line.recv(1000) == b""
        asyncio.run_coroutine_threadsafe(host.connections.closed(), host.loop).result(10)
        with host.connect() as late:
            late.sendall(GET)
            assert b"connection: close\r\n" in read_all(late)


# TLS, and the file system


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"))


def test_tls_serves_the_same_and_closes_instead_of_handing_over(certificate: tuple[Path, Path]):
    body = bytes(3 << 20)
    with Host(tls=tls_context(*certificate)) as host:
        trusted = ssl.create_default_context(cafile=certificate[0])
        with httpx.Client(verify=trusted, base_url=f"https://localhost:{host.port}") as client:
            assert client.post("/a", content=body).content.endswith(body)
            assert client.get("/b").text == "GET /b  "
            assert host.on_loop(lambda: host.connections.give_away(1)) == []
            assert client.get("/b").headers["connection"] == "close"
            assert "connection" not in client.get("/b").headers
        with socket.create_connection(("127.0.0.1", host.port)) as plain:
            plain.sendall(GET)
            answer = read_all(plain)
        assert statuses(answer) == [400]
        assert b"https://" in answer
        eventually(lambda: host.connections.count == 0)
        assert (host.failed, host.refused) == ([], ["malformed-request"])


def test_tls_says_farewell_where_the_end_is_the_end_of_the_answer(certificate: tuple[Path, Path]):
    async def app(_scope: dict[str, Any], _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": bytes(1 << 20)})

    trusted = ssl.create_default_context(cafile=certificate[0])
    for sent in (b"GET / HTTP/1.0\r\n\r\n", b"POST / HTTP/1.0\r\nContent-Length: 3000000\r\n\r\n" + bytes(3_000_000)):
        with Host(app, tls=tls_context(*certificate)) as host, host.connect() as plain:
            with trusted.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as line:
                line.sendall(sent)
                answer = read_all(line)
            assert statuses(answer) == [413]
            assert len(answer.partition(b"\r\n\r\n")[2]) == 1 + (1 << 20)
            eventually(lambda host=host: host.connections.count == 0)


def test_a_farewell_of_tls_is_the_clients_end(certificate: tuple[Path, Path]):
    """It closes both directions: nothing is made for who has said it."""
    told = threading.Event()

    async def app(_scope: dict[str, Any], receive: Any, _send: Any) -> None:
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        told.set()

    trusted = ssl.create_default_context(cafile=certificate[0])
    with Host(app, tls=tls_context(*certificate)) as host, host.connect() as plain:
        line = trusted.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False)
        line.sendall(GET)
        with line.unwrap() as ended:  # returns when it was answered
            assert ended.recv(1) == b""
        assert told.wait(10)
        eventually(lambda: host.connections.count == 0)
        assert (host.failed, host.refused) == ([], [])


def test_a_handshake_has_its_time(certificate: tuple[Path, Path]):
    with Host(tls=tls_context(*certificate), header_seconds=0.1) as host, host.connect() as line:
        with contextlib.suppress(ConnectionResetError):
            assert line.recv(1000) == b""
        eventually(lambda: host.connections.count == 0)


def test_certificates_that_cannot_be_used_are_one_line(certificate: tuple[Path, Path], tmp_path: Path):
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")
    for paths in ((tmp_path / "none.pem", None), (broken, broken), (certificate[0], None), (certificate[0], broken)):
        with pytest.raises(ListeningError) as error:
            tls_context(*paths)
        assert str(paths[0]) in str(error.value)
        assert "\n" not in str(error.value)


def test_a_key_that_is_encrypted_is_told_so(certificate: tuple[Path, Path], tmp_path: Path):
    command = ["openssl", "pkey", "-in", certificate[1], "-aes256", "-passout", "pass:a", "-out", tmp_path / "key"]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(ListeningError, match="the key is encrypted"):
        tls_context(certificate[0], tmp_path / "key")


def test_a_certificate_that_is_renewed_is_shown(certificate: tuple[Path, Path], tmp_path: Path, caplog: Any):
    names = [tmp_path / file.name for file in certificate]
    for file, name in zip(certificate, names, strict=True):
        shutil.copy(file, name)
    before, after = tmp_path / "before", tmp_path / "after"
    shutil.copy(names[0], before)
    after.mkdir()
    others = self_signed(after)
    shown = Certificate(names[0], names[1], tell=True)

    def is_shown(file: Path) -> bool:
        shown.look()  # it is another
        shown.look()  # and stays
        with Host(tls=shown.context) as host:
            return ssl.get_server_certificate(("127.0.0.1", host.port)).split() == file.read_text().split()

    assert is_shown(before)
    shutil.copy(others[0], names[0])
    assert is_shown(before)  # half of a pair
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    names[1].unlink()
    assert is_shown(before)
    shutil.copy(others[1], names[1])
    assert is_shown(others[0])


@pytest.mark.parametrize("bind", [lambda: bind_port("::", 0), lambda: bind_localhost(0)], ids=["every", "localhost"])
def test_who_asks_by_ipv4_or_ipv6_is_answered(bind: Callable[[], list[socket.socket]]):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")

    async def app(scope: dict[str, Any], _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": f"{scope['client'][0]} {scope['server'][0]}".encode()})

    async def serve() -> list[bytes]:
        loop, listening = asyncio.get_running_loop(), bind()
        connections = Connections(app, Limits())
        answers = []
        for address in ("127.0.0.1", "::1"):
            of_kind = listening[-1 if address == "::1" else 0]
            of_kind.listen()
            of_kind.setblocking(False)
            reader, writer = await asyncio.open_connection(address, listening[0].getsockname()[1])
            await connections.adopt((await loop.sock_accept(of_kind))[0])
            writer.write(LAST)
            answers.append((await reader.read()).rpartition(b"\r\n")[2])
            writer.close()
        for sock in listening:
            sock.close()
        connections.abort()
        return answers

    assert asyncio.run(serve()) == [b"127.0.0.1 127.0.0.1", b"::1 ::1"]


def test_a_socket_of_the_file_system(tmp_path: Path):
    path = tmp_path / "s"
    scopes = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        scopes.append(scope)
        await echo(scope, receive, send)

    async def serve() -> bytes:
        loop = asyncio.get_running_loop()
        connections = Connections(app, Limits(), root_path="/r")
        listening = bind_path(path)
        listening.listen()
        listening.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(path)
        sock, _ = await loop.sock_accept(listening)
        listening.close()
        await connections.adopt(sock)
        writer.write(GET + b"GET /r/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answers = await reader.read()
        writer.close()
        connections.sweep()
        await connections.closed()
        return answers

    assert statuses(asyncio.run(serve())) == [200, 200]
    assert [scope["client"] for scope in scopes] == [None, None]
    assert scopes[0]["server"] == (str(path), None)
    assert [(scope["path"], scope["root_path"]) for scope in scopes] == [("/r/a", "/r"), ("/r/x", "/r")]


def test_a_socket_that_a_dead_server_left_is_taken_over(tmp_path: Path):
    path = tmp_path / "s"
    bind_path(path).close()
    with bind_path(path) as listening:
        with pytest.raises(ListeningError, match="in use"):
            bind_path(path)  # the other is about to listen
        listening.listen()
        with pytest.raises(ListeningError, match="in use"):
            bind_path(path)
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ListeningError):
        bind_path(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "precious"


def test_a_port_that_is_taken_is_one_line():
    [first] = bind_port("127.0.0.1", 0)
    with first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(ListeningError, match=f"127.0.0.1:{port}: Address already in use"):
            bind_port("127.0.0.1", port)
    with pytest.raises(ListeningError, match=r"nowhere\.invalid"):
        bind_port("nowhere.invalid", 80)


def test_sockets_of_a_service_manager_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def handed(sock: socket.socket, count: object = 1, **other: str) -> list[socket.socket]:
        told = {"LISTEN_FDS": str(count), "LISTEN_PID": str(os.getpid()), **other}
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(module, "_FIRST_HANDED", os.dup(sock.fileno()))
        return module.handed_over()

    with bind_path(tmp_path / "s") as bound, socket.create_server(("127.0.0.1", 0)) as port:
        bound.listen()
        for lent in (bound, port):
            assert handed(lent, LISTEN_PID="1") == handed(lent, "") == handed(lent, "one") == []
            [taken] = handed(lent)
            with taken:
                assert taken.getsockname() == lent.getsockname()
                assert not taken.get_inheritable()
    # What cannot be served on is one line.
    silent, datagrams, abstract = socket.socket(), socket.socket(type=socket.SOCK_DGRAM), socket.socket(socket.AF_UNIX)
    with silent, datagrams, abstract, (tmp_path / "file").open("wb") as file:
        abstract.bind("\0latentserve-test")
        abstract.listen()
        for wrong, said in (
            (silent, "is no socket that is listened on"),
            (datagrams, "is no socket that is listened on"),
            (abstract, "has neither a port nor a path"),
            (file, "Socket operation on non-socket"),
        ):
            with pytest.raises(ListeningError, match=rf"LISTEN_FDS=1: descriptor \d+:? {said}"):
                handed(wrong)  # type: ignore[arg-type]


def test_what_is_accepted_has_the_options_of_the_listener():
    [listening] = bind_port("127.0.0.1", 0)
    with listening:
        listening.listen()
        with socket.create_connection(listening.getsockname()), listening.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert accepted.getsockopt(socket.IPPROTO_TCP, 25) == 128 << 10


def test_hundreds_of_idle_connections_are_drained():
    with Host() as host, contextlib.ExitStack() as stack:
        lines = [stack.enter_context(host.connect()) for _ in range(400)]
        eventually(lambda: host.connections.count == 400)
        lines[0].sendall(GET)
        assert statuses(lines[0].recv(1000)) == [200]
        host.on_loop(host.connections.drain)
        eventually(lambda: host.connections.count == 0)
        assert all(line.recv(10) == b"" for line in lines)
