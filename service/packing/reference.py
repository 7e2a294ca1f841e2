"""The reference of a generator, made from its own samples within a bounded time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Bundle, Manifest
from latentserve.service.bundle.files import CRITIC, GENERATOR
from latentserve.service.errors import BundleError
from latentserve.service.packing.real import KEPT, Real
from latentserve.service.packing.rows import Drawer, Rows
from latentserve.service.watching.classifier import Classifier
from latentserve.service.watching.distribution import Distribution
from latentserve.service.watching.features import FeatureHead
from latentserve.service.watching.joint_head import JointHead
from latentserve.service.watching.kernel import kernel_distance
from latentserve.service.watching.reference import Cell, RealSide, Reference
from latentserve.service.watching.signals import LABEL_MARGIN

REFERENCE_SAMPLES = 100_000
CELL_SAMPLES = 20_000  # the least that a label has a cell of its own for
TRUNCATIONS = (0.7, 0.5, 0.9)  # beside 1, in the order in which they are made

_SECONDS = 120.0  # for truncation 1; a slow generator gets a smaller reference, and the manifest says so
_TRUNCATION_SHARE = 1 / 4  # of that, for all truncations
_SPOT_SECONDS = 15.0
_LESSON_ROWS = 12_500  # for the small classifier: what it learns from is no reference for its margin
_LESSON_SHARE = 1 / 8  # of the reference, at the most
_PART = 4096  # rows whose features are turned into numbers of 8 bytes at a time
_LESSON, _TRUNCATED, _UNCONDITIONED = 1 << 40, 1 << 41, 1 << 43  # rows of the seed, out of the reference's way


def make_reference(bundle: Bundle, wanted: int | None = None, real: Real | RealSide | None = None) -> Reference:
    """The reference of a bundle's generator.

    Args:
        bundle: with golden samples.
        wanted: samples at truncation 1; None: 100,000, or 20,000 a label where they are more and there is time.
        real: real samples, if there are any; or what another bundle with the same critic has kept of them.

    Raises BundleError: a signal is not finite.
    """
    manifest = bundle.manifest
    labels = 1 if manifest.labels is None else len(manifest.labels)
    drawer = Drawer(bundle)
    planned = wanted or max(REFERENCE_SAMPLES, CELL_SAMPLES * labels)
    lesson = drawer.draw(max(1, min(_LESSON_ROWS, int(planned * _LESSON_SHARE))), _LESSON, _SECONDS * _LESSON_SHARE)
    rate = len(lesson) / lesson.seconds
    by_label = labels > 1 and labels * CELL_SAMPLES <= min(planned, rate * _SECONDS)
    count = planned if by_label or wanted is not None else REFERENCE_SAMPLES
    plain = drawer.draw(count, 0, _SECONDS, labels=labels if by_label else None)
    if by_label and len(plain) < labels * CELL_SAMPLES:  # slower than it began
        plain, by_label = plain.take(_as_prior(plain, manifest)), False

    truncated = _truncated(drawer, min(CELL_SAMPLES, planned), len(plain) / plain.seconds)
    cells: list[tuple[int | None, float]] = [(label, 1.0) for label in range(labels)] if by_label else [(None, 1.0)]
    axes = len(cells)
    cells += [(None, truncation) for truncation in truncated]
    groups = [plain, *truncated.values()]
    which = [np.zeros(len(plain), np.int64) if plain.labels is None or not by_label else plain.labels]
    which += [np.full(len(rows), axes + place) for place, rows in enumerate(truncated.values())]
    for rows in (lesson, *groups):
        _require_finite(rows, drawer.space.source)
    features = np.concatenate([rows.features for rows in groups])
    of_features = np.concatenate([own[: len(rows.features)] for own, rows in zip(which, groups, strict=True)])
    head = FeatureHead.of(drawer.space, features, of_features, len(cells), axes)
    classifier = None
    if lesson.labels is not None:
        known = lesson.labels[: len(lesson.features)]
        classifier = Classifier.fit(head.standardised(lesson.features), known, labels)
    if classifier is not None and classifier.useful:
        for rows in groups:
            rows.signals[LABEL_MARGIN] = _margins(head, classifier, rows)
    signals = {name: _distributions(name, groups, which, len(cells)) for name in plain.signals}
    sizes = np.bincount(np.concatenate(which), minlength=len(cells)).tolist()
    return Reference(
        samples=len(plain),
        signals=signals,
        cells=tuple(Cell(*cell, size) for cell, size in zip(cells, sizes, strict=True)),
        pooled=labels > 1 and not by_label,
        features=head,
        joint=_joint(head, features, of_features, axes),
        classifier=classifier,
        real=None if real is None else _real_side(drawer, head, plain, real, manifest if by_label else None),
        spots=None if manifest.conditions is None else drawer.spots(_SPOT_SECONDS),
    )


def _require_finite(rows: Rows, source: str) -> None:
    """Raises BundleError: features of some rows are not, and it is not their signals (which `_distributions` tells)."""
    faults = np.asarray(~np.isfinite(rows.features).all(axis=1))
    if not faults.any():
        return
    for name, values in rows.signals.items():
        if not np.isfinite(values[: len(faults)][faults]).all():
            count = f"{faults.sum()} of {len(faults)}"
            raise BundleError(f"{GENERATOR}: the signal {name} of {count} samples is not finite")
    whose = f"{CRITIC}: its features" if source == "critic" else f"{GENERATOR}: features"
    raise BundleError(f"{whose} of {faults.sum()} of {len(faults)} samples are not finite")


def _truncated(drawer: Drawer, size: int, rate: float) -> dict[float, Rows]:
    """Rows at each truncation that there is time for, descending."""
    left = _SECONDS * _TRUNCATION_SHARE
    made: dict[float, Rows] = {}
    for place, truncation in enumerate(TRUNCATIONS):
        if size > rate * left:
            break
        rows = drawer.draw(size, _TRUNCATED + place * size, left, truncation)
        left -= rows.seconds
        if len(rows) == size:
            made[truncation] = rows
    return dict(sorted(made.items(), reverse=True))


def _distributions(
    name: str, groups: list[Rows], which: list[NDArray[np.int64]], cells: int
) -> tuple[Distribution, ...]:
    """A signal's distribution in each cell."""
    values = np.concatenate([rows.signals[name] for rows in groups])
    if not np.isfinite(values).all():
        raise BundleError(f"{GENERATOR}: the signal {name} of its samples is not finite")
    own = np.concatenate([cell[: len(rows.signals[name])] for cell, rows in zip(which, groups, strict=True)])
    ordered = values[np.argsort(own, kind="stable")]
    ends = np.cumsum(np.bincount(own, minlength=cells))[:-1]
    return tuple(Distribution.of(part) for part in np.split(ordered, ends))


def _margins(head: FeatureHead, classifier: Classifier, rows: Rows) -> NDArray[np.float64]:
    """Of the rows whose features are there, float64 [m]."""
    assert rows.labels is not None  # noqa: S101, a classifier is of labels
    parts = np.array_split(np.arange(len(rows.features)), -(-len(rows.features) // _PART))
    return np.concatenate(
        [classifier.margin(head.standardised(rows.features[part]), rows.labels[part]) for part in parts]
    )


def _joint(head: FeatureHead, features: NDArray[np.float32], cells: NDArray[np.int64], axes: int) -> JointHead | None:
    """Of the same features; None where they do not vary, or are of too few rows."""
    if not head.size or head.samples.min() <= head.size:
        return None
    components = np.empty((len(features), head.size))
    for part in np.array_split(np.arange(len(features)), -(-len(features) // _PART)):
        components[part] = head.components(features[part], cells[part])
    return JointHead.of(components, cells, len(head.samples), axes)


def _as_prior(rows: Rows, manifest: Manifest) -> NDArray[np.intp]:
    """The most rows whose labels have the shares of the prior: the first so many of each label."""
    assert rows.labels is not None  # noqa: S101, asked for labelled rows alone
    count = len(manifest.labels or [])
    prior = np.array(manifest.label_prior or np.full(count, 1 / count))
    found = np.bincount(rows.labels, minlength=count)
    total = (found[prior > 0] / prior[prior > 0]).min()
    taken = [np.flatnonzero(rows.labels == label)[: round(total * share)] for label, share in enumerate(prior)]
    return np.sort(np.concatenate(taken))


def _real_side(
    drawer: Drawer, head: FeatureHead, plain: Rows, real: Real | RealSide, mixed: Manifest | None
) -> RealSide | None:
    """Features of the real samples, and their distance from generated ones, whose labels are first brought to the
    prior of the manifest `mixed`; None where the features that were kept are others than this bundle's."""
    if isinstance(real, RealSide):
        space = drawer.space
        if space.source == "random" or space.given is not None or real.features.shape[1] != len(head.center):
            return None
        features, count = real.features, real.samples
    else:
        features, count = drawer.features(real[0]), real[1]
    if mixed is not None:
        plain = plain.take(_as_prior(plain, mixed))
    chosen = np.random.default_rng(0).permutation(len(plain.features))[:KEPT]
    generated = plain.features[chosen]
    if drawer.space.given is not None:  # the conditions of real samples are not known
        generated = drawer.unconditioned(len(chosen), _UNCONDITIONED)
    distance = kernel_distance(head.standardised(features), head.standardised(generated))
    return RealSide(features, count, distance)
