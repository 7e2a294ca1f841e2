"""The rows of a model that an account knows to have been sent, as its index has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import orjson

from latentserve.service.auditing.asked import asked_by
from latentserve.service.auditing.log import AuditError
from latentserve.service.auditing.trail import Line, Trail, line_at
from latentserve.service.bundle import Manifest
from latentserve.service.errors import one_line
from latentserve.service.finding.feature_file import Features, feature_path
from latentserve.service.finding.features import Query, dimensions
from latentserve.service.finding.indexing import Indexed, indexed, request_of
from latentserve.service.finding.search import Candidate, nearest
from latentserve.service.sampling.request import Part, RowsRequest, draw_inputs


class Control(NamedTuple):
    """Of how many rows, and how near the nearest was to a picture that nobody was sent; see `control.py`."""

    rows: int
    nearest: float


class Served:
    """Of one model, read anew for each picture that is looked up."""

    def __init__(self, trail: Trail, manifest: Manifest) -> None:
        """Raises AuditError: what lies there is no index."""
        self.trail = trail
        self._manifest = manifest
        files = ((segment, feature_path(segment, manifest.version)) for segment in trail.segments)
        size = dimensions(manifest.sample)
        self._files = [(segment, Features(path, size)) for segment, path in files if path.exists()]
        self.control_path = trail.folder / f"{manifest.version}.control.json"

    @property
    def rows(self) -> int:
        """About so many that it has features of; a row counts once in each segment."""
        return sum(features.size for _, features in self._files)

    @property
    def indexed(self) -> Indexed:
        """How much of the account it knows."""
        return indexed(self.trail, self._manifest)

    @property
    def control(self) -> Control | None:
        """None: it was not measured yet."""
        try:
            told = orjson.loads(self.control_path.read_bytes())
            return Control(int(told["rows"]), float(told["nearest"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AuditError(f"{self.control_path}: cannot be read ({one_line(error)})") from None

    def nearest(self, query: Query) -> list[Candidate]:
        """Rows that a picture may be, nearest first."""
        return nearest(query, self._files)

    def line(self, candidate: Candidate) -> Line:
        """That tells of it. Raises AuditError: it was moved away."""
        line = line_at(candidate.segment, candidate.at)
        if line is None:
            raise AuditError(f"{candidate.segment}: has no line at byte {candidate.at}")
        return line

    def asked(self, candidate: Candidate) -> RowsRequest:
        """The rows that were made with it. Raises AuditError, InvalidError."""
        return asked_by(self.line(candidate), self.trail, self._manifest)[0]

    def request(self, candidates: Sequence[Candidate]) -> RowsRequest:
        """For all of them, in order. Raises AuditError, InvalidError."""
        parts: list[Part] = [(self.asked(one), one.row, 1) for one in candidates]
        return request_of(draw_inputs(self._manifest, parts))
