"""Rows in wide batches are those of fixed ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latentserve.service.bundle import read_bundle
from latentserve.service.sampling.engine import FIXED_BATCH, Engine
from latentserve.service.sampling.placed import WIDEST, Placed
from latentserve.service.sampling.request import RowsRequest


@pytest.mark.parametrize("output", ["sample", "sample_uint8"])
def test_rows_are_those_of_fixed_batches_wherever_they_begin(bundle: Path, output: str):
    engine = Engine(read_bundle(bundle), "cpu", max_batch=WIDEST)
    placed, manifest = Placed(engine), engine.bundle.manifest
    placed.widen(RowsRequest(n=WIDEST).inputs(manifest, 0, WIDEST), output)
    assert placed.batch in (FIXED_BATCH, 64, 256, WIDEST)
    for offset, n in ((0, 3000), (5, 2000), (16, 1), (1023, 1100), (7, 3)):
        inputs = RowsRequest(n=n, seed=3, offset=offset).inputs(manifest, 0, n)
        (fixed,) = engine.run_fixed(inputs, (output,), offset)
        for batch in (FIXED_BATCH, 64, WIDEST):  # what is fastest is another one on another machine
            placed.batch = batch
            (found,) = placed.run(inputs, (output,), offset)
            assert np.array_equal(found, fixed), (offset, n, batch)


def test_too_few_rows_to_be_tried_stay_in_fixed_batches(engine: Engine):
    placed = Placed(engine)
    placed.widen(RowsRequest(n=20).inputs(engine.bundle.manifest, 0, 20), "sample")
    assert placed.batch == FIXED_BATCH
