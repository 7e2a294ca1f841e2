"""The ledger: what a worker has counted, in a file that the others can read; all of them together are one process's.

Counters add up; evidence does not. So each worker keeps its counts in a file of its own, and whoever judges adds the
files up. What a worker saw stays when it has ended.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.errors import one_line
from latentserve.service.watching.worker_files import WorkerFiles
from latentserve.service.watching.workers import own_name

log = logging.getLogger(__name__)

Counts = Mapping[str, NDArray[Any]]
Layout = Mapping[str, tuple[int, ...]]
Flat = NDArray[np.float64]

_SUFFIX = ".counts"


class Ledger:
    """Named arrays float64 of one worker, which only grow, and those of all workers summed."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        """`layout`: the shape of each array. The folder is this model's and version's."""
        folder.mkdir(parents=True, exist_ok=True)
        self._layout = layout
        self._length = sum(math.prod(shape) for shape in layout.values())
        mark = sha256(repr(sorted(layout.items())).encode()).hexdigest()[:8]  # another layout is another ledger
        self._files = WorkerFiles(folder, mark, _SUFFIX)
        self._own: Flat = self._make(self._files.of(f"{own_name()}-{secrets.token_hex(4)}"))

    def add(self, counts: Counts) -> None:
        """Add to this worker's arrays."""
        self._own += np.concatenate([np.ravel(counts[name]) for name in self._layout])

    def total(self) -> Counts:
        """The sum over all workers that ever were."""
        return dict(self._split(self._files.read(self._sum)))

    def fold(self) -> None:
        """Fold together what workers counted that have ended. Raises OSError: the disk is full."""
        self._files.fold(lambda files, target: self._sum(files).tofile(target))

    def _make(self, path: Path) -> Flat:
        part = path.with_suffix(".part")
        try:
            with part.open("xb") as file:  # room for it now: writing to what is mapped and has none ends the process
                os.posix_fallocate(file.fileno(), 0, 8 * self._length)
            part.rename(path)
        except OSError as error:
            log.error("there is no room for what this worker sees (%s): no verdict knows of it", one_line(error))
            return np.zeros(self._length)
        return np.memmap(path, np.float64, "r+", shape=(self._length,))

    def _sum(self, files: Sequence[Path]) -> Flat:
        total = np.zeros(self._length)
        for file in files:
            total += np.fromfile(file, np.float64)
        return total

    def _split(self, flat: NDArray[np.float64]) -> Iterator[tuple[str, NDArray[Any]]]:
        start = 0
        for name, shape in self._layout.items():
            size = math.prod(shape)
            yield name, flat[start : start + size].reshape(shape)
            start += size
