"""What a run is: a recipe (a YAML file) read into one strict, frozen object. Everything is counted in images."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from latentserve.training.recipe.choices import DATASETS, LOSSES, NETWORKS

PositiveInt = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
OWN = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")  # module:name


def one_of(names: Iterable[str], own: bool = False) -> AfterValidator:
    """Lets through one of the names, or with `own` something like module:name; pydantic's own words for the others."""
    *others, last = (f"'{name}'" for name in names)
    expected = f"{', '.join(others)} or {last}" + (", or module:name" if own else "")

    def check(value: str) -> str:
        if value not in names and not (own and OWN.fullmatch(value)):
            raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})
        return value

    return AfterValidator(check)


class Strict(BaseModel):
    """Fields of exactly these types, that stay what they are."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Cosine(Strict):
    """A value that moves from `start` to `end` along half a cosine over the run's images, or over a part of them."""

    start: Annotated[float, Field(ge=0)]
    end: Annotated[float, Field(ge=0)]
    since: Fraction = Field(default=0.0, description="Share of the run's images before which it is `start`.")
    until: Annotated[float, Field(gt=0, le=1)] = Field(default=1.0, description="Share after which it is `end`.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.since >= self.until:
            raise ValueError(f"since {self.since:g} is not before until {self.until:g}")
        return self

    def at(self, images_seen: int, images: int) -> float:
        """The value after `images_seen` of a run's `images` (Loshchilov & Hutter 2017, equation 5)."""
        progress = (images_seen / images - self.since) / (self.until - self.since)
        progress = min(max(progress, 0.0), 1.0)
        return self.end + (self.start - self.end) * 0.5 * (1 + math.cos(math.pi * progress))


PENALISED, UNPENALISED = Cosine(start=1.0, end=0.1), Cosine(start=0, end=0)  # gamma, unless it is stated

Optimizer = Literal["adam", "rmsprop", "sgd"]


class Optimisation(Strict):
    """How one player's weights follow its gradients."""

    optimizer: Optimizer
    lr: Cosine
    beta1: Fraction | None
    beta2: Cosine | None


class CriticOptimisation(Strict):
    """What the critic does in another way than the generator; of another optimiser it states the decays, too."""

    optimizer: Optimizer | None = None
    lr: Cosine | None = None
    beta1: Fraction | None = None
    beta2: Cosine | None = None


class Config(Strict):
    """Everything that decides the weights of a run, apart from the data itself; fields that contradict one another are
    a ValidationError, whoever puts them together."""

    recipe: str = Field(description="Name of the recipe; the file's stem unless stated.")
    data: Annotated[str, one_of(DATASETS)] = Field(description="Data set to learn; `files`: what --data names.")
    size: PositiveInt | None = Field(
        default=None, description="Side in pixels that pictures in files are brought to, frames that audio is cut into."
    )
    label: str | None = Field(default=None, description="Column of a table, or of the hub's pictures, that labels it.")
    network: Annotated[str, one_of(NETWORKS, own=True)] = Field(
        default="residual", description="Family of generator and critic; package.module:Class is one of your own."
    )
    width: PositiveInt = Field(
        description="Units (dense, mixture, tabular) or channels of the largest map (all others) of both networks."
    )
    latent: PositiveInt = Field(description="Dimension of the latent z, drawn from N(0, I).")
    loss: Annotated[str, one_of(LOSSES)] = Field(default="relativistic", description="The game the two networks play.")
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

    def require_ranks(self, ranks: int) -> None:
        """See that so many processes can share a batch. Raises ValueError that begins with the field to change."""
        share, left = divmod(self.batch, ranks)
        if left:
            raise ValueError(f"`batch`: {self.batch} cannot be shared equally by {ranks} ranks")
        part, left = divmod(share, self.accumulate)
        if left:
            whole = f"a rank's share of {share}" if ranks > 1 else f"a batch of {share}"
            raise ValueError(f"`accumulate`: {whole} cannot be cut into {self.accumulate} equal parts")
        if part % self.packing:
            whole = f"a part of {part} of the batch" if part < self.batch else f"a batch of {part}"
            raise ValueError(f"`packing`: {whole} cannot be cut into packs of {self.packing}")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """The same with other fields, validated again."""
        return type(self).model_validate({**dict(self), **(update or {})})

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        """Refuse fields that are each possible and together are not."""
        self._require_loss()
        self._require_optimisation(self.generator_optimisation, "")
        self._require_optimisation(self.critic_optimisation, "critic.")
        self.require_ranks(1)
        return self

    def _require_loss(self) -> None:
        for loss, (_, _, field, because) in LOSSES.items():
            if field is None:
                continue
            stated = getattr(self, field) is not None
            if self.loss != loss and stated:
                raise ValueError(f"`{field}`: belongs to the loss {loss}, not to {self.loss}")
            if self.loss == loss and not stated:
                raise ValueError(f"`{field}`: {loss} needs it: {because}")
            if self.loss == loss and self.penalised:
                raise ValueError(f"`gamma`: {loss} has {field}, which R1 + R2 would work against; set gamma to 0")
        if self.compile and (self.penalised or self.gradient_penalty):
            raise ValueError(
                "`compile`: torch.compile cannot differentiate twice, as gradient penalties do; set gamma to 0"
            )

    def _require_optimisation(self, chosen: Optimisation, of: str) -> None:
        if chosen.optimizer == "adam" and chosen.beta1 is None:
            raise ValueError(f"`{of}beta1`: adam needs it")
        if chosen.optimizer == "sgd" and chosen.beta2 is not None:
            raise ValueError(f"`{of}beta2`: sgd has no second moment to decay")
        if chosen.optimizer != "sgd" and chosen.beta2 is None:
            raise ValueError(f"`{of}beta2`: {chosen.optimizer} needs it")
        if chosen.beta2 is not None and max(chosen.beta2.start, chosen.beta2.end) >= 1:
            raise ValueError(f"`{of}beta2`: a decay is less than 1")
