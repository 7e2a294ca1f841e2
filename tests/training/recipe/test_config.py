from pathlib import Path

import pytest

from latentserve.training.errors import ConfigError
from latentserve.training.recipe.config import first_difference, load_config, read_config, recipes, write_config


def test_every_recipe_loads_under_its_name() -> None:
    assert {"adult", "digits", "grid", "mnist", "ring", "stacked-mnist", "waves"} <= set(recipes())
    for recipe in recipes():
        assert load_config(recipe).recipe == recipe


def test_set_changes_fields_and_inner_fields() -> None:
    config = load_config("digits", ("images=1000", "lr.end=1e-5", "minutes=2.5"))
    assert (config.images, config.lr.end, config.minutes) == (1000, 1e-5, 2.5)
    assert config.lr.start == load_config("digits").lr.start


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("imagse=3", "unknown key `imagse`"),
        ("images=many", "`images`: Input should be a valid integer"),
        ("images=2.5", "`images`: Input should be a valid integer"),
        ("images=-1", "`images`: Input should be greater than 0"),
        ("lr.stop=1", "unknown key `lr.stop`"),
        ("lr=1", "`lr`: "),
        ("images.low=1", "`images` has no fields"),
        ("network=transformer", "`network`: Input should be 'residual', 'convolutional'"),
        ("images", "expected key=value"),
        ("images=[", "not YAML"),
        ("lr.end=.nan", "`lr.end`: Input should be a finite number"),
        ("seed=true", "`seed`: Input should be a valid integer"),
    ],
)
def test_a_wrong_set_is_named_in_one_line(override: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("digits", (override,))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_images_get_residual_networks_unless_others_are_stated(tiny_file: Path, tmp_path: Path) -> None:
    unstated = tiny_file.read_text().replace("network: dense\n", "")
    (tmp_path / "unstated.yaml").write_text(unstated)
    assert load_config(str(tmp_path / "unstated.yaml")).network == "residual"


@pytest.mark.parametrize("content", ["", "- a\n- b", "data: [", "\x00", "data: digits"])
def test_a_wrong_file_is_named_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"mine\.yaml") as caught:
        load_config(str(path))
    assert "\n" not in str(caught.value)


def test_an_unknown_recipe_or_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no recipe `cifar`: choose one of adult, digits, grid, mnist, ring"):
        load_config("cifar")
    with pytest.raises(ConfigError, match=r"absent\.yaml: cannot be read: No such file"):
        load_config(str(tmp_path / "absent.yaml"))


def test_a_configuration_survives_being_written(tmp_path: Path) -> None:
    config = load_config("mnist", ("seed=7",))
    write_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == config


def test_first_difference_names_the_key_and_leaves_minutes_free() -> None:
    config = load_config("digits")
    assert first_difference(config, load_config("digits", ("minutes=1",))) is None
    assert first_difference(config, load_config("digits", ("seed=3",))) == "`seed` is 0, not 3"
