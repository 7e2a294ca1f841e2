"""Samples that were served, made again of what the account says of them."""

from __future__ import annotations

from collections.abc import Iterator

from latentserve.service.auditing.asked import CHOSEN, asked_by, row_of
from latentserve.service.auditing.log import AuditError
from latentserve.service.auditing.trail import Line, Trail
from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Rows
from latentserve.service.opened import OpenedBundle
from latentserve.service.sampling.choosing.search import Search
from latentserve.service.sampling.samples import Samples


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
        self.numbered = any(name in line for name in CHOSEN)
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
        bundle = self._bundle
        request, choice = asked_by(self._line, self._trail, bundle.manifest)
        if self._row is not None:
            request, choice = row_of(request, self._row - request.offset), None
        if request.derived:  # nothing is said of each of them
            yield from (Samples(part.samples, None, None) for part in bundle.parts(request))
        elif choice is None:
            yield from bundle.parts(request)
        else:
            yield from bundle.chosen(request, Search(choice, bundle.manifest, request.offset))
