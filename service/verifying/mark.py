"""What a mark says, as it is found in a file or told beside it -> the rows to make again.

Whoever wrote the file wrote the mark: nothing in it is believed but what comes of making the rows again.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from latentserve.service.bundle import Manifest
from latentserve.service.errors import InvalidError
from latentserve.service.sampling.arithmetic.interpolation import InterpolationFields, interpolation_request
from latentserve.service.sampling.arithmetic.variations import VariationFields, variation_request
from latentserve.service.sampling.fields import (
    ConditionField,
    LabelField,
    NameField,
    SampleFields,
    SeedField,
    StrictFields,
    TruncationField,
    rows_request,
)
from latentserve.service.sampling.request import RowsRequest, draw_inputs

MARK_BYTES = 1 << 20  # of JSON


class Mark(BaseModel):
    """See `encoding/provenance.py`. What a later release adds is passed over."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    model: NameField | None = None
    version: NameField | None = None
    n: Annotated[int, Field(ge=1)] = 1
    seed: SeedField | None = None
    offset: SeedField = 0
    truncation: TruncationField | None = None
    label: LabelField | None = None
    labels: list[LabelField] | None = None
    condition: ConditionField | None = None
    conditions: list[ConditionField] | None = None
    rows: list[SeedField] | None = None
    untold: list[NameField] = []
    derived: dict[str, Any] | None = None

    @classmethod
    def of(cls, told: object) -> Self:
        """From JSON's values. Raises InvalidError."""
        try:
            return cls.model_validate(told)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(map(str, first["loc"]))
            raise InvalidError("mark", f"{field}: {first['msg']}" if field else "is no JSON object") from None

    @classmethod
    def read(cls, text: str | bytes) -> Self:
        """From JSON. Raises InvalidError."""
        if len(text) > MARK_BYTES:
            raise InvalidError("mark", f"has {len(text)} bytes; {MARK_BYTES} are read")
        try:
            return cls.of(orjson.loads(text))
        except orjson.JSONDecodeError:
            raise InvalidError("mark", "is no JSON object") from None

    def request(self, manifest: Manifest, max_n: int, max_bytes: int) -> RowsRequest:
        """The rows that it names, up to `max_n`, whose latents have up to `max_bytes`.

        Raises InvalidError (there are no such ones, or it does not say which) and TooLargeError.
        """
        if self.untold:
            raise InvalidError("mark", f"leaves out {', '.join(self.untold)}: they were too many for it")
        if self.derived is not None:
            return self._derived(self.derived, manifest, max_n, max_bytes)
        if self.seed is None:
            raise InvalidError("mark", "names no seed: the rows were made from latents that a client sent")
        told: dict[str, object] = {"seed": self.seed, "n": self.n, "offset": self.offset, "truncation": self.truncation}
        told |= {"label": self.label, "labels": self.labels, "condition": self.condition, "conditions": self.conditions}
        fields = SampleFields.of(**{name: value for name, value in told.items() if value is not None})
        request = rows_request(fields, manifest, max_n, deterministic=True)
        if self.rows is None:
            return request
        if len(self.rows) != self.n:
            raise InvalidError("mark", f"has {len(self.rows)} rows, and n is {self.n}")
        # Rows that do not follow one another: each is drawn where it stands.
        parts = []
        for place, number in enumerate(self.rows):
            one = slice(place, place + 1)
            labels = None if request.labels is None else request.labels[one]
            conditions = None if request.conditions is None else request.conditions[one]
            parts.append((request._replace(n=1, offset=number, labels=labels, conditions=conditions), 0, 1))
        inputs = draw_inputs(manifest, parts)
        return request._replace(offset=0, latents=inputs.z, labels=inputs.label, conditions=inputs.condition)

    def _derived(self, derived: dict[str, Any], manifest: Manifest, max_n: int, max_bytes: int) -> RowsRequest:
        if isinstance(fields := derived.get("interpolation"), dict):
            path = InterpolationFields.of(**self._one(derived, fields, InterpolationFields))
            return interpolation_request(path, manifest, max_n, max_bytes)._replace(deterministic=True)
        if isinstance(fields := derived.get("variation"), dict):
            around = VariationFields.of(**self._one(derived, fields, VariationFields))
            return variation_request(around, manifest, max_n, max_bytes)._replace(deterministic=True)
        raise InvalidError("mark", "does not say how the rows were made from others")

    @staticmethod
    def _one(derived: dict[str, Any], fields: dict[str, Any], kind: type[StrictFields]) -> dict[str, Any]:
        """Fields of all rows, or of the one that a mark is of."""
        if not fields.keys() <= kind.model_fields.keys():
            raise InvalidError("mark", "does not say how the rows were made from others")
        frame, first = derived.get("frame"), fields.get("offset", 0)
        if type(frame) is not int or type(first) is not int:
            return fields
        return fields | {"offset": first + frame, "n": 1}
