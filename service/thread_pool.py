"""Threads that are there from the start."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier


def thread_pool(threads: int, name: str) -> ThreadPoolExecutor:
    """An executor whose threads all run. A process that may have no more of them fails now, as `RuntimeError`, and not
    when it is ready and asked for something."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    all_run = Barrier(threads + 1)  # who has begun waits, so that the next piece of work needs another thread
    try:
        for _ in range(threads):
            pool.submit(all_run.wait)
        all_run.wait()
    except BaseException:
        all_run.abort()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    return pool
