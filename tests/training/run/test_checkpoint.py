import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from latentserve.training import networks
from latentserve.training.data import Dataset
from latentserve.training.errors import RunError
from latentserve.training.recipe.config import Config
from latentserve.training.run import checkpoint, loop

CPU = torch.device("cpu")


def trained(config: Config, dataset: Dataset, folder: Path) -> Path:
    loop.train(config, dataset, folder)
    return folder / "checkpoint.safetensors"


@pytest.mark.parametrize("network", ["dense", "convolutional"])
def test_a_state_survives_being_saved(tiny: Config, digits: Dataset, tmp_path: Path, network: str) -> None:
    config = tiny.model_copy(update={"network": network, "images": 96})
    path = trained(config, digits, tmp_path)
    state = loop.construct(config, digits.description, CPU)
    checkpoint.load(path, state, digits.description)
    assert state.images_seen == 96
    again = tmp_path / "again.safetensors"
    checkpoint.save(again, state, digits.description)
    assert again.read_bytes() == path.read_bytes()
    for parameter in state.generator.parameters():
        moments = state.generator_optimizer.state[parameter]
        assert set(moments) == {"step", "exp_avg", "exp_avg_sq"}
        assert moments["exp_avg"].stride() == parameter.stride()


def test_other_data_is_refused(tiny: Config, digits: Dataset, tmp_path: Path) -> None:
    path = trained(tiny.model_copy(update={"images": 32}), digits, tmp_path)
    other = Dataset("digits", -digits.samples, digits.labels, digits.label_names)
    with pytest.raises(RunError, match="trained on other data"):
        checkpoint.load(path, loop.construct(tiny, other.description, CPU), other.description)


def test_a_damaged_or_foreign_file_is_one_line(tiny: Config, digits: Dataset, tmp_path: Path) -> None:
    path = trained(tiny.model_copy(update={"images": 32}), digits, tmp_path)
    content = path.read_bytes()
    state = loop.construct(tiny, digits.description, CPU)
    for damaged in (b"", content[: len(content) // 2], b"\xff" * 100):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match=r"checkpoint\.safetensors: cannot be read") as caught:
            checkpoint.load(path, state, digits.description)
        assert "\n" not in str(caught.value)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(RunError, match="not a checkpoint of this version"):
        checkpoint.load(path, state, digits.description)


def test_a_folder_that_takes_no_file_is_one_line(tiny: Config, digits: Dataset, tmp_path: Path) -> None:
    state = loop.construct(tiny, digits.description, CPU)
    with pytest.raises(RunError, match="cannot be written") as caught:
        checkpoint.save(tmp_path / "absent" / "checkpoint.safetensors", state, digits.description)
    assert "\n" not in str(caught.value)


def test_networks_of_another_shape_are_refused(tiny: Config, digits: Dataset, tmp_path: Path) -> None:
    path = trained(tiny.model_copy(update={"images": 32}), digits, tmp_path)
    wider = loop.construct(tiny.model_copy(update={"width": 24}), digits.description, CPU)
    with pytest.raises(RunError, match="its `generator` does not fit"):
        checkpoint.load(path, wider, digits.description)


def test_saving_leaves_no_partial_file_and_says_what_it_holds(tiny: Config, digits: Dataset, tmp_path: Path) -> None:
    path = trained(tiny.model_copy(update={"images": 32}), digits, tmp_path)
    assert not list(tmp_path.glob("*.partial"))
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["latentserve"])
    assert header["images_seen"] == 32
    assert header["dataset"]["name"] == "digits"


@pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")
@pytest.mark.parametrize(("fused", "where"), [(True, "meta"), (False, "cpu")])
def test_the_steps_of_an_optimiser_are_counted_where_it_counts_them(
    tiny: Config, digits: Dataset, tmp_path: Path, fused: bool, where: str
) -> None:
    """A fused step on a GPU wants them there; the meta device stands in for one."""
    path = trained(tiny.model_copy(update={"images": 32}), digits, tmp_path)
    with torch.device("meta"):
        generator, critic = networks.build(tiny, digits.description)
    of = [torch.optim.Adam(network.parameters()) for network in (generator, critic)]
    for optimizer in of:
        optimizer.param_groups[0]["fused"] = fused  # which asks for a device that computes, where it is built
    state = checkpoint.State(generator, critic, generator, *of)
    checkpoint.load(path, state, digits.description)
    for optimizer, network in zip(of, (generator, critic), strict=True):
        for parameter in network.parameters():
            moments = optimizer.state[parameter]
            assert moments["step"].device.type == where
            assert moments["step"].dtype == torch.float32
            assert all(moments[name].device.type == "meta" for name in ("exp_avg", "exp_avg_sq"))
            assert moments["exp_avg"].stride() == parameter.stride()
