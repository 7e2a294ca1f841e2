"""Control samples: rows that the server makes for nobody, so that there is something to judge whatever clients ask."""

from __future__ import annotations

import secrets

import numpy as np

from latentserve.service.bundle import Manifest
from latentserve.service.sampling.latents import SEED_LIMIT
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.watching.reference import Reference

CONTROL_ROWS = 64  # at a time


class Control:
    """What is made for nobody of one model."""

    def __init__(self, manifest: Manifest, reference: Reference) -> None:
        self._manifest = manifest
        self._reference = reference
        self._next = secrets.randbelow(len(reference.spots)) if reference.spots else 0

    def fresh(self, rows: int) -> RowsRequest:
        """By a seed and conditions that no client chose: every label alike, or as the prior has them where the
        reference knows them only together."""
        labels = None
        seed = secrets.randbelow(SEED_LIMIT)
        if self._manifest.labels is not None and not self._reference.pooled:
            labels = (seed + np.arange(rows, dtype=np.int64)) % len(self._manifest.labels)
        return RowsRequest(rows, seed, labels=labels, arm="control")

    def recorded(self, rows: int) -> list[RowsRequest]:
        """Rows of which spots were recorded, in turn; none where nothing was."""
        spots = self._reference.spots
        if spots is None:
            return []
        found = []
        while rows > 0:
            count = min(rows, len(spots) - self._next)
            found.append(spots.request(self._manifest, self._next, count))
            self._next = (self._next + count) % len(spots)
            rows -= count
        return found

    def requests(self, rows: int) -> list[RowsRequest]:
        """For so many rows: half of them recorded ones, where some were, the others fresh."""
        half = rows // 2 if self._reference.spots else 0
        return [self.fresh(rows - half), *self.recorded(half)]
