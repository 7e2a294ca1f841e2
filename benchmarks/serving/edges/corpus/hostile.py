"""What a hostile or careless client is made of: connections, ways to send, and how an exchange ended, in a word."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from latentserve.service.benching.requests import RAW, SAMPLES, post

Ends = Counter[str]  # how often it ended so: a status, "closed", "reset", "silence", "refused"

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_QUIET_SECONDS = 0.02  # after an answer: this side says that it will ask no more
_AT_ONCE = 250  # connections are made, for no backlog to run over that nobody would fill


@dataclass(frozen=True)
class Target:
    """Whom to be hostile to, and for how long."""

    port: int
    seconds: float

    @property
    def end(self) -> float:
        """time.monotonic() when it is over."""
        return time.monotonic() + self.seconds


Act = Callable[[Target], Awaitable[Ends]]


@dataclass(frozen=True)
class Hostile:
    """One entry of the corpus.

    Attributes:
        name, about: what it is called, and what it does.
        act: does it, until its time is over.
        ends: how its exchanges may end.
        bodies: bytes of bodies that are under way at a time.
        prepare: what is made before the time begins.
    """

    name: str
    about: str
    act: Act
    ends: frozenset[str]
    bodies: int = 0
    prepare: Callable[[], object] = lambda: None


CORPUS: dict[str, Hostile] = {}  # in the order of the files that fill it


def hostile(*ends: str, bodies: int = 0, prepare: Callable[[], object] = lambda: None) -> Callable[[Act], Act]:
    """Put a function into the corpus, by its name and its docstring."""

    def add(act: Act) -> Act:
        name = act.__name__.replace("_", " ")
        CORPUS[name] = Hostile(name, (act.__doc__ or "").strip(), act, frozenset(ends), bodies, prepare)
        return act

    return add


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Pieces = bytes | AsyncIterator[bytes]


async def connect(port: int, receive_buffer: int | None = None) -> Stream:
    """A connection; with a receive buffer of so many bytes. Raises OSError."""
    plain = socket.socket()
    plain.setblocking(False)
    if receive_buffer is not None:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
        return await asyncio.open_connection(sock=plain, limit=1 << 16)
    except BaseException:
        plain.close()
        raise


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset: nothing waits in the kernel for it."""
    with suppress(OSError):  # closed already
        own = writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def exchange(target: Target, pieces: Pieces, seconds: float | None = None, *, whole: bool = False) -> str:
    """Send over a connection of its own while listening; how it ended. `whole`: all statuses, joined by +."""
    seconds = target.seconds if seconds is None else seconds
    try:
        reader, writer = await connect(target.port)
    except OSError:
        return "refused"
    sending = asyncio.create_task(_send(writer, pieces))
    try:
        return await (every_status(reader, writer, seconds) if whole else status(reader, seconds))
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError, OSError):
            await sending
        reset(writer)


async def status(reader: asyncio.StreamReader, seconds: float) -> str:
    """Of the next answer's head, 100 passed over; or what came instead within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            found = "100"
            while found == "100":
                head = await reader.readuntil(b"\r\n\r\n")
                match = _STATUS.match(head)
                found = match[1].decode() if match else "no HTTP"
            return found
    except asyncio.IncompleteReadError as error:
        return "cut" if error.partial else "closed"
    except asyncio.LimitOverrunError:
        return "no HTTP"
    except TimeoutError:
        return "silence"
    except OSError:
        return "reset"


async def every_status(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> str:
    """Of all answers, until the server closes: when it is quiet, this side says that it will ask no more."""
    came, ended, end, open_ = bytearray(), "", time.monotonic() + seconds, True
    while True:
        patience = max(0.01, end - time.monotonic())
        try:
            async with asyncio.timeout(min(_QUIET_SECONDS, patience) if came and open_ else patience):
                piece = await reader.read(1 << 16)
        except TimeoutError:
            if not open_ or not came:
                break
            open_ = False
            with suppress(OSError):
                writer.write_eof()
            continue
        except OSError:
            ended = "reset"
            break
        if not piece:
            ended = "closed"
            break
        came += piece
    statuses = [found.decode() for found in _STATUS.findall(came)]
    return "+".join(statuses) or ended or ("no HTTP" if came else "silence")


async def _send(writer: asyncio.StreamWriter, pieces: Pieces) -> None:
    with suppress(OSError):
        if isinstance(pieces, bytes):
            writer.write(pieces)
            await writer.drain()
            return
        async for piece in pieces:
            writer.write(piece)
            await writer.drain()


async def slowly(content: bytes, first: int = 0, pause: float = 1.0) -> AsyncIterator[bytes]:
    """The first bytes at once, the others one by one."""
    yield content[:first]
    for place in range(first, len(content)):
        await asyncio.sleep(pause)
        yield content[place : place + 1]


async def endlessly(opening: bytes, piece: bytes, most: int) -> AsyncIterator[bytes]:
    """An opening, then the same piece again and again, up to so many bytes."""
    yield opening
    for _ in range(most // len(piece)):
        yield piece


async def held(target: Target, opening: bytes = b"", *, half_closed: bool = False) -> str:
    """Keep a connection, after an opening and perhaps with its own side closed, without a further word until the time
    is over: what came last, `closed` above all."""
    try:
        reader, writer = await connect(target.port)
    except OSError:
        return "refused"
    end = time.monotonic() + target.seconds
    try:
        writer.write(opening)
        if half_closed:
            writer.write_eof()
        ended = await status(reader, target.seconds)
        if ended.isdigit():
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.01, end - time.monotonic())):
                    await reader.read()
                    return f"{ended}, closed"
        return ended
    except OSError:
        return "reset"
    finally:
        reset(writer)


async def unread(target: Target, request: bytes, every: float | None = None) -> str:
    """Ask, and take nothing of the answer, or a byte every so many seconds: a status that is no 200, `let go` where
    the server closed within the answer, `kept` where it did not, `waits` where no byte of one came."""
    loop, end = asyncio.get_running_loop(), time.monotonic() + target.seconds
    with socket.socket() as plain:
        plain.setblocking(False)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        came = bytearray()
        try:
            await loop.sock_connect(plain, ("127.0.0.1", target.port))
            with suppress(TimeoutError):
                async with asyncio.timeout_at(loop.time() + target.seconds):
                    await loop.sock_sendall(plain, request)
                    while every is not None:
                        came += await loop.sock_recv(plain, 1)
                        await asyncio.sleep(every)
            await asyncio.sleep(max(0.0, end - time.monotonic()))
            while piece := plain.recv(1 << 16):
                came += piece
            ended = "let go"
        except BlockingIOError:
            ended = "kept"
        except OSError:
            ended = "let go" if came else "reset"
    found = _STATUS.match(came)
    if found and found[1] != b"200":
        return found[1].decode()
    return ended if came else "waits" if ended == "kept" else "closed"


async def read(target: Target, request: bytes, rate: float = float("inf")) -> str:
    """Ask, and take the answer at so many bytes a second: its status, `cut` where it broke off."""
    end = time.monotonic() + target.seconds
    try:
        reader, writer = await connect(target.port)
    except OSError:
        return "refused"
    try:
        writer.write(request)
        ended = await status(reader, target.seconds)
        while ended == "200" and (left := end - time.monotonic()) > 0:
            async with asyncio.timeout(left):
                if not await reader.read(1 << 16):
                    break
                await asyncio.sleep((1 << 16) / rate)
        return ended
    except TimeoutError:
        return ended
    except OSError:
        return "cut"
    finally:
        reset(writer)


async def at_once(number: int, act: Callable[[], Awaitable[str]]) -> Ends:
    """So many of them beside each other."""
    starting = asyncio.Semaphore(_AT_ONCE)

    async def one() -> str:
        async with starting:
            await asyncio.sleep(0)
        return await act()

    return Counter(await asyncio.gather(*(one() for _ in range(number))))


async def again(target: Target, number: int, act: Callable[[], Awaitable[str]]) -> Ends:
    """So many clients beside each other, each of which does it again until the time is over."""
    end, found = target.end, Counter[str]()

    async def client() -> None:
        while time.monotonic() < end:
            found[await act()] += 1

    await asyncio.gather(*(client() for _ in range(number)))
    return found


async def in_turn(target: Target, requests: Iterable[bytes | tuple[str, bytes]], *, right: Iterable[str]) -> Ends:
    """One after the other, again until the time is over; a named one that did not end right is counted with its
    name."""
    end, found, fine, requests = target.end, Counter[str](), set(right), list(requests)
    while time.monotonic() < end:
        for one in requests:
            name, content = one if isinstance(one, tuple) else ("", one)
            ended = await exchange(target, content, 2.0, whole=True)
            found[ended if ended in fine or not name else f"{name}: {ended}"] += 1
    return found


def samples(accept: str = RAW, *headers: str, **fields: object) -> bytes:
    """A request for samples."""
    return post(SAMPLES, json.dumps(fields).encode(), accept, "application/json", *headers)


def head(path: str, length: int, content: str = "application/json", *headers: str, method: str = "POST") -> bytes:
    """The head of a request whose body has so many bytes."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Content-Type: {content}",
        f"Content-Length: {length}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"
