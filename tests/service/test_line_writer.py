"""Lines to a pipe that nobody reads, or not yet."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator

import pytest

from latentserve.service.line_writer import LineWriter

LINES = [b"%04d %b\n" % (number, b"x" * 94) for number in range(1000)]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A small one."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    yield read, write
    for end in (read, write):
        os.close(end)


class Reader(threading.Thread):
    """Reads lines until it is ended."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._over = threading.Event()
        self._found = b""
        self.start()

    def run(self) -> None:
        while True:
            over = self._over.is_set()
            try:
                self._found += os.read(self._descriptor, 1 << 16)
            except BlockingIOError:
                if over:
                    return
                time.sleep(0.001)

    def end(self) -> list[bytes]:
        self._over.set()
        self.join()
        return self._found.splitlines(keepends=True)


@pytest.mark.parametrize("blocking", [True, False])
def test_who_writes_does_not_wait_and_what_was_lost_is_told(pipe: tuple[int, int], blocking: bool) -> None:
    read, write = pipe
    os.set_blocking(write, blocking)
    told: list[int] = []
    done = threading.Event()

    def lost(lines: int) -> None:
        told.append(lines)
        done.set()

    writer = LineWriter(write, lost, most_bytes=10_000)
    for line in LINES:
        writer.write(line)
    writer.flush(0.01)  # it is full
    reader = Reader(read)
    assert done.wait(10)
    writer.flush(10)
    found = reader.end()
    assert found == LINES[: len(found)]
    assert len(found) >= 100
    assert sum(told) == len(LINES) - len(found)


def test_all_is_written_where_somebody_reads(pipe: tuple[int, int]) -> None:
    read, write = pipe
    reader = Reader(read)
    writer = LineWriter(write, lambda _: None)
    long = b"y" * 100_000 + b"\n"
    for line in (*LINES, long):
        writer.write(line)
    writer.flush(10)
    assert reader.end() == [*LINES, long]


def test_one_line_that_is_too_long_is_written(pipe: tuple[int, int]) -> None:
    read, write = pipe
    writer = LineWriter(write, lambda _: None, most_bytes=10)
    writer.write(LINES[0])
    writer.flush(10)
    assert os.read(read, 1000) == LINES[0]


def test_where_nobody_will_ever_read_it_goes_on() -> None:
    read, write = os.pipe()
    os.close(read)
    writer = LineWriter(write, lambda _: None)
    for line in LINES:
        writer.write(line)
    writer.flush(10)
    assert writer.alive
    os.close(write)
