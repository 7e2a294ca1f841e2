"""Where others look at runs: TensorBoard, MLflow, Weights & Biases, or what an installed package brings.

A tracker is a module here, or an entry point of the group `latentserve.trackers`: a function of a `Tracked` run that
gives a `Tracker`. It is told the lines of `stats.jsonl` and the pictures of snapshots, in their order, by the one
process that writes them; it changes no weight. `latentserve train --track NAME` finds it by its name.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Literal, Protocol

from PIL import Image

from latentserve.service.errors import one_line
from latentserve.training.errors import TrainingError
from latentserve.training.files import replaced

GROUP = "latentserve.trackers"
STATE = "tracking.json"  # in a run's folder: what trackers were told that keep it
REALS, SAMPLES = "reals", "samples"

Ending = Literal["finished", "saved", "failed"]  # the budget is spent; it can be resumed; an error ended it

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tracked:
    """A run, as a tracker meets it.

    Attributes:
        folder: of the run.
        name: of the run: its folder's.
        recipe: the recipe's name.
        config: every field of the configuration, as JSON has it.
        id: what the tracker of an earlier sitting called it; None: there was none.
    """

    folder: Path
    name: str
    recipe: str
    config: Mapping[str, Any]
    id: str | None = None

    @property
    def flat(self) -> dict[str, Any]:
        """The configuration's fields by the names that `--set` has for them: `lr.start`."""
        return dict(_flat(self.config))


def _flat(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


class Tracker(Protocol):
    """A run that is shown somewhere.

    Attributes:
        id: by which a later sitting goes on, so that it is told nothing twice; None: it is told everything again.
    """

    id: str | None

    def line(self, images: int, line: Mapping[str, float]) -> None:
        """A line of `stats.jsonl`: numbers by their names, after so many images."""

    def picture(self, images: int, name: str, path: Path) -> None:
        """A PNG: `samples` of the averaged generator after so many images, or the `reals` it learns from."""

    def close(self, ending: Ending) -> None:
        """This sitting is over."""


@dataclass
class _Told:
    """What a tracker knows by now: lines and pictures up to so many images."""

    id: str | None
    lines: int = -1
    pictures: int = -1


def trackers() -> dict[str, EntryPoint]:
    """All that are there, by their names: those of this folder, and those that were installed beside them."""
    names = [module.name for module in iter_modules(__path__)]
    own = {name: EntryPoint(name, f"{__name__}.{name}:track", GROUP) for name in names}
    return own | {entry.name: entry for entry in entry_points(group=GROUP)}


class Tracking:
    """A run's trackers. One that fails is let go of with a line in the log: training goes on."""

    def __init__(self, names: Sequence[str], folder: Path, recipe: str, config: Mapping[str, Any]) -> None:
        """Raises TrainingError: there is no such tracker, its package is not installed, or it cannot begin."""
        self._folder = folder
        self._trackers: dict[str, tuple[Tracker, _Told]] = {}
        known = _read(folder / STATE)
        for name in dict.fromkeys(names):
            told = known.get(name, _Told(None))
            try:
                tracker = _open(name, Tracked(folder, folder.resolve().name, recipe, config, told.id))
            except TrainingError:
                self.close("failed")
                raise
            if tracker.id is None or tracker.id != told.id:
                told = _Told(tracker.id)
            self._trackers[name] = tracker, told

    def show(self, line: Mapping[str, float]) -> None:
        """Tell a line, and before it the pictures that were made since the last; a resumed run shows those it has
        first."""
        images = int(line["images"])
        for name, (tracker, told) in [*self._trackers.items()]:
            with self._let_go_if_it_fails(name):
                if images > told.lines:
                    self._pictures(tracker, told, images)
                    tracker.line(images, line)
                    told.lines = images
        self._keep()

    def close(self, ending: Ending) -> None:
        """Tell the pictures that are left, and that the sitting is over."""
        for name, (tracker, told) in [*self._trackers.items()]:
            with self._let_go_if_it_fails(name):
                self._pictures(tracker, told, None)
                tracker.close(ending)
        self._keep()

    def _pictures(self, tracker: Tracker, told: _Told, before: int | None) -> None:
        """Those that it was not told, of snapshots before so many images."""
        reals = self._folder / f"{REALS}.png"
        if told.pictures < 0 and _whole(reals):
            tracker.picture(0, REALS, reals)
            told.pictures = 0
        for path in sorted(self._folder.glob(f"{SAMPLES}-*.png")):
            images = int(path.stem.removeprefix(f"{SAMPLES}-"))
            if images > told.pictures and (before is None or images < before) and _whole(path):
                tracker.picture(images, SAMPLES, path)
                told.pictures = images

    def _keep(self) -> None:
        kept = {name: told for name, (_, told) in self._trackers.items() if told.id is not None}
        if kept:
            everything = _read(self._folder / STATE) | kept
            with replaced(self._folder / STATE) as partial:
                partial.write_text(json.dumps({name: asdict(told) for name, told in everything.items()}))

    @contextmanager
    def _let_go_if_it_fails(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # of anybody's code, or a network that is away
            log.warning("--track %s: %s; it is told no more of this sitting", name, one_line(error))
            del self._trackers[name]


def _open(name: str, run: Tracked) -> Tracker:
    entry = trackers().get(name)
    if entry is None:
        raise TrainingError(f"--track {name}: no such tracker: there are {', '.join(sorted(trackers()))}")
    try:
        tracker: Tracker = entry.load()(run)
    except ModuleNotFoundError as error:
        raise TrainingError(f"--track {name}: the package {error.name} is not installed") from None
    except Exception as error:  # of anybody's code
        raise TrainingError(f"--track {name}: {one_line(error)}") from None
    return tracker


def _whole(path: Path) -> bool:
    """Whether a picture can be read: a process that was killed may have left half of one."""
    try:
        with Image.open(path) as picture:
            picture.load()
    except OSError:
        return False
    return True


def _read(path: Path) -> dict[str, _Told]:
    try:
        return {name: _Told(**told) for name, told in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # trackers are told everything again
