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


def read_lines(descriptor: int, until: threading.Event) -> list[bytes]:
    """All that comes until then."""
    os.set_blocking(descriptor, False)
    found = b""
    while True:
        over = until.is_set()
        try:
            found += os.read(descriptor, 1 << 16)
        except BlockingIOError:
            if over:
                return found.splitlines(keepends=True)
            time.sleep(0.001)


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
    found = read_lines(read, done)
    writer.flush(10)
    assert found == LINES[: len(found)]
    assert len(found) >= 100
    assert sum(told) == len(LINES) - len(found)


def test_all_is_written_where_somebody_reads(pipe: tuple[int, int]) -> None:
    read, write = pipe
    done = threading.Event()
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.extend(read_lines(read, done)))
    reader.start()
    writer = LineWriter(write, lambda _: None)
    long = b"y" * 100_000 + b"\n"
    for line in (*LINES, long):
        writer.write(line)
    writer.flush(10)
    done.set()
    reader.join()
    assert found == [*LINES, long]


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
