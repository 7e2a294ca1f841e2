import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from latentserve.training import networks
from latentserve.training.data import Dataset
from latentserve.training.errors import RunError, WeightsError
from latentserve.training.export import export_run
from latentserve.training.recipe import write_config
from latentserve.training.recipe.config import Config
from latentserve.training.run import checkpoint, loop, pretrained

CPU = torch.device("cpu")


@pytest.fixture
def short(tiny: Config) -> Config:
    return tiny.model_copy(update={"images": 64, "network": "residual", "width": 2})


@pytest.fixture
def file(short: Config, digits: Dataset, tmp_path: Path) -> Path:
    """The checkpoint of a run."""
    (tmp_path / "first").mkdir()
    loop.train(short, digits, tmp_path / "first")
    return tmp_path / "first" / "checkpoint.safetensors"


def weights_of(state: checkpoint.State, name: str) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = state.networks[name].state_dict()
    return weights


def filled(paths: list[Path], config: Config, dataset: Dataset) -> checkpoint.State:
    state = loop.construct(config.model_copy(update={"seed": 5}), dataset.description, CPU)
    pretrained.read(paths, config, dataset.description).fill(state)
    return state


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_a_run_begins_from_anothers_checkpoint_and_its_bundle_says_so(
    short: Config, digits: Dataset, file: Path, tmp_path: Path
) -> None:
    held = load_file(file)
    state = filled([file], short, digits)
    for name in ("generator", "critic", "average"):
        for key, tensor in weights_of(state, name).items():
            assert torch.equal(tensor, held[f"{name}.{key}"])
    assert not state.generator_optimizer.state
    run = tmp_path / "second"
    run.mkdir()
    short = short.model_copy(update={"seed": 1})
    initial = pretrained.read([file], short, digits.description)
    write_config(short, run / "config.yaml")
    loop.train(short, digits, run, lambda: True, initial=initial)
    loop.train(short, digits, run, initial=initial)  # and is resumed with the same command
    loop.train(short, digits, run)
    manifest = export_run(run, tmp_path / "bundle", reference_samples=600)
    began = [hashlib.sha256(file.read_bytes()).hexdigest()]
    assert manifest.lineage.pretrained_sha256 == began
    assert began[0] in (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    with pytest.raises(RunError, match="began from other weights than --init holds now"):
        loop.train(short, digits, run, initial=initial._replace(sha256=["0" * 64]))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_plain_files_of_one_network_are_told_apart(short: Config, digits: Dataset, tmp_path: Path, suffix: str) -> None:
    made = dict(zip(("generator", "critic"), networks.build(short, digits.description), strict=True))
    for name, network in made.items():
        save = save_file if suffix == ".safetensors" else torch.save
        save(network.state_dict(), tmp_path / f"{name}{suffix}")
    state = filled([tmp_path / f"generator{suffix}", tmp_path / f"critic{suffix}"], short, digits)
    for name, network in made.items():
        assert_same(weights_of(state, name), network.state_dict())
    assert_same(weights_of(state, "average"), made["generator"].state_dict())
    assert len(state.pretrained) == 2
    alone = filled([tmp_path / f"critic{suffix}"], short, digits)
    assert not torch.equal(alone.generator.state_dict()["start"], made["generator"].state_dict()["start"])


def test_dictionaries_of_state_dicts_are_read_and_what_else_they_hold_is_left(
    short: Config, digits: Dataset, tmp_path: Path
) -> None:
    generator, critic = networks.build(short, digits.description)
    content = {"average": generator.state_dict(), "critic": critic.half().state_dict(), "epoch": 3, "notes": ["a"]}
    torch.save(content, tmp_path / "all.pt")
    state = filled([tmp_path / "all.pt"], short, digits)
    assert_same(weights_of(state, "generator"), generator.state_dict())
    assert {tensor.dtype for tensor in weights_of(state, "critic").values()} == {torch.float32}


class Anything:
    """What only unpickling would bring back."""


def test_what_does_not_fit_is_one_line_with_the_file_and_the_first_tensor(
    short: Config, digits: Dataset, file: Path, tmp_path: Path
) -> None:
    generator, _ = networks.build(short, digits.description)
    own = generator.state_dict()
    start = own["start"]
    cases: dict[str, tuple[object, str]] = {
        "wide.safetensors": (
            own | {"start": torch.zeros(9, 4, 4)},
            "`start` is [9, 4, 4]; the configuration's generator",
        ),
        "less.safetensors": ({key: own[key] for key in own if key != "start"}, "no `start`, which the configuration's"),
        "more.safetensors": (own | {"other": start.clone()}, "`other`, which the configuration's generator has not"),
        "nan.safetensors": (own | {"start": start * torch.nan}, "`start` of the generator holds values that are not"),
        "other.safetensors": ({"a.b": torch.zeros(1)}, "`a.b` is no tensor of the configuration's networks"),
        "empty.pt": ({}, "holds no tensors"),
        "object.pt": (Anything(), "torch reads no tensors alone from it"),
    }
    for name, (content, words) in cases.items():
        save = torch.save if name.endswith(".pt") else save_file
        save(content, tmp_path / name)
        with pytest.raises(WeightsError) as caught:
            pretrained.read([tmp_path / name], short, digits.description)
        assert str(caught.value).startswith(f"{tmp_path / name}: {words}")
        assert "\n" not in str(caught.value)
    wider = short.model_copy(update={"width": 8})
    with pytest.raises(WeightsError, match=r"checkpoint\.safetensors: `start` is \[4, 4, 4\]; .* has \[16, 4, 4\]"):
        pretrained.read([file], wider, digits.description)


@pytest.mark.parametrize("name", ["file.safetensors", "file.pt", "file.bin"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + b"\xff" * 50, b"\xff" * 100])
def test_a_file_that_is_something_else_is_one_line(
    short: Config, digits: Dataset, tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name) as caught:
        pretrained.read([tmp_path / name], short, digits.description)
    assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match="absent: no such file"):
        pretrained.read([tmp_path / "absent"], short, digits.description)
