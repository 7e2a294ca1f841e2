import re
from pathlib import Path

import pytest
import yaml

from latentserve.training import networks
from latentserve.training.data import Dataset, load
from latentserve.training.errors import ConfigError
from latentserve.training.recipe import load_config

WASSERSTEIN = ("loss=wasserstein", "clip_weights=0.01", "gamma.start=0", "gamma.end=0")
PENALTY = ("loss=wasserstein-gp", "gradient_penalty=10", "gamma.start=0", "gamma.end=0")
UNPENALISED = ("gamma.start=0", "gamma.end=0")
DOCUMENTED = re.findall(r"```yaml\n(.*?)```", (Path(__file__).parents[3] / "docs" / "training.md").read_text(), re.S)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("loss=wasserstein", *UNPENALISED), "`clip_weights`: wasserstein needs it"),
        (("loss=wasserstein-gp", *UNPENALISED), "`gradient_penalty`: wasserstein-gp needs it"),
        (("clip_weights=0.01",), "`clip_weights`: belongs to the loss wasserstein, not to relativistic"),
        (("loss=hinge", "gradient_penalty=10"), "`gradient_penalty`: belongs to the loss wasserstein-gp, not to hinge"),
        ((*WASSERSTEIN, "gamma.end=0.1"), "`gamma`: wasserstein has clip_weights"),
        ((*PENALTY, "gamma.start=1"), "`gamma`: wasserstein-gp has gradient_penalty"),
        ((*PENALTY, "compile=true"), "`compile`: torch.compile cannot differentiate twice"),
        (("compile=true",), "`compile`: torch.compile cannot differentiate twice"),
        (("optimizer=sgd",), "`beta2`: sgd has no second moment"),
        (("critic.optimizer=sgd", "critic.beta2.start=0.9", "critic.beta2.end=0.9"), "`critic.beta2`: sgd has no"),
        (("critic.optimizer=rmsprop",), "`critic.beta2`: rmsprop needs it"),
        (("beta1=null",), "`beta1`: adam needs it"),
        (("beta2=null",), "`beta2`: adam needs it"),
        (("beta2.end=1",), "`beta2`: a decay is less than 1"),
        (("accumulate=3",), "`accumulate`: a batch of 32 cannot be cut into 3 equal parts"),
        (("batch=33", "packing=2"), "`packing`: a batch of 33 cannot be cut into packs of 2"),
        (("accumulate=16", "packing=4"), "`packing`: a part of 2 of the batch cannot be cut into packs of 4"),
        (("clip=0",), "`clip`: Input should be greater than 0"),
        (("augment=[rotate]",), "`augment.0`: Input should be 'flip', 'translate', 'brightness' or 'contrast'"),
        (("critic.gamma=1",), "unknown key `critic.gamma`"),
    ],
)
def test_a_contradiction_is_named_in_one_line(tiny_file: Path, overrides: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(str(tiny_file), overrides)
    assert f"tiny.yaml: {words}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        WASSERSTEIN,
        PENALTY,
        ("optimizer=sgd", "beta2=null"),
        ("optimizer=rmsprop", "beta1=null"),
        ("critic.optimizer=sgd", "critic.beta1=0.9"),
        ("accumulate=4", "packing=4", "n_critic=5"),
        ("augment=[flip, contrast]", "clip=1.0"),
    ],
)
def test_what_belongs_together_is_let_through(tiny_file: Path, overrides: tuple[str, ...]) -> None:
    load_config(str(tiny_file), overrides)


def test_the_critic_follows_the_generator_but_for_what_is_stated(tiny_file: Path) -> None:
    config = load_config(str(tiny_file), ("critic.lr.start=5e-3", "critic.lr.end=5e-4"))
    assert config.critic_optimisation.lr.start == 5e-3
    assert config.critic_optimisation.beta2 == config.beta2
    assert config.generator_optimisation.lr == config.lr
    other = load_config(str(tiny_file), ("critic.optimizer=sgd",)).critic_optimisation
    assert (other.beta1, other.beta2, other.lr) == (None, None, config.lr)


def test_only_images_are_augmented(tiny_file: Path, digits: Dataset) -> None:
    config = load_config(str(tiny_file), ("augment=[flip]",))
    networks.require_fit(config, digits.description)
    with pytest.raises(ConfigError, match="`augment`: is for images; ring holds samples that are array"):
        networks.require_fit(config, load("ring", None).description)


def test_gamma_is_the_losss_own_unless_stated(tmp_path: Path, tiny_file: Path) -> None:
    plain = "\n".join(line for line in tiny_file.read_text().splitlines() if not line.startswith(("gamma", "loss")))
    path = tmp_path / "plain.yaml"
    path.write_text(plain)
    assert load_config(str(path)).loss == "relativistic"
    assert load_config(str(path)).penalised
    assert not load_config(str(path), ("loss=hinge",)).penalised


@pytest.mark.parametrize("block", DOCUMENTED)
def test_what_the_documentation_shows_can_be_put_into_a_recipe(block: str, tiny_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "documented.yaml"
    stated = yaml.safe_load(block)
    kept = [line for line in tiny_file.read_text().splitlines() if line.partition(":")[0] not in stated]
    path.write_text("\n".join([*kept, block]))
    config = load_config(str(path)).model_dump()
    assert stated.keys() <= {key for key, value in config.items() if value is not None}
