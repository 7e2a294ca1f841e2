"""An `.npz` file, however its rows come."""

from __future__ import annotations

import io

import numpy as np
import pytest

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding.npz import Npz
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Rows

SPEC = SampleSpec(kind="array", shape=[2, 3])
N = 7


@pytest.mark.parametrize("slices", [1, 2, 7])
@pytest.mark.parametrize("searched", [False, True])
def test_numpy_reads_it(slices: int, searched: bool) -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(N, 2, 3)).astype(np.float32)
    labels, conditions = rng.integers(0, 3, N), rng.normal(size=(N, 1)).astype(np.float32)
    numbers = np.sort(rng.integers(0, 1 << 40, N)) if searched else None
    provenance = Provenance("toy", "1", 7, 100, labels=["a", "b", "c"], conditions=["energy"])
    document = Npz(N, SPEC, provenance, "float32")
    content = document.opening()
    for place in np.array_split(np.arange(N), slices):
        of = None if numbers is None else numbers[place]
        content += b"".join(document.rows(Rows(samples[place], labels[place], conditions[place], of)))
    content += b"".join(document.closing())
    assert len(content) <= document.size
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        assert sorted(found.files) == ["conditions", "labels", "rows", "samples"]
        assert np.array_equal(found["samples"], samples)
        assert np.array_equal(found["labels"], labels)
        assert np.array_equal(found["conditions"], conditions)
        assert np.array_equal(found["rows"], np.arange(100, 100 + N) if numbers is None else numbers)
        assert found["rows"].dtype == np.int64


def test_what_there_is_not_is_not_there() -> None:
    document = Npz(1, SPEC, Provenance("toy", "1", 7, 0), "float32")
    content = document.opening() + b"".join(document.rows(Rows(np.zeros((1, 2, 3), np.float32))))
    with np.load(io.BytesIO(content + b"".join(document.closing()))) as found:
        assert sorted(found.files) == ["rows", "samples"]
