"""What a bundle says of itself: the schema of `manifest.json`."""

from __future__ import annotations

import itertools
import json
import math
from datetime import datetime
from functools import cached_property
from typing import Annotated, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from latentserve.service.bundle.forms import Form

SCHEMA_VERSION: Final = 2
READ_VERSIONS: Final = (1, 2)

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=-(2**62), le=2**62)]

_FLOAT32_LARGEST = 3.4e38


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Prior = Literal["normal", "uniform"]
Axis = Annotated[int, Field(ge=1)]


class LatentPart(_Part):
    """Columns of `z` that lie next to each other: one input of the generator as it was brought.

    Attributes:
        name: of that input.
        shape: of a row of it, [] where it is one number; its width is the product.
        prior: standard normal, or uniform on (-1, 1), before scale and shift.
        shift, scale: a drawn number u becomes scale * u + shift.
        truncation: multiplies that of a request.
        noise: drawn in a stream of its own, never truncated, and left out of a client's `latents` if the client likes.
    """

    name: Annotated[str, Field(min_length=1, max_length=256)]
    shape: Annotated[list[Axis], Field(max_length=8)]
    prior: Prior = "normal"
    shift: Finite = 0.0
    scale: Annotated[Finite, Field(gt=0)] = 1.0
    truncation: Annotated[Finite, Field(gt=0, le=1)] = 1.0
    noise: bool = False

    @property
    def width(self) -> int:
        """Columns."""
        return math.prod(self.shape)


class Latent(_Part):
    """What `z` is drawn from: `dim` independent columns.

    Attributes:
        dim: all columns, noise among them.
        prior: of the first part.
        parts: from the first column to the last, noise behind the others; null: one part of `dim` columns.
    """

    dim: Annotated[int, Field(ge=1, le=1 << 24)]
    prior: Prior = "normal"
    parts: Annotated[list[LatentPart], Field(min_length=1, max_length=256)] | None = None

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if self.parts is not None:
            if sum(part.width for part in self.parts) != self.dim:
                raise ValueError("the parts of a latent must have dim columns together")
            if self.parts[0].noise or self.parts[0].prior != self.prior:
                raise ValueError("the first part of a latent is no noise, and has the latent's prior")
            if any(one.noise and not other.noise for one, other in itertools.pairwise(self.parts)):
                raise ValueError("noise comes after the other parts of a latent")
            if len({part.name for part in self.parts}) != len(self.parts):
                raise ValueError("the parts of a latent must have different names")
        return self

    @cached_property
    def pieces(self) -> list[LatentPart]:
        """The parts; of a plain latent the one that it is."""
        return self.parts or [LatentPart(name="z", shape=[self.dim], prior=self.prior)]

    @cached_property
    def width(self) -> int:
        """Columns that are no noise: the first ones of `z`, which a client's `latents` must hold."""
        return sum(part.width for part in self.pieces if not part.noise)


class Condition(_Part):
    """One number that a row is made for: a column of `condition`.

    Attributes:
        name: what clients call it.
        unit: of its values, to be shown.
        range: least and largest value that may be asked for.
        prior: what a value is drawn from where none is asked for, always within the range: uniform; uniform in its
            logarithm; normal, its mean the middle of the range and three deviations to either end; or uniform between
            one of `quantiles` and the next, each as likely.
        quantiles: ascending, from the least value to the largest, of equal steps of probability.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]
    unit: Annotated[str, Field(min_length=1, max_length=32)] | None = None
    range: tuple[Finite, Finite]
    prior: Literal["uniform", "log-uniform", "normal", "quantiles"] = "uniform"
    quantiles: Annotated[list[Finite], Field(min_length=2, max_length=1025)] | None = None

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        low, high = self.range
        if not low < high:
            raise ValueError("the range of a condition must be [low, high] with low < high")
        if max(abs(low), abs(high)) > _FLOAT32_LARGEST:
            raise ValueError("the range of a condition must be of float32 numbers")
        if self.prior == "log-uniform" and low <= 0:
            raise ValueError("a log-uniform condition needs a range above 0")
        if (self.prior == "quantiles") != (self.quantiles is not None):
            raise ValueError("a condition has quantiles if its prior is quantiles, and only then")
        if self.quantiles is not None:
            ascending = all(one <= other for one, other in itertools.pairwise(self.quantiles))
            if not ascending or self.quantiles[0] < low or self.quantiles[-1] > high:
                raise ValueError("the quantiles of a condition must ascend, within its range")
        return self


Category = Annotated[str, Field(max_length=256)] | int | Finite | bool | None
ColumnType = Literal[
    "bool", "string", "float32", "float64",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
]  # fmt: skip


class Column(_Part):
    """One column of a table. A sample holds one number for it: the value itself, or a place in `categories`. In JSON a
    column of which only the name is known is that name.

    Attributes:
        name: what the column is called.
        type: of its values where rows are written out, as numpy and Arrow call it; null: float32.
        categories: the values that places from 0 on stand for, null among them for a missing one.
        decimals: that its values are rounded to.
        missing: the number that stands for a missing value.
        origin, step: a whole number x stands for the value origin + step x, which no single float would hold exactly.
        form: how its values are written; null: as plain numbers.
    """

    name: str
    type: ColumnType | None = None
    categories: Annotated[list[Category], Field(min_length=1)] | None = None
    decimals: Annotated[int, Field(ge=0, le=12)] | None = None
    missing: Finite | None = None
    origin: Whole | None = None
    step: Annotated[Whole, Field(gt=0)] | None = None
    form: Form | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.categories is None:
            if self.type == "bool" or (self.type == "string" and self.form is None):
                raise ValueError(f"a column of type {self.type} needs categories")
            return self
        if self.decimals is not None or self.missing is not None:
            raise ValueError("a column with categories has neither decimals nor a number for missing values")
        if any(of is not None for of in (self.origin, self.step, self.form)):
            raise ValueError("a column with categories has neither origin, step nor form")
        if any(value is not None and type(value) not in _held_as(self.type) for value in self.categories):
            raise ValueError(f"categories must be values of type {self.type}")
        if len({(type(value), value) for value in self.categories}) != len(self.categories):
            raise ValueError("categories must be different values")
        return self

    @model_serializer(mode="wrap")
    def _to_name(self, serialize: SerializerFunctionWrapHandler) -> object:
        told = {key: value for key, value in serialize(self).items() if value is not None}
        return self.name if len(told) == 1 else told


def _held_as(column: ColumnType | None) -> tuple[type, ...]:
    """What the values of a column may be in Python."""
    if column in ("bool", "string"):
        return (bool,) if column == "bool" else (str,)
    return (int,) if column is not None and "int" in column else (int, float)


class SampleSpec(_Part):
    """One sample, without the batch axis. Images are CHW; `value_range` is what black and white are."""

    kind: Literal["image", "table", "audio", "array"]
    shape: Annotated[list[Annotated[int, Field(ge=1)]], Field(max_length=8)]
    value_range: tuple[Finite, Finite] | None = None
    channels: Literal["L", "RGB", "RGBA"] | None = None
    columns: list[Column] | None = None
    sample_rate: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ValueError("value_range must be [low, high] with low < high")
        if self.kind == "image":
            counts = {"L": 1, "RGB": 3, "RGBA": 4}
            if len(self.shape) != 3 or self.channels is None or self.shape[0] != counts[self.channels]:
                raise ValueError("an image needs shape [C, H, W] and channels L, RGB or RGBA that agree with C")
            if self.value_range is None:
                raise ValueError("an image needs a value_range")
        if self.kind == "table" and (self.columns is None or self.shape != [len(self.columns)]):
            raise ValueError("a table needs columns, one for each value of shape [C]")
        if self.kind == "audio" and self.sample_rate is None:
            raise ValueError("audio needs a sample_rate")
        return self


class Tensor(_Part):
    """A graph's input or output; the batch axis is the string `batch`."""

    name: str
    dtype: Literal["float32", "int64"]
    shape: list[int | Literal["batch"]]


class Graph(_Part):
    """The signature of one ONNX file."""

    inputs: list[Tensor]
    outputs: list[Tensor]


class OnnxSpec(_Part):
    """The ONNX files: operator set and signatures.

    `batch_invariant`: whether a row came out bit for bit the same in every batch tried at export (CPU provider).
    `batch`: rows that the generator as it was brought takes at a time, where it takes no other number; null: any.
    `max_batch`: rows of one call on the CPU at the most, by the memory and the time that calls were seen to take at
    export; null: as many as anybody asks for at once.
    """

    opset: int
    generator: Graph
    critic: Graph | None = None
    batch_invariant: bool
    batch: Annotated[int, Field(ge=1)] | None = None
    max_batch: Annotated[int, Field(ge=1)] | None = None


class Lineage(_Part):
    """Where the generator comes from. Unknown parts are null.

    `evaluation`: of a run's bundle, what training saw last of its samples (`images` seen by then, and fields of
    stats.jsonl); of an optimised variant, what that cost.
    """

    dataset: str | None = None
    dataset_sha256: Sha256 | None = None
    recipe: str | None = None
    seed: int | None = None
    images_seen: int | None = None
    pretrained_sha256: list[Sha256] | None = None  # files of weights that training began from
    code_revision: str | None = None
    evaluation: dict[str, JsonValue] | None = None


class Monitor(_Part):
    """What drift is measured against, in `reference.npz`.

    Attributes:
        signals: those that have a distribution.
        reference_samples: made at truncation 1.
        bins: of equal mass, of each distribution.
        cells: labels and truncations that have distributions of their own.
        pooled: whether the labels share them, for want of samples of each.
        truncations: those that have cells.
        features: whose features of a sample; null: there are none.
        components: of the features, whitened; 0: too few samples, or none that vary, for them to be weighed together.
        classifier_accuracy: of the small classifier, on samples held out; null: there is none.
        real_samples: whose features are kept; 0: none.
        real_distance: kernel distance (as KID) between real and generated samples, and its 95 % interval.
        recorded_rows: of which a few values were recorded, to be made again; 0: none.
        condition_bins: where the bins lie in which rows are counted by what was asked for, by condition; samples of the
            reference have conditions from their priors. Null: there are no conditions.
    """

    signals: list[str]
    reference_samples: int
    bins: int
    cells: int = 1
    pooled: bool = False
    truncations: list[float] = [1.0]
    features: Literal["critic", "random"] | None = None
    components: int = 0
    classifier_accuracy: float | None = None
    real_samples: int = 0
    real_distance: tuple[Finite, Finite, Finite] | None = None
    recorded_rows: int = 0
    condition_bins: dict[str, list[Finite]] | None = None


class Manifest(_Part):
    """`manifest.json`. `sha256` covers every other file of the bundle."""

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    name: Name
    version: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    created: datetime
    license: str | None = None
    latent: Latent
    labels: Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(min_length=1)] | None = None
    label_prior: list[Annotated[float, Field(ge=0, allow_inf_nan=False)]] | None = None
    conditions: Annotated[list[Condition], Field(min_length=1, max_length=64)] | None = None
    sample: SampleSpec
    onnx: OnnxSpec
    lineage: Lineage = Lineage()
    monitor: Monitor | None = None
    sha256: dict[FileName, Sha256]

    @cached_property
    def label_places(self) -> dict[str, int]:
        """The index of each label's name."""
        return {name: index for index, name in enumerate(self.labels or ())}

    @cached_property
    def label_bytes(self) -> int:
        """Of the longest label's name as a JSON string of ASCII."""
        return max((len(json.dumps(name)) for name in self.labels or ()), default=0)

    @cached_property
    def condition_names(self) -> list[str]:
        """In order."""
        return [condition.name for condition in self.conditions or ()]

    @cached_property
    def condition_places(self) -> dict[str, int]:
        """The column of each condition's name."""
        return {condition.name: index for index, condition in enumerate(self.conditions or ())}

    @model_validator(mode="after")
    def _is_of_its_version(self) -> Self:
        newer = self.conditions, self.latent.parts, self.onnx.batch, self.onnx.max_batch
        if self.schema_version == 1 and any(told is not None for told in newer):
            raise ValueError("conditions, latent.parts, onnx.batch and onnx.max_batch are of schema_version 2")
        if len(self.condition_places) != len(self.conditions or ()):
            raise ValueError("conditions must have different names")
        return self

    @model_validator(mode="after")
    def _labels_agree(self) -> Self:
        if self.labels is not None and len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must be different names")
        if self.label_prior is not None:
            if self.labels is None or len(self.label_prior) != len(self.labels):
                raise ValueError("label_prior needs one share for each label")
            if not math.isclose(sum(self.label_prior), 1, rel_tol=1e-6):
                raise ValueError("label_prior must sum to 1")
        return self


_LABEL = Tensor(name="label", dtype="int64", shape=["batch"])
SCORE = Tensor(name="score", dtype="float32", shape=["batch"])


def generator_graph(latent: Latent, conditional: bool, conditions: int, sample: SampleSpec) -> Graph:
    """The one signature that a generator of this latent, labels, number of conditions and sample has."""
    z = Tensor(name="z", dtype="float32", shape=["batch", latent.dim])
    return Graph(inputs=[z, *_asked(conditional, conditions)], outputs=[_sample(sample)])


def critic_inputs(conditional: bool, conditions: int, sample: SampleSpec, inputs: list[Tensor]) -> bool:
    """Whether `inputs` are what a critic may take: the sample, and what was asked for or not."""
    asked = _asked(conditional, conditions)
    return inputs[:1] == [_sample(sample)] and inputs[1:] in ([], asked[:1], asked[1:], asked)


def _asked(conditional: bool, conditions: int) -> list[Tensor]:
    condition = Tensor(name="condition", dtype="float32", shape=["batch", conditions])
    return [_LABEL] * conditional + [condition] * (conditions > 0)


def _sample(sample: SampleSpec) -> Tensor:
    return Tensor(name="sample", dtype="float32", shape=["batch", *sample.shape])


def first_fault(error: ValidationError) -> str:
    """The first thing that is wrong with a manifest, its field named, in one line."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "manifest"
    return f"{field}: {first['msg']}"
