"""Networks that a user brings: `network: package.module:Class` in a recipe."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from latentserve.service.cli import cli
from latentserve.training import networks
from latentserve.training.data import Dataset
from latentserve.training.errors import ConfigError
from latentserve.training.export import export_run
from latentserve.training.recipe import load_config
from latentserve.training.recipe.config import Config

MODULE = """
import math

import torch
from torch import nn

class Generator(nn.Module):
    def __init__(self, latent, width, shape, labels):
        super().__init__()
        self.labels = labels
        self.layers = nn.Sequential(nn.Linear(latent + labels, 64), nn.Tanh(), nn.Unflatten(1, shape))

    def forward(self, z, label=None):
        return self.layers(torch.cat([z, nn.functional.one_hot(label, self.labels).float()], dim=1))

class Critic(nn.Module):
    def __init__(self, width, shape, labels):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), width), nn.LeakyReLU(0.2))
        self.score = nn.Linear(width, 1)

    def forward(self, sample, label=None):
        features = self.layers(sample)
        return self.score(features).squeeze(1), features

class Small:
    generator, critic, makes = Generator, Critic, ("image",)

class Sounds(Small):
    makes = ("audio",)

class Critical:
    critic, makes = Critic, ("image",)

class Flat(Small):
    generator = lambda latent, width, shape, labels: Generator(latent, width, [64], labels)

class Unscored(Small):
    critic = lambda width, shape, labels: nn.Flatten()

class Scored(Small):
    class critic(Critic):
        def forward(self, sample, label=None):
            score, features = super().forward(sample, label)
            return score[:, None], features
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of modules that can be imported, as one on PYTHONPATH can."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "own_networks.py").write_text(MODULE)
    (tmp_path / "modules" / "own_broken.py").write_text("import a_package_that_is_not_there")
    monkeypatch.syspath_prepend(tmp_path / "modules")
    return tmp_path / "modules"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("own_absent:Small", "cannot be imported: No module named 'own_absent'"),
        ("own_broken:Small", "cannot be imported: No module named 'a_package_that_is_not_there'"),
        ("own_networks:Large", "the module has no `Large`"),
        ("own_networks:Critical", "has no `generator`; a Family has generator, critic, makes"),
        ("own_networks:Sounds", "makes audio; digits holds samples that are image"),
        ("own_networks:Flat", r"makes \[2, 64\] of 2 z; \[2, 1, 8, 8\] is needed"),
        ("own_networks:Unscored", "cannot be built and run: "),
        ("own_networks:Scored", r"its critic gives \[2, 1\] and \[2, 16\] for 2 samples; a score \[2\]"),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line(tiny: Config, digits: Dataset, network: str, words: str) -> None:
    with pytest.raises(ConfigError, match=f"^`network`: {network}:? {words}") as caught:
        networks.require_fit(tiny.model_copy(update={"network": network}), digits.description)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "network", ["transformer", "own_networks/small.py:Small", "./own:Small", "'own:'", "':Small'", "a b:C"]
)
def test_what_names_no_network_is_refused(tiny_file: Path, network: str) -> None:
    with pytest.raises(ConfigError, match=r"`network`: Input should be 'residual', .* or 'waveform', or module:name$"):
        load_config(str(tiny_file), (f"network={network}",))


@pytest.mark.parametrize("packing", [1, 2])
@pytest.mark.usefixtures("folder")
def test_it_fits(tiny: Config, digits: Dataset, packing: int) -> None:
    config = tiny.model_copy(update={"network": "own_networks:Small", "packing": packing})
    networks.require_fit(config, digits.description)


def test_from_a_recipe_to_a_bundle_and_never_from_the_working_directory(tiny_file: Path, folder: Path) -> None:
    recipe = folder.parent / "own.yaml"
    recipe.write_text(tiny_file.read_text().replace("network: dense", "network: own_networks:Small"))
    train = list(map(str, ("train", recipe, "--set", "images=320", "--out", folder.parent / "run")))
    command = [sys.executable, "-m", "latentserve", *train]
    refused = subprocess.run(command, cwd=folder, env={}, text=True, capture_output=True, check=False)
    assert refused.returncode == 1
    told = refused.stderr.splitlines()[-1]  # packages may have warned of the machine before
    assert told == "latentserve: `network`: own_networks:Small: cannot be imported: No module named 'own_networks'"
    assert not (folder.parent / "run").exists()

    # Here it is on the path, and torch is loaded already.
    trained = CliRunner().invoke(cli, train, catch_exceptions=False)
    assert trained.exit_code == 0, trained.output
    assert export_run(folder.parent / "run", folder.parent / "bundle", reference_samples=600).onnx.critic is not None
