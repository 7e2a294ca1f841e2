"""Where the values of metrics are kept: in files that the workers of a server share; of a process by itself, in memory.

The files are prometheus_client's. Added to them: they lie in the server's own folder under names that no other process
will have; there is room for them on the disk before anything is written (writing to what is mapped and has none ends
the process, by SIGBUS); what workers counted that have ended is folded together; and sums are rounded once, exactly, so
that no order of adding makes a counter go back.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from prometheus_client import Metric, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from latentserve.service.errors import one_line
from latentserve.service.state import shared_folder
from latentserve.service.watching.worker_files import WorkerFiles
from latentserve.service.watching.workers import lives, own_name

log = logging.getLogger(__name__)

_ROOM = 1 << 16  # bytes of a file at first
_ENTRY = 64  # bytes that an entry takes beside its key, at the most
_SUFFIX = ".db"
_GAUGES: Mapping[str, Callable[[list[float]], float]] = {
    "livesum": math.fsum,
    "livemin": min,
    "livemax": max,
    "max": max,
}

Values = Mapping[str, float]  # by key: what is counted, as JSON


class _Reserved(MmapedDict):
    """Values on the disk, where there is room for them. Raises OSError where there is none."""

    def __init__(self, filename: str | Path) -> None:
        path = Path(filename)
        if not path.exists():
            part = path.with_suffix(".new")  # an empty one is no file of values to those who read
            with part.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, _ROOM)
            part.rename(path)
        super().__init__(str(path))  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        capacity = self._capacity
        while self._used + len(key.encode()) + _ENTRY > capacity:  # the library will find the same, or needs no more
            capacity *= 2
        if capacity > self._capacity:
            os.posix_fallocate(self._f.fileno(), 0, capacity)
        super()._init_value(key)  # type: ignore[no-untyped-call]


class _Kept(_Reserved):
    """The same of a worker, which goes on where there is no room: until there is, what it counts anew is not seen."""

    _told = False

    def __init__(self, filename: str) -> None:
        try:
            super().__init__(filename)
        except OSError as error:
            self._tell(error)
            super().__init__(f"/proc/self/fd/{os.memfd_create('metrics')}")

    def read_value(self, key: str) -> tuple[float, float]:
        """Value and time, 0 where there is no room."""
        try:
            value, timestamp = super().read_value(key)  # type: ignore[no-untyped-call]
        except OSError as error:
            self._tell(error)
            return 0.0, 0.0
        return value, timestamp

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        """Keep a value."""
        with suppress(OSError):
            super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call]

    @classmethod
    def _tell(cls, error: OSError) -> None:
        if not _Kept._told:
            _Kept._told = True
            log.error("there is no room for metrics (%s): some are not seen until there is", one_line(error))


def decide() -> None:
    """Have metrics that are defined from now on keep their values in files, if this process is a worker."""
    folder = shared_folder()
    if folder is None:
        values.ValueClass = values.MutexValue
        return
    name = own_name()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder / "metrics")  # the library looks for it each time
    values.MmapedDict = _Kept  # type: ignore[attr-defined,assignment]
    values.ValueClass = values.MultiProcessValue(lambda: name)  # type: ignore[no-untyped-call]


class SharedValues(Collector):
    """The metrics of all workers, that live or have ended, in the folder that they share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._counted = {kind: WorkerFiles(folder, kind, _SUFFIX) for kind in ("counter", "histogram")}

    def collect(self) -> Iterator[Metric]:
        """What there is now; on the way, what workers have left that have ended is folded together."""
        for kind, files in self._counted.items():
            try:
                files.fold(add_values)
            except OSError as error:
                log.warning("counts of workers that have ended could not be folded: %s", one_line(error))
            yield from _families(kind, files.read(_sums))
        yield from self._gauges()

    def workers(self) -> list[int]:
        """The processes that count, by number."""
        names = {file.stem.rpartition("_")[2] for file in self._folder.glob(f"gauge_livesum_*{_SUFFIX}")}
        return sorted(int(name.split("-")[0]) for name in names if lives(name))

    def _gauges(self) -> Iterator[Metric]:
        """Gauges say what is so now: of workers that have ended nothing is."""
        for mode, merge in _GAUGES.items():
            found: dict[str, list[float]] = defaultdict(list)
            for file in self._folder.glob(f"gauge_{mode}_*{_SUFFIX}"):
                if not lives(file.stem.rpartition("_")[2]):
                    file.unlink(missing_ok=True)  # another may be at it
                    continue
                for key, value, _, _ in _read(file):
                    found[key].append(value)
            yield from _families("gauge", {key: merge(each) for key, each in found.items()})


def add_values(files: Sequence[Path], target: Path) -> None:
    """Write the sums of files to a new one. What a sum was rounded by is written with it, and lost only to rounding
    once more."""
    kept = _Reserved(target)
    try:
        for key, each in _parts(files).items():
            total = math.fsum(each)
            kept.write_value(key, total, math.fsum([*each, -total]))  # type: ignore[no-untyped-call]
    finally:
        kept.close()  # type: ignore[no-untyped-call]


def _sums(files: Sequence[Path]) -> Values:
    return {key: math.fsum(each) for key, each in _parts(files).items()}


def _parts(files: Sequence[Path]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for file in files:
        for key, value, rest, _ in _read(file):
            found[key] += (value, rest)
    return found


def _read(file: Path) -> Iterable[tuple[str, float, float, int]]:
    read: Iterable[tuple[str, float, float, int]] = MmapedDict.read_all_values_from_file(str(file))  # type: ignore[no-untyped-call]
    return read


@lru_cache(maxsize=1 << 16)
def _named(key: str) -> tuple[str, str, dict[str, str], str]:
    """Of a key the name of the metric, that of the series, its labels and the metric's help."""
    metric, name, labels, about = json.loads(key)
    return metric, name, labels, about


def _families(kind: str, found: Values) -> Iterable[Metric]:
    """Values by key as metrics of a kind."""
    families: dict[str, Metric] = {}
    buckets: dict[tuple[str, tuple[tuple[str, str], ...]], dict[float, float]] = defaultdict(dict)
    for key, value in found.items():
        metric, name, labels, about = _named(key)
        family = families.setdefault(metric, Metric(metric, about, kind))
        if kind == "histogram" and (bound := labels.get("le")) is not None:
            others = tuple((label, of) for label, of in labels.items() if label != "le")
            buckets[metric, others][float(bound)] = value
        else:
            family.add_sample(name, labels, value)
    for (metric, others), counts in buckets.items():
        below = 0.0
        for upper, count in sorted(counts.items()):
            below += count
            families[metric].add_sample(f"{metric}_bucket", {**dict(others), "le": floatToGoString(upper)}, below)  # type: ignore[no-untyped-call]
        families[metric].add_sample(f"{metric}_count", dict(others), below)
    for family in families.values() if kind == "histogram" else ():  # OpenMetrics has what is of one series together
        family.samples.sort(key=lambda sample: [pair for pair in sample.labels.items() if pair[0] != "le"])
    return families.values()
