"""Recipes, YAML files that decide what a run is: those beside this one, or a user's, and a run's own `config.yaml`."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from latentserve.training.errors import ConfigError
from latentserve.training.files import replaced
from latentserve.training.recipe.config import Config

# What may differ when a run goes on: it bounds a sitting, decides what is done about a failure yet to come, or what of
# the run is kept.
FREE_TO_CHANGE = {"minutes", "supervise", "keep"}
# Fields that runs do not state which an earlier version began; a run that does without them is written as it was.
YOUNGER = {
    "conditions",
    "folders",
    "broken",
    "background",
    "drop",
    "types",
    "deterministic",
    "grown",
    "keep",
    "hold_out",
    "widest",
    "blocks",
}


def recipes() -> list[str]:
    """Names of the recipes that ship with the package."""
    return sorted(
        Path(entry.name).stem
        for entry in files("latentserve.training.recipe").iterdir()
        if entry.name.endswith(".yaml")
    )


def is_data(named: str) -> bool:
    """Whether what is named is no recipe and no configuration, but something that lies there to be learnt."""
    return named not in recipes() and not named.endswith((".yaml", ".yml")) and Path(named).exists()


def load_config(recipe: str, overrides: tuple[str, ...] = ()) -> Config:
    """Read a shipped recipe by name, or a YAML file by path, and apply `key=value` overrides (`lr.end=1e-5`).

    Raises ConfigError naming the file, and the field, that is wrong.
    """
    if recipe in recipes():
        text = (files("latentserve.training.recipe") / f"{recipe}.yaml").read_text()
    elif recipe.endswith((".yaml", ".yml")):
        try:
            text = Path(recipe).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{recipe}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    else:
        raise ConfigError(f"no recipe `{recipe}`: choose one of {', '.join(recipes())}, or give a .yaml file, or data")
    values = _parse(text, recipe)
    if not isinstance(values, dict):
        raise ConfigError(f"{recipe}: expected keys and values")
    values.setdefault("recipe", Path(recipe).stem)
    for override in overrides:
        _apply(values, override)
    return _validate(values, recipe)


def read_config(path: Path) -> Config:
    """Read back the configuration of a run. Raises ConfigError."""
    try:
        return _validate(_parse(path.read_text(), str(path)), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def write_config(config: Config, path: Path) -> None:
    """Keep the configuration beside the run that it made. Raises RunError."""
    import yaml

    defaults = {name: type(config).model_fields[name].default for name in YOUNGER}
    values = {name: value for name, value in config.model_dump().items() if defaults.get(name, ...) != value}
    with replaced(path) as partial:
        partial.write_text(yaml.safe_dump(values, sort_keys=False))


def first_difference(old: Config, new: Config) -> str | None:
    """The first field in which two configurations would train differently, as `key: old, not new`; None if none."""
    others = new.model_dump()
    for key, value in old.model_dump().items():
        if key not in FREE_TO_CHANGE and value != others[key]:
            return f"`{key}` is {value}, not {others[key]}"
    return None


def _parse(text: str, source: str) -> Any:
    # The parser belongs to the training extra; `latentserve train --help` must not need it.
    import re

    import yaml

    class Loader(yaml.SafeLoader):
        """YAML 1.2's floats: PyYAML alone would read `1e-4` as a string."""

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
    )
    try:
        return yaml.load(text, Loader)  # noqa: S506, a subclass of SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not YAML: {' '.join(str(error).split())}") from None


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"--set {override}: expected key=value")
    *parents, leaf = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override}: `{parent}` has no fields")
    values[leaf] = _parse(text, f"--set {override}")


def _validate(values: Any, source: str) -> Config:
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"{source}: unknown key `{field}`") from None
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{source}: `{field}`: {message}" if field else f"{source}: {message}") from None
