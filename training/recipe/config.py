"""What a run is: a recipe (a YAML file) read into one strict, frozen object. Everything is counted in images."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from latentserve.training.errors import ConfigError
from latentserve.training.recipe.contradictions import first_contradiction
from latentserve.training.writing import replaced

PositiveInt = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Cosine(BaseModel):
    """A value that moves from `start` to `end` along half a cosine over the run's images, or over a part of them."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    start: Annotated[float, Field(ge=0)]
    end: Annotated[float, Field(ge=0)]
    since: Fraction = Field(default=0.0, description="Share of the run's images before which it is `start`.")
    until: Annotated[float, Field(gt=0, le=1)] = Field(default=1.0, description="Share after which it is `end`.")

    @model_validator(mode="after")
    def _in_order(self) -> "Cosine":
        if self.since >= self.until:
            raise ValueError(f"since {self.since:g} is not before until {self.until:g}")
        return self


PENALISED, UNPENALISED = Cosine(start=1.0, end=0.1), Cosine(start=0, end=0)  # gamma, unless it is stated

Optimizer = Literal["adam", "rmsprop", "sgd"]


class Optimisation(BaseModel):
    """How one player's weights follow its gradients."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    optimizer: Optimizer
    lr: Cosine
    beta1: Fraction | None
    beta2: Cosine | None


class CriticOptimisation(BaseModel):
    """What the critic does in another way than the generator; of another optimiser it states the decays, too."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    optimizer: Optimizer | None = None
    lr: Cosine | None = None
    beta1: Fraction | None = None
    beta2: Cosine | None = None


class Config(BaseModel):
    """Everything that decides the weights of a run, apart from the data itself."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    recipe: str = Field(description="Name of the recipe; the file's stem unless stated.")
    data: Literal["digits", "ring", "grid", "waves", "mnist", "stacked-mnist", "files"] = Field(
        description="Data set to learn; `files`: what --data names."
    )
    size: PositiveInt | None = Field(
        default=None, description="Side in pixels that pictures in files are brought to, frames that audio is cut into."
    )
    label: str | None = Field(default=None, description="Column of a table, or of the hub's pictures, that labels it.")
    network: Literal["residual", "convolutional", "dense", "mixture", "tabular", "waveform"] = Field(
        default="residual", description="Family of generator and critic."
    )
    width: PositiveInt = Field(
        description="Units (dense, mixture, tabular) or channels of the largest map (all others) of both networks."
    )
    latent: PositiveInt = Field(description="Dimension of the latent z, drawn from N(0, I).")
    loss: Literal[
        "minimax", "non-saturating", "wasserstein", "wasserstein-gp", "least-squares", "hinge", "relativistic"
    ] = Field(default="relativistic", description="The game the two networks play.")
    gamma: Cosine = Field(
        default_factory=lambda stated: PENALISED if stated.get("loss") == "relativistic" else UNPENALISED,
        description="Weight of the zero-centred penalties R1 + R2; 0 to 0 leaves them out, as all but relativistic do.",
    )
    clip_weights: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Of wasserstein: the critic's weights are kept within plus and minus this; 0.01."
    )
    gradient_penalty: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Of wasserstein-gp: weight lambda of its one-centred gradient penalty; 10."
    )
    packing: PositiveInt = Field(default=1, description="Samples that the critic judges together, m of PacGAN.")
    augment: tuple[Literal["flip", "translate", "brightness", "contrast"], ...] = Field(
        default=(),
        strict=False,
        description="What may be done to images that the critic sees, as often as it overfits.",
    )
    noise: Cosine = Field(
        default=Cosine(start=0, end=0), description="Strongest noise on what the critic sees, in the samples' own unit."
    )
    images: PositiveInt = Field(description="Budget: real images shown to the critic; every schedule spans it.")
    minutes: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Bound on the wall clock of one sitting; what is left can be resumed."
    )
    batch: PositiveInt = Field(description="Images in a step.")
    accumulate: PositiveInt = Field(
        default=1, description="Parts that a batch goes through the networks in; their gradients add up to its own."
    )
    n_critic: PositiveInt = Field(default=1, description="Steps of the critic, a batch each, to one of the generator.")
    optimizer: Optimizer = Field(default="adam", description="What both networks' weights are changed by.")
    lr: Cosine = Field(description="Step size.")
    beta1: Fraction | None = Field(
        default=None, description="Adam's decay of the first moment; momentum of rmsprop and sgd, 0 unless stated."
    )
    beta2: Cosine | None = Field(default=None, description="Decay of the second moment, of adam and rmsprop.")
    critic: CriticOptimisation = Field(
        default=CriticOptimisation(), description="optimizer, lr, beta1, beta2 of the critic, where they differ."
    )
    clip: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Largest Euclidean norm of a player's gradient; a longer one is shortened to it."
    )
    precision: Literal["float32", "bf16"] = Field(
        default="float32", description="bf16: networks run in bfloat16 where torch's autocast thinks it safe."
    )
    compile: bool = Field(default=False, description="Whether networks go through torch.compile.")
    ema_half_life: Cosine = Field(description="Half-life of the averaged generator's memory, in images.")
    tick: PositiveInt = Field(description="Images between two lines of stats.jsonl.")
    snapshot: PositiveInt = Field(description="Images between two checkpoints, each with a sample grid.")
    supervise: Annotated[Literal["act", "observe", "off"], BeforeValidator(lambda value: value or "off")] = Field(
        default="act",
        description="Whether a failing run is changed, or its journal only says what would be.",
    )
    seed: Annotated[int, Field(ge=0, lt=2**53)] = Field(default=0, description="Seed of weights, latents and order.")
    threads: PositiveInt = Field(default=2, description="CPU threads; their number is part of the arithmetic.")

    @property
    def penalised(self) -> bool:
        """Whether R1 + R2 have a weight at any time."""
        return self.gamma.start > 0 or self.gamma.end > 0

    @property
    def generator_optimisation(self) -> Optimisation:
        """How the generator's weights are changed."""
        return Optimisation(optimizer=self.optimizer, lr=self.lr, beta1=self.beta1, beta2=self.beta2)

    @property
    def critic_optimisation(self) -> Optimisation:
        """How the critic's are: as the generator's, but for what is stated."""
        stated = {name: value for name, value in self.critic if value is not None}
        common = dict(self.generator_optimisation)
        if stated.get("optimizer", self.optimizer) != self.optimizer:
            common |= {"beta1": None, "beta2": None}  # they would mean something else
        return Optimisation(**(common | stated))


# Kinds of samples that each makes.
MAKES = {
    "residual": ("image",),
    "convolutional": ("image",),
    "dense": ("image", "array", "audio"),
    "mixture": ("array",),
    "tabular": ("table",),
    "waveform": ("audio", "array"),
}

# What may differ when a run goes on: it bounds a sitting, or decides what is done about a failure yet to come.
FREE_TO_CHANGE = {"minutes", "supervise"}


def recipes() -> list[str]:
    """Names of the recipes that ship with the package."""
    return sorted(
        Path(entry.name).stem
        for entry in files("latentserve.training.recipe").iterdir()
        if entry.name.endswith(".yaml")
    )


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
    """Keep the configuration beside the run that it made. Raises RunError."""
    import yaml

    with replaced(path) as partial:
        partial.write_text(yaml.safe_dump(config.model_dump(), sort_keys=False))


def require_fit(config: Config, name: str, kind: str) -> None:
    """See that the networks make what the data set `name` holds. Raises ConfigError."""
    if config.augment and kind != "image":
        raise ConfigError(f"`augment`: is for images; {name} holds samples that are {kind}")
    makes = MAKES[config.network]
    if kind not in makes:
        made = " or ".join(one if one == "audio" else f"{one}s" for one in makes)
        raise ConfigError(f"`network`: {config.network} makes {made}; {name} holds samples that are {kind}")


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
        config = Config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"{source}: unknown key `{field}`") from None
        raise ConfigError(f"{source}: `{field}`: {first['msg']}") from None
    if contradiction := first_contradiction(config):
        raise ConfigError(f"{source}: {contradiction}")
    return config
