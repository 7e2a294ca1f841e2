"""What a run is: a recipe (a YAML file) read into one strict, frozen object. Everything is counted in images."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.errors import ConfigError

PositiveInt = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Cosine(BaseModel):
    """A value that moves from `start` to `end` along half a cosine over the run's images."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    start: Annotated[float, Field(ge=0)]
    end: Annotated[float, Field(ge=0)]


class Config(BaseModel):
    """Everything that decides the weights of a run, apart from the data itself."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    recipe: str = Field(description="Name of the recipe; the file's stem unless stated.")
    data: Literal["digits", "mnist", "files"] = Field(description="Data set to learn; `files`: what --data names.")
    size: PositiveInt | None = Field(
        default=None, description="Side in pixels that pictures in files are brought to, frames that audio is cut into."
    )
    label: str | None = Field(default=None, description="Column of a table, or of the hub's pictures, that labels it.")
    network: Literal["dense", "convolutional"] = Field(description="Family of generator and critic.")
    width: PositiveInt = Field(description="Units (dense) or base channels (convolutional) of both networks.")
    latent: PositiveInt = Field(description="Dimension of the latent z, drawn from N(0, I).")
    loss: Literal["relativistic", "non-saturating"] = Field(description="The game the two networks play.")
    gamma: Cosine = Field(description="Weight of the zero-centred penalties R1 + R2; 0 to 0 leaves them out.")
    images: PositiveInt = Field(description="Budget: real images shown to the critic; every schedule spans it.")
    minutes: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Bound on the wall clock of one sitting; what is left can be resumed."
    )
    batch: PositiveInt = Field(description="Images in a step.")
    lr: Cosine = Field(description="Adam's step size, the same for both networks.")
    beta1: Fraction = Field(description="Adam's decay of the first moment.")
    beta2: Cosine = Field(description="Adam's decay of the second moment.")
    ema_half_life: Cosine = Field(description="Half-life of the averaged generator's memory, in images.")
    tick: PositiveInt = Field(description="Images between two lines of stats.jsonl.")
    snapshot: PositiveInt = Field(description="Images between two checkpoints, each with a sample grid.")
    seed: Annotated[int, Field(ge=0, lt=2**53)] = Field(default=0, description="Seed of weights, latents and order.")
    threads: PositiveInt = Field(default=2, description="CPU threads; their number is part of the arithmetic.")


# What may differ when a run goes on: it bounds a sitting and decides no weight.
FREE_TO_CHANGE = {"minutes"}


def recipes() -> list[str]:
    """Names of the recipes that ship with the package."""
    return sorted(
        Path(entry.name).stem for entry in files("training.recipes").iterdir() if entry.name.endswith(".yaml")
    )


def load_config(recipe: str, overrides: tuple[str, ...] = ()) -> Config:
    """Read a shipped recipe by name, or a YAML file by path, and apply `key=value` overrides (`lr.end=1e-5`).

    Raises ConfigError naming the file, and the field, that is wrong.
    """
    if recipe in recipes():
        text = (files("training.recipes") / f"{recipe}.yaml").read_text()
    elif recipe.endswith((".yaml", ".yml")):
        try:
            text = Path(recipe).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{recipe}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    else:
        raise ConfigError(f"no recipe `{recipe}`: choose one of {', '.join(recipes())}, or give a .yaml file")
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
    """Keep the configuration beside the run that it made."""
    import yaml

    path.write_text(yaml.safe_dump(config.model_dump(), sort_keys=False))


def require_fit(config: Config, name: str, kind: str) -> None:
    """See that the networks make what the data set `name` holds. Raises ConfigError."""
    if kind != "image":
        raise ConfigError(f"`network`: {config.network} makes images; {name} holds samples that are {kind}")


def first_difference(old: Config, new: Config) -> str | None:
    """The first field in which two configurations would train differently, as `key: old, not new`; None if none."""
    for key, value in old.model_dump().items():
        other = getattr(new, key)
        other = other.model_dump() if isinstance(other, Cosine) else other
        if key not in FREE_TO_CHANGE and value != other:
            return f"`{key}` is {value}, not {other}"
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
        raise ConfigError(f"{source}: `{field}`: {first['msg']}") from None
