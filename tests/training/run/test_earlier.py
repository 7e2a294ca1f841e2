"""A run that an earlier version began, interrupted after 352 of 640 images: `earlier/`, as 1.0's code wrote it."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors import safe_open

from latentserve.training.data import Dataset
from latentserve.training.export import export_run
from latentserve.training.recipe import read_config, write_config
from latentserve.training.run import CHECKPOINT, CONFIG, images_seen, prepare
from latentserve.training.run.loop import train

EARLIER = Path(__file__).parent / "earlier"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EARLIER, tmp_path / "run"))


def names(run: Path) -> tuple[set[str], set[str]]:
    """Of the tensors in a checkpoint, and of the fields in its header."""
    with safe_open(run / CHECKPOINT, framework="np") as file:
        return set(file.keys()), set(json.loads(file.metadata()["latentserve"]))


def test_its_configuration_is_written_as_it_was(run: Path) -> None:
    write_config(read_config(run / CONFIG), run / CONFIG)
    assert (run / CONFIG).read_bytes() == (EARLIER / CONFIG).read_bytes()


def test_it_is_resumed_and_exported(run: Path, digits: Dataset, tmp_path: Path) -> None:
    config = read_config(run / CONFIG)
    prepare(run, config)
    assert images_seen(run) == 352
    assert train(config, digits, run) == 640
    assert names(run) == names(EARLIER)
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    earlier = [json.loads(line) for line in (EARLIER / "stats.jsonl").read_text().splitlines()]
    assert lines[: len(earlier)] == earlier
    assert [line["images"] for line in lines] == [128, 256, 384, 512, 640]
    unheld = {name for name in earlier[-1] if not name.startswith("held_out")}
    assert lines[-1].keys() == unheld | {"seconds_per_kimg", "memory"}
    assert export_run(run, tmp_path / "bundle", reference_samples=600).lineage.images_seen == 640
