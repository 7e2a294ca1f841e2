"""The ledger: what a worker has counted, in a file that the others can read; all of them together are one process's.

Counters add up; evidence does not. So each worker keeps its counts in a file of its own, and whoever judges adds the
files up. The file of a worker that has ended stays, and what it saw with it.
"""

from __future__ import annotations

import math
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = Mapping[str, NDArray[Any]]
Layout = Mapping[str, tuple[int, ...]]

_SUFFIX = ".counts"


@cache
def state_folder() -> Path:
    """The folder that the workers of this server share; of a single process its own."""
    shared = os.environ.get("PROMETHEUS_MULTIPROC_DIR")  # BentoML empties it when a server starts
    folder = Path(shared) / "evidence" if shared else Path(tempfile.mkdtemp(prefix="latentserve-evidence-"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Ledger:
    """Named arrays float64 of one worker, which only grow, and those of all workers summed."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        """`layout`: the shape of each array. The folder is this model's and version's."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._layout = layout
        self._length = sum(math.prod(shape) for shape in layout.values())
        mark = sha256(repr(sorted(layout.items())).encode()).hexdigest()[:8]  # another layout is another ledger
        self._suffix = f"-{mark}{_SUFFIX}"
        # A process's number alone may have been another worker's, whose counts would be lost.
        path = folder / f"{os.getpid()}-{secrets.token_hex(4)}{self._suffix}"
        with path.open("xb") as file:  # room for it now: on a full disk, writing to what is mapped ends the process
            os.posix_fallocate(file.fileno(), 0, 8 * self._length)
        self._own: NDArray[np.float64] = np.memmap(path, np.float64, "r+", shape=(self._length,))

    def add(self, counts: Counts) -> None:
        """Add to this worker's arrays."""
        self._own += np.concatenate([np.ravel(counts[name]) for name in self._layout])

    def total(self) -> Counts:
        """The sum over all workers that ever were."""
        total = np.zeros(self._length)
        for file in self._folder.glob(f"*{self._suffix}"):
            values = np.fromfile(file, np.float64)
            if len(values) == self._length:
                total += values
        return dict(self._split(total))

    def _split(self, flat: NDArray[np.float64]) -> Iterator[tuple[str, NDArray[Any]]]:
        start = 0
        for name, shape in self._layout.items():
            size = math.prod(shape)
            yield name, flat[start : start + size].reshape(shape)
            start += size
