from pathlib import Path

import pytest
from pydantic import ValidationError

from latentserve.training.errors import ConfigError
from latentserve.training.recipe import first_difference, load_config, read_config, recipes, write_config
from latentserve.training.recipe.config import Config, Cosine


def test_every_recipe_loads_under_its_name() -> None:
    assert {"adult", "blobs", "digits", "grid", "mnist", "ring", "stacked-mnist", "waves"} <= set(recipes())
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
        ("network=transformer", "`network`: Input should be 'residual', 'r3gan'"),
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
    with pytest.raises(ConfigError, match="no recipe `cifar`: choose one of adult, blobs, digits, grid, mnist, p"):
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


def test_a_cosine_starts_ends_and_is_half_way_in_the_middle() -> None:
    schedule = Cosine(start=1.0, end=0.2)
    assert [schedule.at(seen, 100) for seen in (0, 50, 100, 130)] == pytest.approx([1.0, 0.6, 0.2, 0.2])


def test_a_schedule_may_span_a_part_of_the_run(tiny_file: Path) -> None:
    schedule = Cosine(start=1.0, end=0.0, since=0.2, until=0.6)
    assert [schedule.at(seen, 100) for seen in (0, 20, 40, 60, 100)] == pytest.approx([1, 1, 0.5, 0, 0])
    with pytest.raises(ValidationError, match=r"since 0\.6 is not before until 0\.6"):
        Cosine(start=1.0, end=0.0, since=0.6, until=0.6)
    with pytest.raises(ConfigError, match=r"tiny\.yaml: `noise`: since 0\.6 is not before until 0\.6$"):
        load_config(str(tiny_file), ("noise={start: 1, end: 0, since: 0.6, until: 0.6}",))


@pytest.mark.parametrize(
    ("update", "words"),
    [
        ({"loss": "wasserstein"}, "`clip_weights`: wasserstein needs it"),
        ({"beta1": None}, "`beta1`: adam needs it"),
        ({"accumulate": 3}, "`accumulate`: a batch of 32"),
        ({"images": -1}, "images"),
    ],
)
def test_no_config_contradicts_itself_whoever_makes_it(tiny: Config, update: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Config(**{**dict(tiny), **update})
    with pytest.raises(ValidationError, match=words):
        tiny.model_copy(update=update)
