"""What a run is: a recipe (a YAML file) read into one strict, frozen object. Everything is counted in images."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from latentserve.training.recipe.choices import DATASETS, LOSSES, NETWORKS

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
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


class Grown(Strict):
    """A run was made longer: after `at` images seen of a budget of `images`."""

    at: PositiveInt
    images: PositiveInt


class Cosine(Strict):
    """A value that moves from `start` to `end` along half a cosine over the run's images, or over a part of them."""

    start: Annotated[float, Field(ge=0)]
    end: Annotated[float, Field(ge=0)]
    since: Fraction = 0.0  # share of the run's images before which it is `start`
    until: Annotated[float, Field(gt=0, le=1)] = 1.0  # share after which it is `end`

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.since >= self.until:
            raise ValueError(f"since {self.since:g} is not before until {self.until:g}")
        return self

    def at(self, images_seen: int, images: int, grown: Sequence[Grown] = ()) -> float:
        """The value after `images_seen` of a run's `images` (Loshchilov & Hutter 2017, equation 5).

        Where the run has grown, the value goes on from what it was then: it stays at its end if it had come there, and
        else moves there over the same shares of the new budget. It never jumps, and never goes back.
        """
        if not grown:
            return self._moved(self.start, (images_seen / images - self.since) / (self.until - self.since))
        *earlier, last = grown
        if images_seen <= last.at:
            return self.at(images_seen, last.images, earlier)
        if last.at >= self.until * last.images:
            return self.end
        begin, end = max(last.at, self.since * images), self.until * images
        return self._moved(self.at(last.at, last.images, earlier), (images_seen - begin) / (end - begin))

    def _moved(self, start: float, progress: float) -> float:
        """The value at a share of the way from `start` to the end."""
        return self.end + (start - self.end) * 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


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

    recipe: str  # name of the recipe; the file's stem unless stated
    data: Annotated[str, one_of(DATASETS)]  # data set to learn; `files`: what --data names
    size: PositiveInt | None = (
        None  # side in pixels that pictures in files are brought to, frames that audio is cut into
    )
    label: str | None = None  # column of a table, or of the hub's pictures, that labels it
    conditions: bool = True  # whether the numbers that samples are made for are learnt, where the data have any
    folders: Literal["auto", "classes", "innermost", "names", "none"] = (
        "auto"  # what folders of files are, where they do not look like it
    )
    broken: Literal["refuse", "skip"] = "refuse"  # what is done about files that cannot be read
    background: str = "white"  # colour that transparent pictures are laid on
    drop: Annotated[tuple[str, ...], Field(strict=False)] = ()  # columns of a table that are left out
    # COLUMN=number, COLUMN=category, or how a column's dates are written: COLUMN=%d/%m/%Y.
    types: Annotated[tuple[str, ...], Field(strict=False)] = ()
    hold_out: Fraction = 0.0  # share of the samples that is held out, where the data have no part for that
    network: Annotated[str, one_of(NETWORKS, own=True)] = "residual"  # generator and critic; module:Class is your own
    width: PositiveInt  # units (dense, mixture, tabular) or channels of the largest map (all others) of both networks
    widest: PositiveInt | None = None  # of r3gan: channels of the smallest maps at the most; 768
    blocks: PositiveInt | None = None  # of r3gan: residual blocks of each map; 2
    latent: PositiveInt  # dimension of the latent z, drawn from N(0, I)
    loss: Annotated[str, one_of(LOSSES)] = "relativistic"  # the game the two networks play
    # Weight of the zero-centred penalties R1 + R2; 0 to 0 leaves them out, as all but relativistic do unless stated.
    gamma: Cosine = Field(
        default_factory=lambda stated: PENALISED if stated.get("loss") == "relativistic" else UNPENALISED
    )
    clip_weights: PositiveFloat | None = None  # of wasserstein: largest size of the critic's weights; 0.01
    gradient_penalty: PositiveFloat | None = None  # of wasserstein-gp: weight lambda of its one-centred penalty; 10
    packing: PositiveInt = 1  # samples that the critic judges together, m of PacGAN
    # What may be done to images that the critic sees, as often as it overfits.
    augment: tuple[Literal["flip", "translate", "brightness", "contrast"], ...] = Field(default=(), strict=False)
    noise: Cosine = UNPENALISED  # strongest noise on what the critic sees, in the samples' own unit
    images: PositiveInt  # budget: real images shown to the critic; every schedule spans it
    grown: Annotated[tuple[Grown, ...], Field(strict=False)] = ()  # the smaller budgets before; a longer run writes it
    minutes: PositiveFloat | None = None  # bound on the wall clock of one sitting; what is left can be resumed
    batch: PositiveInt  # images in a step
    accumulate: PositiveInt = 1  # parts that a batch goes through the networks in; their gradients add up to its own
    n_critic: PositiveInt = 1  # steps of the critic, a batch each, to one of the generator
    optimizer: Optimizer = "adam"  # what both networks' weights are changed by
    lr: Cosine  # step size
    beta1: Fraction | None = None  # adam's decay of the first moment; momentum of rmsprop and sgd, 0 unless stated
    beta2: Cosine | None = None  # decay of the second moment, of adam and rmsprop
    critic: CriticOptimisation = CriticOptimisation()  # optimizer, lr, beta1, beta2 of the critic, where they differ
    clip: PositiveFloat | None = None  # largest Euclidean norm of a player's gradient; a longer one is shortened to it
    precision: Literal["float32", "bf16", "fp16"] = "float32"  # that networks run in where autocast thinks it safe
    compile: bool | Literal["generator"] = False  # what goes through torch.compile: both networks, or one alone
    deterministic: bool = True  # whether kernels that may give other bits from run to run are left out
    ema_half_life: Cosine  # half-life of the averaged generator's memory, in images
    tick: PositiveInt  # images between two lines of stats.jsonl
    snapshot: PositiveInt  # images between two checkpoints, each with a sample grid
    keep: Annotated[int, Field(ge=0)] = 0  # networks of the last so many snapshots that are kept, and of the best one
    # Whether a failing run is changed, or its journal only says what would be. YAML 1.1 reads `off` as false.
    supervise: Annotated[Literal["act", "observe", "off"], BeforeValidator(lambda value: value or "off")] = "observe"
    seed: Annotated[int, Field(ge=0, lt=2**53)] = 0  # of weights, latents and order
    threads: PositiveInt = 2  # of the CPU; their number is part of the arithmetic

    @property
    def reading(self) -> dict[str, Any]:
        """How files are read, as `latentserve.training.data.load` takes it."""
        names = ("size", "label", "conditions", "folders", "broken", "background", "drop", "types", "hold_out")
        return {name: getattr(self, name) for name in names}

    @property
    def sizes(self) -> dict[str, int]:
        """What it states of its networks' size that only some families know."""
        stated = {"widest": self.widest, "blocks": self.blocks}
        return {name: value for name, value in stated.items() if value is not None}

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

    @property
    def planned(self) -> int:
        """The first budget, by shares of which a run is supervised, however long it becomes."""
        return self.grown[0].images if self.grown else self.images

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
        steps = [(0, 0), *((one.at, one.images) for one in self.grown), (self.images + self.batch, self.images)]
        if any(at > more or images >= larger for (at, images), (more, larger) in pairwise(steps)):
            raise ValueError("`grown`: each budget is larger than the one before, and was seen to a later image")
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
        if self.compile is True and (self.penalised or self.gradient_penalty):
            raise ValueError(
                "`compile`: torch.compile cannot differentiate twice, as gradient penalties do; set gamma to 0, or "
                "compile to generator"
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
