"""What may be asked for, by the routes' own names; `docs/http.md` and `docs/interpolation.md` say what each is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

Label = int | str  # an index, or a name
Condition = Mapping[str, float]  # numbers by name


class AnswerFields(TypedDict, total=False):
    """Of which model, and how exactly."""

    model: str | None
    version: str | None
    deterministic: bool | None


class SampleFields(AnswerFields, total=False):
    """Of `POST /v1/samples`, beside `n` and `seed`; latents, labels and conditions may be arrays."""

    offset: int | None
    label: Label | None
    labels: Sequence[Label] | NDArray[np.integer[Any]] | None
    condition: Condition | None
    conditions: Sequence[Condition] | NDArray[np.floating[Any]] | None
    truncation: float | None
    latents: Sequence[Sequence[float]] | NDArray[np.floating[Any]] | None
    where: Mapping[str, Mapping[str, Any]] | None
    balance: str | None
    select: Mapping[str, int] | None
    budget: int | None
    allow_fewer: bool | None


class End(TypedDict, total=False):
    """A row that a path goes to: by its seed and number, or by its latent."""

    seed: int
    row: int
    latent: Sequence[float] | NDArray[np.floating[Any]]
    label: Label
    condition: Condition


class InterpolationFields(AnswerFields, total=False):
    """Of `POST /v1/interpolations`, beside `ends` and `frames`."""

    offset: int | None
    n: int | None
    curve: Literal["slerp", "linear"] | None
    loop: bool | None
    label: Label | None
    condition: Condition | None
    truncation: float | None


class VariationFields(AnswerFields, total=False):
    """Of `POST /v1/variations`, beside `seed`, `row`, `n` and `strength`."""

    variation_seed: int | None
    offset: int | None
    latent: Sequence[float] | NDArray[np.floating[Any]] | None
    label: Label | None
    condition: Condition | None
    truncation: float | None


class ScoreFields(TypedDict, total=False):
    """Of `POST /v1/scores`: what the samples are of."""

    model: str | None
    version: str | None
    label: Label | None
    labels: Sequence[Label] | NDArray[np.integer[Any]] | None
    condition: Condition | None
    conditions: Sequence[Condition] | NDArray[np.floating[Any]] | None
