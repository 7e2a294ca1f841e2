"""Batches on their way to the device are what the data set gives, whoever reads them and when."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from latentserve.training.data import Dataset
from latentserve.training.data.conditions import Conditions
from latentserve.training.run import feeding
from latentserve.training.run.feeding import AHEAD, Feed
from latentserve.training.run.loop import batch_rows

CPU, META = torch.device("cpu"), torch.device("meta")
RNG = np.random.default_rng(0)


def dataset(kind: str) -> Dataset:
    shape = (40, 3, 4, 4)
    labels = RNG.integers(0, 3, 40)
    match kind:
        case "uint8":
            samples, stored = RNG.integers(0, 256, shape, np.uint8), (0.0, 255.0)
        case "int16":
            samples, stored = RNG.integers(-(2**15), 2**15, shape, np.int16), (-(2.0**15), 2.0**15)
        case "int32":
            samples, stored = RNG.integers(-(2**31), 2**31, shape, np.int32), (-(2.0**31), 2.0**31)
        case "big-endian":
            samples, stored = RNG.standard_normal(shape, np.float32).astype(">f4"), None
        case "turned":
            samples, stored = RNG.integers(0, 256, (40, 4, 4, 3), np.uint8).transpose(0, 3, 1, 2), (0.0, 255.0)
        case _:
            samples, stored = RNG.random(shape).astype(kind), (0.0, 1.0)
    return Dataset("random", samples, labels, ["a", "b", "c"], stored_range=stored)


def rows(seed: int, images_seen: int) -> torch.Tensor:
    return batch_rows(40, 8, seed, images_seen)


KINDS = ["uint8", "int16", "int32", "float32", "float64", "float16", "big-endian", "turned"]


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_bit_for_bit_what_the_data_set_gives(
    kind: str, ahead: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dataset(kind)
    if ahead:
        np.save(tmp_path / "samples.npy", data.samples)
        data = replace(data, samples=np.load(tmp_path / "samples.npy", mmap_mode="r"))
        monkeypatch.setattr(feeding, "IN_MEMORY", 0)
    data = replace(data, conditions=Conditions(RNG.standard_normal((40, 1), np.float32), ["x"], [None]))
    feed = Feed(data, nn.Identity(), rows, 8, CPU)
    assert (feed._threads is not None) == ahead
    for seed, seen in [(0, 0), (0, 8), (0, 16), (1, 24), (1, 32), (0, 8)]:  # a supervisor changes the seed
        wanted = rows(seed, seen).numpy()
        batch = feed(seed, seen)
        assert batch.real.dtype == torch.float32
        np.testing.assert_array_equal(batch.real.numpy(), data.take(wanted))
        np.testing.assert_array_equal(batch.label.numpy(), data.labels[wanted])
        np.testing.assert_array_equal(batch.condition.numpy(), data.conditions_of(wanted))
        assert len(feed._ahead) == AHEAD * ahead


def test_bytes_travel_and_are_scaled_where_the_networks_are() -> None:
    """The meta device stands in for a GPU."""
    feed = Feed(dataset("uint8"), nn.Identity(), rows, 8, META)
    assert feed._read(0, 0).real.dtype == torch.uint8
    batch = feed(0, 0)
    assert (batch.real.device.type, batch.real.dtype, batch.label.device.type) == ("meta", torch.float32, "meta")
