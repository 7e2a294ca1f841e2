"""Tables of CTGAN and TVAE (Xu et al. 2019, Modeling Tabular Data using Conditional GAN), as the package `ctgan` trains
them: a live object becomes a module whose rows are the user's columns.

What `ctgan` does around its networks becomes part of the module, and so of the graph: the conditional vector, the
activations, and the inverse of its mode-specific normalisation. What it draws from global generators comes from z, by
columns of noise. Attributes of the object are read, as ctgan 0.10 to 0.12 name them; the package is never imported.
"""

import copy
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import JsonValue, ValidationError
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from latentserve.service.bundle import Column, Latent, LatentPart, Lineage
from latentserve.service.bundle.manifest import ColumnType, first_fault
from latentserve.service.sampling.latents import draw_labels, draw_latents
from latentserve.training.errors import ExportError

LEAST = 2.0**-24  # of a probability, and from 1: float32 has no number between
COMPARED = 20_000  # rows, of which evaluation and training mode are compared
MOST_DECIMALS = 12
LARGEST_WHOLE = 1 << 24  # float32 holds every whole number up to it

_SETTLING_SEED = 1  # the comparison has 0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Coding:
    """How one column is coded, and what a row holds of it.

    Attributes:
        column: As the bundle describes it.
        means: What each entry of its one-hot block stands for: the mean of a mode, or the place of a category.
        widths: By which a number in -1 to 1 moves that: four standard deviations of a mode; 0 of a category.
        number: Whether the block has a number before it.
        decimals: That values are rounded to; None: they are not.
        low, high: Within which values are kept.
    """

    column: Column
    means: list[float]
    widths: list[float]
    number: bool
    decimals: int | None = None
    low: float = -math.inf
    high: float = math.inf


def from_ctgan(model: Any, *, label_column: str | None = None) -> nn.Module:
    """A fitted `ctgan.CTGAN` or `ctgan.TVAE` as a module that `export_bundle` takes as it is:

        export_bundle(from_ctgan(model), "bundles/people", name="people")

    Rows are what `model.sample` gives for the same random numbers, but that CTGAN's generator runs in evaluation mode:
    `sample` leaves it in training mode, in which a row depends on the 499 that share its batch. How far that moves each
    column's distribution is measured, said in a warning, and kept in the bundle's lineage.

    Args:
        model: Fitted. It is left as it is.
        label_column: One of CTGAN's discrete columns, whose categories become the labels: the conditional vector asks
            for the one that a client asks for, which makes it likelier in the row, as `condition_value` of `sample`
            does; batch normalisation then works with averages of rows made for labels. None: the conditional vector is
            drawn as `sample` draws it, by the frequencies in the training data.

    Returns:
        forward(z [B, dim] float32, label [B] int64 if there are labels) -> rows [B, columns] float32: numbers, and
        places of categories. `export_arguments` is what `export_bundle` would have to be told.

    Raises:
        ExportError: The object is not fitted, is another one, or has a column that cannot be served.
    """
    kind = type(model).__name__
    try:
        if hasattr(model, "_generator") and hasattr(model, "_data_sampler"):
            return _ctgan(model, label_column)
        if hasattr(model, "decoder") and hasattr(model, "transformer"):
            if label_column is not None:
                raise ExportError(
                    f"label_column: {kind} has no conditional vector; its rows cannot be asked for by one"
                )
            return TvaeTable(model.decoder, model.embedding_dim, Decode(_codings(model.transformer)))
    except (AttributeError, KeyError, IndexError, TypeError) as error:
        what = " ".join(str(error).split())
        raise ExportError(f"from_ctgan: this {kind} is laid out otherwise than ctgan 0.10 to 0.12: {what}") from error
    if hasattr(model, "_model"):
        raise ExportError(f"from_ctgan: {kind} prepares tables in ways of its own; give its `_model`, a CTGAN or TVAE")
    if hasattr(model, "embedding_dim") and hasattr(model, "decompress_dims"):
        raise ExportError(f"from_ctgan: this {kind} is not fitted yet; call its fit first")
    raise ExportError(f"from_ctgan: {kind} is no CTGAN or TVAE; of a file, `load` of ctgan.CTGAN makes one")


def _ctgan(model: Any, label_column: str | None) -> "CtganTable":
    if model._generator is None or model._data_sampler is None:
        raise ExportError(f"from_ctgan: this {type(model).__name__} is not fitted yet; call its fit first")
    codings = _codings(model._transformer)
    conditional = Conditional(model._data_sampler, codings, label_column)
    table = CtganTable(model._generator, model._embedding_dim, Decode(codings), conditional)
    if label_column is not None:
        _settle(table, model._batch_size)
    arguments = {"labels": conditional.labels, "label_prior": conditional.label_prior}
    table.export_arguments |= arguments | {"lineage": Lineage(evaluation=_compared(table, model._batch_size))}
    return table


class Decode(nn.Module):
    """(numbers [B, S] in -1 to 1, leanings [B, E]) -> rows [B, C] float32. The largest of a block's leanings is the
    entry that is on.

    In double precision, as `ctgan` does it: a value is rounded to float32 once.
    """

    number_at: Tensor  # where the numbers are in what a network gives, int64 [S]
    entry_at: Tensor  # where the entries are, int64 [E]
    means: Tensor  # float64 [E]
    widths: Tensor  # float64 [E]
    first: Tensor  # entry at which each column's block begins, int64 [C]
    number: Tensor  # where each column's number is, or one past the last, int64 [C]
    low: Tensor  # float64 [C]
    high: Tensor  # float64 [C]
    unit: Tensor  # 10 ^ decimals, 1 where there are none, float64 [C]
    rounded: Tensor  # bool [C]

    def __init__(self, codings: Sequence[Coding]) -> None:
        super().__init__()
        self.columns = [coding.column for coding in codings]
        self.sizes = [len(coding.means) for coding in codings]
        self.entries, self.numbers = sum(self.sizes), sum(coding.number for coding in codings)
        # A number comes before each block of modes.
        starts = np.cumsum([0, *(size + coding.number for size, coding in zip(self.sizes, codings, strict=True))])
        number_at = [int(start) for start, coding in zip(starts, codings, strict=False) if coding.number]

        def register(name: str, values: Sequence[float] | NDArray[Any], dtype: torch.dtype) -> None:
            self.register_buffer(name, torch.as_tensor(np.asarray(values)).to(dtype), persistent=False)

        places = np.cumsum([coding.number for coding in codings]) - 1
        self.bounded = any(math.isfinite(coding.low) or math.isfinite(coding.high) for coding in codings)
        register("number_at", number_at, torch.int64)
        register("entry_at", np.setdiff1d(np.arange(starts[-1]), number_at), torch.int64)
        register("means", [value for coding in codings for value in coding.means], torch.float64)
        register("widths", [value for coding in codings for value in coding.widths], torch.float64)
        register("first", np.cumsum([0, *self.sizes[:-1]]), torch.int64)
        register("number", np.where([coding.number for coding in codings], places, self.numbers), torch.int64)
        register("low", [coding.low for coding in codings], torch.float64)
        register("high", [coding.high for coding in codings], torch.float64)
        register("unit", [10.0 ** (coding.decimals or 0) for coding in codings], torch.float64)
        register("rounded", [coding.decimals is not None for coding in codings], torch.bool)

    def split(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """(numbers [B, S], entries [B, E]) of what a network gives, [B, S + E]."""
        return codes.index_select(1, self.number_at), codes.index_select(1, self.entry_at)

    def forward(self, numbers: Tensor, leanings: Tensor) -> Tensor:
        chosen = torch.stack([block.argmax(dim=1) for block in torch.split(leanings, self.sizes, dim=1)], dim=1)
        entry = self.first + chosen
        number = F.pad(numbers.double(), (0, 1)).index_select(1, self.number)
        values = self.means[entry] + self.widths[entry] * number
        if self.bounded:
            values = torch.minimum(torch.maximum(values, self.low), self.high)
        return torch.where(self.rounded, torch.round(values * self.unit) / self.unit, values).float()


class Conditional(nn.Module):
    """The conditional vector, one-hot [B, n] float32 over the categories of all discrete columns; n may be 0.

    `uniform` [B, 1] in (0, 1) chooses it by the shares that `ctgan` samples with, or the label does.
    """

    upto: Tensor  # cumulative shares of all categories but the last, float32 [n - 1]

    def __init__(self, sampler: Any, codings: Sequence[Coding], label_column: str | None) -> None:
        super().__init__()
        self.width = int(sampler.dim_cond_vec()) if hasattr(sampler, "dim_cond_vec") else int(sampler._n_categories)
        shares = np.asarray(sampler._discrete_column_category_prob, np.float64).flatten()
        shares = shares[shares != 0]
        upto = np.cumsum(shares / shares.sum())[:-1] if self.width else shares
        self.register_buffer("upto", torch.from_numpy(upto).float(), persistent=False)
        self.labels: list[str] | None = None
        self.label_prior: list[float] | None = None
        self.label_at = self.label_first = 0
        if label_column is not None:
            self._label(sampler, codings, label_column)

    def _label(self, sampler: Any, codings: Sequence[Coding], label_column: str) -> None:
        names = [coding.column.name for coding in codings if not coding.number]
        if label_column not in names:
            there = f"there are {', '.join(names)}" if names else "there are none"
            raise ExportError(f"label_column: {label_column!r} is no discrete column of this table; {there}")
        self.label_at = [coding.column.name for coding in codings].index(label_column)
        categories = codings[self.label_at].column.categories or []
        at = names.index(label_column)
        counts = np.array([len(rows) for rows in sampler._rid_by_cat_cols[at]], np.float64)
        self.labels = ["missing" if value is None else str(value) or "empty" for value in categories]
        self.label_prior = (counts / counts.sum()).tolist()
        # ctgan's own condition_column looks in _discrete_column_matrix_st, which is 0 for every column.
        self.label_first = int(sampler._discrete_column_cond_st[at])

    @property
    def drawn(self) -> bool:
        """Whether it takes a number to choose it."""
        return self.width > 0 and self.labels is None

    def forward(self, uniform: Tensor, label: Tensor | None) -> Tensor:
        place = (self.upto <= uniform).sum(dim=1) if label is None else self.label_first + label
        return F.one_hot(place, self.width).float()


class Table(nn.Module):
    """What is common to both: z is the network's latent, and noise behind it. `export_arguments` is what
    `export_bundle` would have to be told."""

    def __init__(self, embedding: int, decode: Decode, noise: dict[str, tuple[int, str]]) -> None:
        """`noise`: of each part, how many columns and which prior: uniform is on (0, 1)."""
        super().__init__()
        self.decode = decode
        parts = [LatentPart(name="z", shape=[embedding])]
        for name, (width, prior) in noise.items():
            moved = {"prior": "uniform", "shift": 0.5, "scale": 0.5} if prior == "uniform" else {}
            parts.append(LatentPart.model_validate({"name": name, "shape": [width], "noise": True, **moved}))
        self.latent = Latent(dim=sum(part.width for part in parts), parts=parts)
        self.export_arguments: dict[str, Any] = {"latent": self.latent, "kind": "table", "columns": decode.columns}

    def parts(self, z: Tensor) -> dict[str, Tensor]:
        """Columns of z by the part's name."""
        split = torch.split(z, [part.width for part in self.latent.pieces], dim=1)
        return {part.name: columns for part, columns in zip(self.latent.pieces, split, strict=True)}


class CtganTable(Table):
    """(z [B, dim] float32, label [B] int64) -> rows [B, C] float32.

    Noise: `category`, one number that draws the conditional vector; `choice`, one for each entry of a one-hot block,
    of which its Gumbel noise is made (`ctgan` softens the choice at temperature 0.2, and then takes the largest: the
    same entry at any temperature).
    """

    def __init__(self, generator: nn.Module, embedding: int, decode: Decode, conditional: Conditional) -> None:
        noise = {"category": (1, "uniform")} if conditional.drawn else {}
        super().__init__(embedding, decode, noise | {"choice": (decode.entries, "uniform")})
        self.generator = copy.deepcopy(generator).cpu().eval().requires_grad_(False)
        self.conditional = conditional

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        parts = self.parts(z)
        latent = parts["z"]
        if self.conditional.width:
            latent = torch.cat([latent, self.conditional(parts.get("category"), label)], dim=1)
        codes = self.generator(latent)
        gumbel = -torch.log(-torch.log(parts["choice"].clamp(LEAST, 1 - LEAST)))
        numbers, leanings = self.decode.split(codes)
        rows: Tensor = self.decode(tanh(numbers), leanings + gumbel)
        return rows


class TvaeTable(Table):
    """z [B, dim] float32 -> rows [B, C] float32. Noise: `spread`, one normal number for each column of numbers, by
    which `ctgan` scatters them with the decoder's standard deviations. A category is the first of those whose tanh is
    the largest: of sure decoders float32 has 1 for more than one."""

    sigma: Tensor  # [S]

    def __init__(self, decoder: nn.Module, embedding: int, decode: Decode) -> None:
        super().__init__(embedding, decode, {"spread": (decode.numbers, "normal")} if decode.numbers else {})
        self.decoder = copy.deepcopy(decoder).cpu().eval().requires_grad_(False)
        sigma: Any = self.decoder.sigma
        self.register_buffer("sigma", sigma.detach()[decode.number_at], persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        parts = self.parts(z)
        codes = tanh(self.decoder(parts["z"])[0])
        numbers, leanings = self.decode.split(codes)
        if self.decode.numbers:
            numbers = (numbers + self.sigma * parts["spread"]).clamp(-1, 1)
        rows: Tensor = self.decode(numbers, leanings)
        return rows


def tanh(x: Tensor) -> Tensor:
    """Rounded once: float32 kernels differ in what they give near 1, and so in which of two is the larger."""
    return torch.tanh(x.double()).float()


def _codings(transformer: Any) -> list[Coding]:
    codings = []
    for info in transformer._column_transform_info_list:
        column_type = str(transformer._column_raw_dtypes[info.column_name]).lower()
        activations = [span.activation_fn for span in info.output_info]
        try:
            if activations == ["tanh", "softmax"]:
                codings.append(_numbers(str(info.column_name), column_type, info.transform))
            elif activations == ["softmax"]:
                codings.append(_categories(str(info.column_name), column_type, info.transform.dummies))
            else:
                raise ExportError(f"column {info.column_name}: activations {activations} are none of ctgan's")
        except ValidationError as error:
            raise ExportError(f"column {info.column_name}: {first_fault(error)}") from None
        if sum(span.dim for span in info.output_info) != len(codings[-1].means) + codings[-1].number:
            raise ExportError(f"column {info.column_name}: its transform and its place in the network differ in size")
    return codings


def _numbers(name: str, column_type: str, transform: Any) -> Coding:
    missing = getattr(transform, "null_transformer", None)
    if missing is not None and missing.models_missing_values():
        raise ExportError(f"column {name}: has missing numbers, which ctgan learns but cannot sample")
    valid = np.asarray(transform.valid_component_indicator, bool)
    mixture = transform._bgm_transformer
    means = np.asarray(mixture.means_, np.float64).reshape(-1)[valid]
    stds = np.sqrt(np.asarray(mixture.covariances_, np.float64)).reshape(-1)[valid]
    widths = getattr(transform, "STD_MULTIPLIER", 4) * stds
    largest = float(np.max(np.abs(means) + widths))
    if not largest < np.finfo(np.float32).max:
        raise ExportError(f"column {name}: its values reach {largest:.3g}, which is no finite float32")
    rounds = getattr(transform, "learn_rounding_scheme", False)
    decimals = getattr(transform, "_rounding_digits", None) if rounds else None
    whole = "int" in column_type
    if whole:
        decimals = 0
        if largest > LARGEST_WHOLE:
            log.warning("column %s: whole numbers beyond %d are rounded to float32", name, LARGEST_WHOLE)
    bounded = getattr(transform, "enforce_min_max_values", False)
    told = {
        "name": name,
        "type": column_type if column_type in _TYPES and column_type not in ("bool", "string") else "float64",
        "decimals": None if whole or decimals is None or not 0 <= decimals <= MOST_DECIMALS else decimals,
    }
    return Coding(
        Column.model_validate(told),
        means.tolist(),
        widths.tolist(),
        number=True,
        decimals=decimals,
        low=float(transform._min_value) if bounded else -math.inf,
        high=float(transform._max_value) if bounded else math.inf,
    )


def _categories(name: str, column_type: str, found: Sequence[Any]) -> Coding:
    values = [_plain(value) for value in found]
    present = [value for value in values if value is not None]
    types = {type(value) for value in present}
    if types == {bool}:
        column_type = "bool"
    elif types == {int}:
        column_type = column_type if "int" in column_type and column_type in _TYPES else "int64"
    elif types and types <= {int, float}:
        column_type = column_type if column_type == "float32" else "float64"
    else:
        column_type = "string"
        values = [None if value is None else str(value) for value in values]
    column = Column.model_validate({"name": name, "type": column_type, "categories": values})
    places = [float(place) for place in range(len(values))]
    return Coding(column, places, [0.0] * len(values), number=False)


_TYPES = get_args(ColumnType)


def _plain(value: Any) -> Any:
    """A category as Python has it; None where it is missing."""
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(np.datetime_as_string(value, unit="auto"))
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, str):
        return value
    return None if value is None or str(value) in ("NaT", "<NA>") or value != value else value


def _settle(table: CtganTable, batch: int) -> None:
    """Let batch normalisation work with the averages of rows made for labels: in training every column was asked for in
    turn, and those of Adult's two classes are off by 0.06 in a column's probabilities with the averages of that."""
    for part in table.generator.modules():
        if isinstance(part, _BatchNorm):
            part.reset_running_stats()
            part.momentum = None  # all batches count alike
    table.generator.train()
    with torch.no_grad():
        for start in range(0, COMPARED, batch):
            table(*_drawn(table, _SETTLING_SEED, start, batch))
    table.generator.eval()


def _drawn(table: CtganTable, seed: int, start: int, rows: int) -> tuple[Tensor, Tensor | None]:
    """Latents and, if there are any, labels."""
    z = torch.from_numpy(draw_latents(table.latent, seed, start, rows))
    prior = table.conditional.label_prior
    if prior is None:
        return z, None
    return z, torch.from_numpy(draw_labels(table.latent.width, prior, seed, start, rows))


def _compared(table: CtganTable, batch: int) -> dict[str, JsonValue] | None:
    """How far each column's distribution in training mode, in batches of so many rows, is from that in evaluation mode,
    which is served. Of numbers it is the Kolmogorov-Smirnov distance, of categories the total variation: both are the
    most that a probability differs by. The random numbers are the same. With labels, how many rows have theirs."""
    by_batch = copy.deepcopy(table)
    by_batch.generator.train()
    drawn = [_drawn(table, 0, start, batch) for start in range(0, COMPARED, batch)]
    with torch.no_grad():
        rows, others = (torch.cat([one(z, label) for z, label in drawn]).numpy() for one in (table, by_batch))
    found: dict[str, JsonValue] = {}
    if table.conditional.labels is not None:
        labels = torch.cat([label for _, label in drawn if label is not None]).numpy()
        found["rows_of_their_label"] = round(float((rows[:, table.conditional.label_at] == labels).mean()), 6)
    if any(isinstance(part, _BatchNorm) for part in table.generator.modules()):
        columns = table.decode.columns
        distances = [_distance(rows[:, at], others[:, at], columns[at]) for at in range(len(columns))]
        mean, worst = float(np.mean(distances)), int(np.argmax(distances))
        log.warning(
            "rows are CTGAN's in evaluation mode, each by itself; its `sample` normalises them by their batch of %d. "
            "The two differ, as the largest difference of a column's probability, by %.3f on average and by %.3f in %s",
            *(batch, mean, distances[worst], columns[worst].name),
        )
        found["training_mode_distance"] = round(mean, 6)
        found["training_mode_distance_largest"] = round(distances[worst], 6)
        found["training_mode_distance_column"] = columns[worst].name
    return found or None


def _distance(one: NDArray[np.float32], other: NDArray[np.float32], column: Column) -> float:
    values = np.unique(np.concatenate([one, other]))
    shares = [np.bincount(np.searchsorted(values, part), minlength=len(values)) / len(part) for part in (one, other)]
    difference = shares[0] - shares[1]
    if column.categories is not None:
        return float(np.abs(difference).sum() / 2)
    return float(np.abs(np.cumsum(difference)).max())
