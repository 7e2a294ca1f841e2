"""CIFAR's binary files."""

from pathlib import Path

import numpy as np
import pytest

from latentserve.training.data import load
from latentserve.training.errors import DataError
from latentserve.training.fitting import fit

RNG = np.random.default_rng(0)


def records(count: int, before: int) -> np.ndarray:
    labels = np.arange(count * before, dtype=np.uint8).reshape(count, before) % 10
    return np.concatenate([labels, RNG.integers(0, 256, (count, 3072), np.uint8)], axis=1)


@pytest.mark.parametrize(
    ("parts", "before", "names"),
    [
        ({"data_batch_1.bin": 3, "data_batch_2.bin": 2, "test_batch.bin": 4}, 1, "batches.meta.txt"),
        ({"train.bin": 5, "test.bin": 4}, 2, "fine_label_names.txt"),
    ],
)
def test_both_versions(tmp_path: Path, parts: dict[str, int], before: int, names: str) -> None:
    folder = tmp_path / "cifar"
    folder.mkdir()
    written = {name: records(count, before) for name, count in parts.items()}
    for name, content in written.items():
        (folder / name).write_bytes(content.tobytes())
    called = [f"class {at}" for at in range(10 if before == 1 else 100)]
    (folder / names).write_text("\n".join([*called, ""]))
    dataset, part = (load("files", tmp_path, split) for split in ("train", "test"))
    assert (len(dataset), len(part), dataset.label_names) == (5, 4, called)
    train = np.concatenate([content for name, content in written.items() if "test" not in name])
    np.testing.assert_array_equal(dataset.labels, train[:, before - 1])
    np.testing.assert_array_equal(dataset.samples.reshape(5, -1), train[:, before:])
    chosen = fit(tmp_path, gpu=False)
    assert (chosen.recipe, chosen.overrides) == ("pictures-32", ("size=null",))


def test_a_label_that_there_is_not_is_named(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1.bin").write_bytes(bytes([10, *bytes(3072)]) * 2)
    with pytest.raises(DataError, match=r"data_batch_1.bin: label 10; expected 0 to 9"):
        load("files", tmp_path)
