"""Samples that were served, made again of what the account says of them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson

from latentserve.service.auditing.log import AuditError
from latentserve.service.auditing.trail import Line, Trail
from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Rows
from latentserve.service.opened import OpenedBundle
from latentserve.service.sampling.choosing.search import Search
from latentserve.service.sampling.samples import Samples

_PLAIN = ("seed", "offset", "truncation", "label", "labels")
_CHOSEN = ("where", "balance", "select", "allow_fewer", "budget")


class Recreated:
    """The rows of one line of an account, of a bundle.

    Attributes:
        n: rows.
        numbered: they are chosen ones, whose numbers do not follow one another.
    """

    def __init__(self, bundle: OpenedBundle, trail: Trail, line: Line, row: int | None = None) -> None:
        """`row`: of the seed; None: all that were sent.

        Raises AuditError: they are not of this bundle, or what they were made from was not kept.
        """
        manifest = bundle.manifest
        if line.get("event") != "sampled":
            raise AuditError(f"{line.get('id')}: no samples were sent ({line.get('event')})")
        if line["version"] != manifest.version:
            raise AuditError(
                f"{line['id']}: was made by {line['model']} {line['version']}; this bundle is {manifest.name} "
                f"{manifest.version}"
            )
        self._bundle = bundle
        self._trail = trail
        ended = trail.ended(line)
        self.n = int(line["n"] if ended is None else ended["sent"])
        self.numbered = any(name in line for name in _CHOSEN)
        self._line = line
        self._row = row
        if row is not None:
            self.n, self.numbered = 1, False

    @property
    def spec(self) -> SampleSpec:
        """What one of them is."""
        return self._bundle.manifest.sample

    @property
    def provenance(self) -> Provenance:
        """What is said of them where there is room for it."""
        manifest, line = self._bundle.manifest, self._line
        seed = line.get("seed") if "latents" not in line else None
        offset = line.get("offset", 0) if self._row is None else self._row
        truncation = line.get("truncation", 1.0) if seed is not None else None
        return Provenance(
            manifest.name,
            manifest.version,
            seed,
            offset,
            truncation,
            labels=manifest.labels or (),
            conditions=manifest.condition_names,
            label_bytes=manifest.label_bytes,
        )

    def rows(self) -> Iterator[Rows]:
        """Some at a time. Raises AuditError, InvalidError, BudgetError."""
        left = self.n
        for part in self._parts():
            part = part.take(slice(0, left))
            left -= len(part.samples)
            if len(part.samples):
                yield Rows(part.samples, part.labels, part.conditions, part.numbers, part.scores)
            if left == 0:
                return

    def _parts(self) -> Iterator[Samples]:
        line, bundle = self._line, self._bundle
        for kind, make in (("interpolation", bundle.interpolate), ("variation", bundle.vary)):
            if kind in line:
                fields = self._whole(line[kind])
                yield Samples(make(**fields), None, None)
                return
        fields = {name: self._whole(line[name]) for name in _PLAIN if name in line}
        if self._row is not None:
            fields = self._of_row(fields, self._row)
        fields |= {"n": self.n if self._row is not None else line["n"]}
        seed = {name: fields.pop(name) for name in ("seed", "offset") if name in fields}
        if "latents" in line:
            fields["latents"] = self._whole(line["latents"])
        else:
            fields |= seed
        if "condition" in line:
            fields["condition"] = self._named(line["condition"])
        if "conditions" in line:
            fields["conditions"] = [self._named(row) for row in self._whole(line["conditions"])]
        if self.numbered:
            fields |= {name: self._whole(line[name]) for name in _CHOSEN if name in line}
        request, choice = bundle.asked(**fields)
        if choice is None:
            yield from bundle.parts(request._replace(**seed))  # what was not sent with latents is drawn by it
        else:
            yield from bundle.chosen(request, Search(choice, bundle.manifest, request.offset))

    def _of_row(self, fields: dict[str, Any], row: int) -> dict[str, Any]:
        """The fields of one row of the seed."""
        place = row - int(fields.get("offset", 0))
        if "labels" in fields:
            fields["label"] = int(fields.pop("labels")[place])
        return fields | {"offset": row}

    def _named(self, row: list[float | None]) -> dict[str, float]:
        """Conditions by name; those that were drawn are drawn again."""
        names = self._bundle.manifest.condition_names
        return {name: value for name, value in zip(names, row, strict=True) if value is not None}

    def _whole(self, value: Any) -> Any:
        """A value of a line, or what it stands for. Raises AuditError: that was not kept."""
        if not isinstance(value, dict) or "sha256" not in value:
            return value
        if "rows" not in value:
            return orjson.loads(self._trail.kept(value["sha256"], ".json"))
        array = np.load(io.BytesIO(self._trail.kept(value["sha256"], ".npy")), allow_pickle=False)
        if array.dtype.kind == "f" and array.ndim > 1:
            return [[None if np.isnan(number) else number for number in row] for row in array.tolist()]
        return array.tolist()
