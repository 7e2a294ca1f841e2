"""The reference: rows find their cell, values their bin in it, and a file that is not of this release is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from latentserve.service.bundle import SampleSpec
from latentserve.service.bundle.golden import pack_arrays, unpack_arrays
from latentserve.service.errors import BundleError
from latentserve.service.watching.classifier import Classifier
from latentserve.service.watching.feature_space import FeatureSpace
from latentserve.service.watching.features import FeatureHead
from latentserve.service.watching.joint_head import JointHead
from latentserve.service.watching.kernel import Distance
from latentserve.service.watching.reference import BINS, Cell, Distribution, RealSide, Reference

SPEC = SampleSpec(kind="array", shape=[12])
CELLS = (Cell(0, 1.0, 1000), Cell(1, 1.0, 1000), Cell(None, 0.7, 1000))
CENTRES = (0.0, 10.0, 20.0)


def known(seed: int = 0) -> Reference:
    """Two labels at truncation 1, both at 0.7; one signal normal around each cell's centre, the other of two values."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(size=(3000, 12)).astype(np.float32)
    space = FeatureSpace.of_samples(samples[:100], SPEC)
    features = space.mapper(SPEC).features(samples, None)
    cells = np.repeat([0, 1, 2], 1000)
    head = FeatureHead.of(space, features, cells, 3, 2)
    labels = rng.integers(0, 2, 400)
    return Reference(
        samples=2000,
        signals={
            "mean": tuple(Distribution.of(rng.normal(centre, 1, 20_000)) for centre in CENTRES),
            "atoms": tuple(Distribution.of((rng.random(20_000) < 0.3).astype(float)) for _ in CENTRES),
        },
        cells=CELLS,
        features=head,
        joint=JointHead.of(head.components(features, cells), cells, 3, 2),
        classifier=Classifier.fit(head.standardised(features[:400]), labels, 2),
        real=RealSide(features[:50], 70, Distance(0.1, 0.05, 0.2)),
    )


def test_a_row_has_the_cell_of_what_was_asked_for() -> None:
    reference = known()
    assert [reference.cell_of(label, 1.0) for label in (0, 1)] == [0, 1]
    assert [reference.cell_of(label, 0.7) for label in (0, 1, None)] == [2, 2, 2]
    assert reference.cell_of(0, 0.8) is None
    labels, truncations = np.array([1, 0, 1, 0]), np.array([1.0, 1.0, 0.7, 0.5])
    assert reference.cells_of(labels, 4, truncations).tolist() == [1, 0, 2, -1]
    assert reference.cells_of(labels, 4, 1.0).tolist() == [1, 0, 1, 0]


def test_pooled_labels_share_a_cell() -> None:
    reference = Reference(10, {}, (Cell(None, 1.0, 10), Cell(None, 0.5, 10)), pooled=True)
    assert reference.cells_of(np.array([0, 7, 900]), 3, 1.0).tolist() == [0, 0, 0]
    assert reference.cells_of(None, 2, 0.5).tolist() == [1, 1]


def test_a_cell_of_all_labels_knows_the_priors_mix_alone() -> None:
    reference = known()
    labels, truncations = np.array([0, 0, 1, 1]), np.array([1.0, 0.7, 1.0, 0.7])
    chosen = np.array([True, True, False, False])
    assert reference.cells_of(labels, 4, truncations, chosen).tolist() == [0, -1, 1, 2]


def test_without_cells_nothing_is_binned() -> None:
    empty = Reference(0, {})
    cells = empty.cells_of(None, 3, 1.0)
    assert cells.tolist() == [-1, -1, -1]
    assert empty.bins({"mean": np.zeros(3)}, cells, np.random.default_rng(0)) == {}


def test_values_are_binned_in_their_rows_cell() -> None:
    reference, rng = known(), np.random.default_rng(1)
    cells = rng.integers(0, 3, 30_000)
    values = {
        "mean": rng.normal(np.array(CENTRES)[cells], 1),
        "atoms": (rng.random(30_000) < 0.3).astype(float),
        "unknown": np.zeros(30_000),
    }
    bins = reference.bins(values, cells, rng)
    assert set(bins) == {"mean", "atoms"}
    for own in bins.values():
        for cell in range(3):
            counts = np.bincount(own[cells == cell], minlength=BINS)
            assert counts.min() > 500 * 0.8  # of 10,000 in 20
            assert counts.max() < 500 * 1.2
    # In another cell's bins they would all be at an end.
    assert (
        reference.bins({"mean": values["mean"][cells == 2]}, np.zeros((cells == 2).sum(), int), rng)["mean"] > 18
    ).all()


def test_rows_without_a_cell_or_a_value_have_no_bin() -> None:
    bins = known().bins({"mean": np.array([0.0, np.nan, 0.0])}, np.array([0, 0, -1]), np.random.default_rng(0))
    assert (bins["mean"] >= 0).tolist() == [True, False, False]


def test_it_comes_back_from_its_file() -> None:
    reference = known()
    content = reference.to_bytes()
    assert content == reference.to_bytes()
    read = Reference.from_bytes(content, ["mean", "atoms"])
    assert (read.samples, read.cells, read.pooled) == (2000, CELLS, False)
    for name, distributions in reference.signals.items():
        for mine, theirs in zip(read.signals[name], distributions, strict=True):
            assert mine.samples == 20_000
            for part in ("edges", "below", "at_most"):
                assert np.array_equal(getattr(mine, part), getattr(theirs, part))
    assert reference.features is not None
    assert read.features is not None
    rows = np.random.default_rng(3).normal(size=(5, 12)).astype(np.float32)
    features = reference.features.space.mapper(SPEC).features(rows, None)
    assert np.array_equal(read.features.space.mapper(SPEC).features(rows, None), features)
    cells = np.array([0, 1, 2, 2, -1])
    np.testing.assert_allclose(
        read.features.components(features, cells), reference.features.components(features, cells), atol=1e-5
    )
    assert reference.joint is not None
    assert read.joint is not None
    vectors = [
        each.joint.vectors(each.features.components(features, cells), cells, np.random.default_rng(4))
        for each in (reference, read)
        if each.joint is not None and each.features is not None
    ]
    np.testing.assert_allclose(vectors[1], vectors[0], atol=1e-4)
    assert read.joint.rows == 1000
    assert read.classifier is not None
    assert read.real is not None
    assert read.real.distance == Distance(0.1, 0.05, 0.2)


def test_a_reference_of_an_older_release_is_named() -> None:
    older: dict[str, Any] = {"samples": np.int64(10)}
    for part in ("edges", "below", "at_most"):
        older[f"mean.{part}"] = np.arange(19.0)
    with pytest.raises(BundleError, match="was made by an older latentserve; export or pack again"):
        Reference.from_bytes(pack_arrays(older), ["mean"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", np.int64(2)),
        ("cells.label", np.zeros(2, np.int64)),
        ("distributions.edges", np.zeros((6, 7))),
        ("distributions.below", np.full((6, 19), np.nan)),
        ("features.whitening", np.zeros((3, 2))),
        ("features.source", np.array("inception")),
        ("joint.offsets", np.zeros((3, 2))),
        ("joint.norms.edges", np.full((3, 19), np.nan)),
        ("joint.unions", np.zeros((4, 7), np.bool_)),
        ("classifier.weights", np.zeros((2, 2))),
        ("real.features", np.zeros(4)),
        ("pooled", None),
    ],
)
def test_a_file_that_is_wrong_is_refused(name: str, value: NDArray[Any] | None) -> None:
    arrays: dict[str, Any] = unpack_arrays(known().to_bytes(), "reference.npz")
    del arrays[name]
    if value is not None:
        arrays[name] = value
    with pytest.raises(BundleError, match=r"reference\.npz: is malformed") as told:
        Reference.from_bytes(pack_arrays(arrays), ["mean"])
    assert "\n" not in str(told.value)


def test_a_signal_that_is_missing_is_named() -> None:
    with pytest.raises(BundleError, match="no distribution of the signal std"):
        Reference.from_bytes(known().to_bytes(), ["mean", "std"])
    for content in (b"", b"nonsense", known().to_bytes()[:100]):
        with pytest.raises(BundleError, match=r"reference\.npz"):
            Reference.from_bytes(content, ["mean"])
