"""The file of published features: it computes what the network of FID does, from weights of the names people have."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from latentserve.training.data import Dataset
from latentserve.training.errors import WeightsError
from latentserve.training.evaluation import inception
from latentserve.training.evaluation.features import file_features
from tests.training.evaluation.inception import Inception, random_inception

WEIGHTS = "pt_inception.pth"


@pytest.fixture(scope="module")
def network() -> Inception:
    return random_inception()


@pytest.fixture(scope="module")
def folder(network: Inception, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights, and the file that is made of them."""
    path = tmp_path_factory.mktemp("inception")
    torch.save(network.state_dict(), path / WEIGHTS)
    inception.write(path / WEIGHTS, path / "inception.onnx")
    return path


@pytest.mark.parametrize("shape", [(1, 28, 28), pytest.param((3, 320, 300), marks=pytest.mark.full)])
def test_its_features_are_those_of_the_network(folder: Path, network: Inception, shape: tuple[int, ...]) -> None:
    """Of samples between the 256 values that a picture has, too, which are brought to them first."""
    pictures = np.random.default_rng(0).integers(0, 256, (2, *shape), np.uint8)
    samples = (pictures.astype(np.float32) + np.float32(0.3)) / np.float32(127.5) - np.float32(1)
    session = onnxruntime.InferenceSession(folder / "inception.onnx", providers=["CPUExecutionProvider"])
    (made,) = session.run(["features"], {"sample": samples})
    expected = network(torch.from_numpy(np.repeat(pictures, 3 // shape[0], axis=1))).numpy()
    assert made.shape == (2, 2048)
    assert np.abs(made - expected).max() < 1e-4 * np.abs(expected).max()
    assert expected.std() > 0.01  # they are no constants


def test_the_evaluation_takes_it_for_grey_digits(folder: Path, digits: Dataset) -> None:
    space = file_features(folder / "inception.onnx", digits)
    assert (space.name, space.identity["width"]) == ("inception", 2048)
    features = space.of(digits.take(slice(0, 3)), None, None)
    assert features.shape == (3, 2048)
    assert np.abs(features[0] - features[1]).max() > 1e-3


def test_files_that_are_something_else_are_one_line(folder: Path, tmp_path: Path) -> None:
    tensors = torch.load(folder / WEIGHTS, weights_only=True)
    mixed = "Mixed_6b.branch7x7_2.conv.weight"
    changed = {
        "torchvision": ({"fc.weight": torch.zeros(1000, 2048)}, "a network of 1,000 classes, as torchvision has it"),
        "broken": ({mixed: torch.full_like(tensors[mixed], torch.nan)}, f"`{mixed}` holds values that are not finite"),
        "other": ({mixed: tensors[mixed][:, :64]}, "no Inception network of FID: "),
    }
    for name, (some, words) in changed.items():
        save_file({key: each.contiguous() for key, each in (tensors | some).items()}, tmp_path / name)
        (tmp_path / name).rename(tmp_path / f"{name}.safetensors")
        with pytest.raises(WeightsError, match=words) as refused:
            inception.write(tmp_path / f"{name}.safetensors", tmp_path / "out.onnx")
        assert "\n" not in str(refused.value)
    save_file({"a": torch.zeros(1)}, tmp_path / "few.safetensors")
    (tmp_path / "thesis.pth").write_text("precious")
    for name, words in (("few.safetensors", "no `Conv2d_1a_3x3.conv.weight`"), ("thesis.pth", "reads no tensors")):
        with pytest.raises(WeightsError, match=words):
            inception.write(tmp_path / name, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.full
def test_from_weights_to_a_distance(folder: Path, run_bundle: Path, tmp_path: Path) -> None:
    """As the page has it, in processes of their own."""
    command = [sys.executable, "-m", "latentserve.training.evaluation.inception", str(tmp_path / "absent.pth")]
    refused = subprocess.run([*command, "--out", "inception.onnx"], cwd=tmp_path, capture_output=True, text=True)
    assert (refused.returncode, refused.stderr) == (1, f"latentserve: {tmp_path / 'absent.pth'}: no such file\n")
    command[-1] = str(folder / WEIGHTS)
    subprocess.run([*command, "--out", "inception.onnx"], cwd=tmp_path, check=True)
    assert (tmp_path / "inception.onnx").read_bytes() == (folder / "inception.onnx").read_bytes()
    words = ["evaluate", str(run_bundle), "--data", "digits", "--samples", "100", "--features", "inception.onnx"]
    subprocess.run([sys.executable, "-m", "latentserve", *words, "--out", "report"], cwd=tmp_path, check=True)
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["features"]["inception"]["width"] == 2048
    assert "frechet_inception" in json.dumps(report)
