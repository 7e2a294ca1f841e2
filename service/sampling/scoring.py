"""Samples that are brought, to be scored by the critic: checked against the model, with what they are of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from latentserve.service.bundle import Manifest
from latentserve.service.errors import InvalidError, TooLargeError
from latentserve.service.sampling.choosing.where import require_critic
from latentserve.service.sampling.fields import (
    ConditionField,
    LabelField,
    SampleFields,
    StrictFields,
    rows_request_steps,
)
from latentserve.service.sampling.pieces import Steps, at_once
from latentserve.service.sampling.samples import Samples

SCORED_ROWS = 256  # at a time, as the critic takes where it watches


class ScoreFields(StrictFields):
    """What samples are of. None: not given. In the place of a list there may be an array, as in `SampleFields`."""

    label: LabelField | None = Field(default=None, description="Of all samples, by index or name.")
    labels: list[LabelField] | None = Field(default=None, description="Of each sample, instead of label.")
    condition: ConditionField | None = Field(default=None, description="Numbers by name, of all samples.")
    conditions: list[ConditionField] | None = Field(default=None, description="An object for each sample.")


def samples_to_score(values: NDArray[Any], fields: ScoreFields, manifest: Manifest, max_n: int) -> Samples:
    """Samples [n, *sample.shape] of any floats as the critic takes them, with their labels and conditions.

    Raises InvalidError: the model has no critic, the samples are not of its shape or not finite, or it needs a label or
    a condition that is not there; TooLargeError.
    """
    return at_once(samples_to_score_steps(values, fields, manifest, max_n))


def samples_to_score_steps(values: NDArray[Any], fields: ScoreFields, manifest: Manifest, max_n: int) -> Steps[Samples]:
    """The same, in steps."""
    require_critic("model", manifest)
    shape = tuple(manifest.sample.shape)
    if values.shape[1:] != shape or values.ndim != len(shape) + 1:
        wanted = ", ".join(["n", *map(str, shape)])
        raise InvalidError("samples", f"has the shape {list(values.shape)}; [{wanted}] is needed")
    n = len(values)
    if n == 0:
        raise InvalidError("samples", "is empty")
    if n > max_n:
        raise TooLargeError(f"samples: {n} rows were sent; one request may have {max_n}")
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(values, np.float32)
    finite = np.isfinite(narrow.reshape(n, -1)).all(axis=1)
    if not finite.all():
        raise InvalidError(f"samples[{int(np.argmin(finite))}]", "holds a number that is not finite as float32")
    names = ("label", "labels", "condition", "conditions")
    given = {name: value for name in names if (value := getattr(fields, name)) is not None}
    yield
    request = yield from rows_request_steps(SampleFields.of(n=n, seed=0).model_copy(update=given), manifest, max_n)
    taken = {tensor.name for tensor in manifest.onnx.critic.inputs} if manifest.onnx.critic else set()
    if "label" in taken and request.labels is None:
        raise InvalidError("label", "is needed, or labels: the critic judges a sample as one of its label")
    if "condition" in taken and (request.conditions is None or np.isnan(request.conditions).any()):
        names_of = ", ".join(manifest.condition_names)
        raise InvalidError("condition", f"is needed, or conditions, with all of {names_of}: the critic judges by them")
    return Samples(narrow, request.labels, request.conditions)
