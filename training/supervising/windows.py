"""Lines of `stats.jsonl` as windows, each the same share of a run's budget: so that what is seen in them, and for how
long, does not depend on how often a line is written."""

from collections.abc import Mapping

Line = Mapping[str, float]  # of stats.jsonl; a field that had no finite value is missing

WINDOWS = 64  # of a run's budget; where a line is longer than one, it is one (own)

_COUNTED = {"nonfinite_steps", "data_seconds"}  # add up
_LAST = {"images", "seconds", "timestamp", "actions"}  # are what they came to


class Windows:
    """Puts the lines of a run together, in their order."""

    def __init__(self, images: int) -> None:
        """Of a run of so many images."""
        self._length = images / WINDOWS
        self._closed = 0  # windows whose end was passed
        self._images = 0.0  # of the last line
        self._sums: dict[str, tuple[float, float]] = {}  # of each field what it adds up to, and by which weight

    def see(self, line: Line) -> Line | None:
        """The window that ends with this line; None: it goes on."""
        weight = max(line["images"] - self._images, 1.0)
        self._images = line["images"]
        for name, value in line.items():
            total, weights = self._sums.get(name, (0.0, 0.0))
            if name in _LAST:
                self._sums[name] = (value, 1.0)
            elif name in _COUNTED:
                self._sums[name] = (total + value, 1.0)
            else:
                self._sums[name] = (total + weight * value, weights + weight)
        passed = int(line["images"] / self._length + 1e-9)
        if passed == self._closed:
            return None
        self._closed = passed
        window = {name: total / weights for name, (total, weights) in self._sums.items()}
        self._sums = {}
        return window
