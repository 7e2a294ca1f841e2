"""The reference: what the frozen generator's own samples are like, cell by cell.

A cell is a label (or all of them, pooled) at a truncation: what a client may ask for is conditioned on, and never a
drift. Each cell has the distribution of every signal, as equal-mass bins, and the mean of every feature component.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Bundle
from latentserve.service.bundle.files import REFERENCE
from latentserve.service.bundle.golden import pack_arrays, unpack_arrays
from latentserve.service.errors import BundleError
from latentserve.service.watching.classifier import Classifier
from latentserve.service.watching.distribution import (
    BINS,
    BinTable,
    Distribution,
    distributions_from_arrays,
    distributions_to_arrays,
)
from latentserve.service.watching.features import FeatureHead
from latentserve.service.watching.joint_head import JointHead
from latentserve.service.watching.kernel import Distance
from latentserve.service.watching.signals import signal_names
from latentserve.service.watching.spots import Spots

__all__ = ["BINS", "Cell", "Distribution", "RealSide", "Reference", "read_reference"]

_FORMAT = 3
_POOLED = -1  # the label of a pooled cell, in the file

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Cell(NamedTuple):
    """A label (None: all, pooled) at a truncation, and its reference samples."""

    label: int | None
    truncation: float
    samples: int


@dataclass(frozen=True)
class RealSide:
    """Real samples, for telling a reference that has gone stale: features float32 [m, d] of some of `samples`, and
    their kernel distance from generated ones (over standardised features)."""

    features: NDArray[np.float32]
    samples: int
    distance: Distance


@dataclass(frozen=True)
class Reference:
    """What drift is measured against. Without cells: nothing is.

    Attributes:
        samples: made at truncation 1.
        signals: one distribution a cell, by signal.
        cells: those at truncation 1 first.
        pooled: whether labels share a cell for want of samples.
        features, joint, classifier, real, spots: None where there are none. A classifier is kept with its accuracy
            where it is too poor for the signal `label_margin` too.
    """

    samples: int
    signals: Mapping[str, Sequence[Distribution]]
    cells: tuple[Cell, ...] = ()
    pooled: bool = False
    features: FeatureHead | None = None
    joint: JointHead | None = None
    classifier: Classifier | None = None
    real: RealSide | None = None
    spots: Spots | None = None

    @property
    def signal_rows(self) -> Integers:
        """The samples behind each signal's distribution, of its smallest cell: int64 [signals], 1 at least."""
        smallest = [min(each.samples for each in cells) for cells in self.signals.values()]
        return np.maximum(np.array(smallest, np.int64), 1)

    def cell_of(self, label: int | None, truncation: float) -> int | None:
        """The cell of a row, or None: it was asked for in a way the reference does not know."""
        labels = None if label is None else np.array([label])
        cell = int(self.cells_of(labels, 1, truncation)[0])
        return None if cell < 0 else cell

    def cells_of(
        self, labels: Integers | None, rows: int, truncations: Floats | float, chosen: Flags | None = None
    ) -> Integers:
        """The cell of each of `rows` rows, int64 [rows]; -1: none.

        Labels int64 [rows] or None, truncations [rows] or the same for all. `chosen` bool [rows]: whose label was asked
        for; None: all were drawn from the prior, whose mix a cell of all labels is of, and of no other.
        """
        cells = np.full(rows, -1, np.int64)
        asked = np.broadcast_to(np.asarray(truncations, np.float64), (rows,))
        for truncation, by_label in self._by_truncation.items():
            own = by_label[-1] if labels is None else by_label[np.minimum(labels, len(by_label) - 1)]
            cells = np.where(asked == truncation, own, cells)
        if chosen is not None and self.cells:
            of_all = np.array([cell.label is None for cell in self.cells])
            cells = np.where(chosen & of_all[cells], -1, cells)
        return cells

    def bins(self, values: Mapping[str, Floats], cells: Integers, generator: np.random.Generator) -> Mapping[str, Any]:
        """The bin of each row by signal, int64 [n] in 0 .. BINS - 1, of values float64 [n] by signal and `cells` [n];
        -1 where the value is not finite or the row has no cell. Signals that have no reference are left out."""
        names = [name for name in values if name in self.signals]
        if not names:
            return {}
        first = np.array([self._places[name] for name in names])
        which = np.where(cells >= 0, first[:, None] * len(self.cells) + cells, -1)
        return dict(
            zip(names, self._table.bins(np.stack([values[name] for name in names]), which, generator), strict=True)
        )

    @cached_property
    def _table(self) -> BinTable:
        return BinTable([each for cells in self.signals.values() for each in cells])

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.signals)}

    @cached_property
    def _by_truncation(self) -> dict[float, Integers]:
        """The cell by label, int64 [labels + 1], the last for rows without one, at each truncation."""
        labels = max((cell.label for cell in self.cells if cell.label is not None), default=-1) + 1
        found: dict[float, Integers] = {}
        for index, cell in enumerate(self.cells):
            by_label = found.setdefault(cell.truncation, np.full(labels + 1, -1, np.int64))
            by_label[slice(None) if cell.label is None else cell.label] = index
        return found

    def to_bytes(self) -> bytes:
        """The content of `reference.npz`."""
        arrays: dict[str, Any] = {
            "format": np.int64(_FORMAT),
            "samples": np.int64(self.samples),
            "signals": np.array(list(self.signals), np.str_),
            "cells.label": np.array([_POOLED if cell.label is None else cell.label for cell in self.cells], np.int64),
            "cells.truncation": np.array([cell.truncation for cell in self.cells]),
            "cells.samples": np.array([cell.samples for cell in self.cells], np.int64),
            "pooled": np.int64(self.pooled),
        }
        every = [each for cells in self.signals.values() for each in cells]
        arrays |= {f"distributions.{key}": array for key, array in distributions_to_arrays(every).items()}
        for name, holder in (("features", self.features), ("joint", self.joint), ("classifier", self.classifier)):
            if holder is not None:
                arrays |= {f"{name}.{key}": array for key, array in holder.to_arrays().items()}
        if self.real is not None:
            arrays["real.features"] = self.real.features
            arrays["real.samples"] = np.int64(self.real.samples)
            arrays["real.distance"] = np.array(self.real.distance)
        if self.spots is not None:
            arrays |= {f"spots.{key}": array for key, array in self.spots.to_arrays().items()}
        return pack_arrays(arrays)

    @classmethod
    def from_bytes(cls, content: bytes, names: Sequence[str]) -> Reference:
        """Read `reference.npz`. Raises BundleError where it is of another release, malformed, or without a signal of
        `names`."""
        arrays = unpack_arrays(content, REFERENCE)
        if "format" not in arrays:
            raise BundleError(f"{REFERENCE}: was made by an older latentserve; export or pack again")
        try:
            read = _read(arrays)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise BundleError(f"{REFERENCE}: is malformed ({error})") from None
        missing = [name for name in names if name not in read.signals]
        if missing:
            raise BundleError(f"{REFERENCE}: has no distribution of the signal {missing[0]}")
        return read


def read_reference(bundle: Bundle) -> Reference:
    """A bundle's reference; of a bundle that has none, one without cells. Raises BundleError naming the folder."""
    if bundle.reference is None:
        return Reference(0, {})
    names = signal_names(bundle.manifest.sample, has_critic=bundle.critic_file is not None)
    try:
        return Reference.from_bytes(bundle.reference, names)
    except BundleError as error:
        raise BundleError(f"{bundle.path}: {error}") from None


def _read(arrays: Mapping[str, NDArray[Any]]) -> Reference:
    if arrays["format"] != _FORMAT:
        raise ValueError(f"format {arrays['format']}; this release reads {_FORMAT}")
    described = zip(
        *(arrays[f"cells.{part}"].tolist() for part in ("label", "truncation", "samples")),
        strict=True,
    )
    cells = tuple(Cell(None if label == _POOLED else label, truncation, n) for label, truncation, n in described)
    names = [str(name) for name in arrays["signals"]]
    count = len(cells)
    every = distributions_from_arrays(_within(arrays, "distributions."), len(names) * count)
    features = joint = classifier = real = None
    if "features.source" in arrays:
        features = FeatureHead.from_arrays(_within(arrays, "features."), count)
    if features is not None and "joint.offsets" in arrays:
        joint = JointHead.from_arrays(_within(arrays, "joint."), count, features.size)
    if features is not None and "classifier.weights" in arrays:
        classifier = Classifier.from_arrays(_within(arrays, "classifier."), len(features.center))
    if features is not None and "real.features" in arrays:
        seen = arrays["real.features"].astype(np.float32)
        if seen.ndim != 2 or seen.shape[1] != len(features.center):
            raise ValueError(f"real features of shape {seen.shape}")
        real = RealSide(seen, int(arrays["real.samples"]), Distance(*arrays["real.distance"].tolist()))
    return Reference(
        int(arrays["samples"]),
        {name: tuple(every[place * count : (place + 1) * count]) for place, name in enumerate(names)},
        cells,
        bool(arrays["pooled"]),
        features,
        joint,
        classifier,
        real,
        Spots.from_arrays(_within(arrays, "spots.")) if "spots.values" in arrays else None,
    )


def _within(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
