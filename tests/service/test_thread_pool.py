"""Threads that are there from the start, or not at all."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading

from latentserve.service.thread_pool import thread_pool


def test_all_of_them_run_before_there_is_anything_to_do() -> None:
    before = threading.active_count()
    with thread_pool(3, "three") as pool:
        assert threading.active_count() == before + 3
        assert list(pool.map(abs, (-1, 2))) == [1, 2]
    assert threading.active_count() == before


def test_where_no_more_can_be_started_it_says_so_and_leaves_none() -> None:
    """Of a process with room for a few stacks: that it ends shows that nobody waits for the others."""
    program = """
from latentserve.service.errors import one_line
from latentserve.service.thread_pool import thread_pool
import threading
threading.stack_size(64 << 20)
try:
    thread_pool(64, "many")
except RuntimeError as error:
    print(one_line(error))
"""

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, preexec_fn=little_room, check=True)
    assert ended.stdout.startswith("no thread can be started: the limit of threads and processes")
