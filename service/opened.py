"""A bundle opened in this process: the samples that a server of it would give, without a server."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentserve.service.bundle import Bundle, Manifest, read_bundle
from latentserve.service.cores import whole_cores
from latentserve.service.errors import TooLargeError
from latentserve.service.sampling.engine import FIXED_BATCH, Engine
from latentserve.service.sampling.fields import SampleFields, rows_request
from latentserve.service.sampling.latents import DRAWN_BYTES, SEED_LIMIT
from latentserve.service.sampling.request import RowsRequest

# Drawn and held at a time, beside what is returned: whole batches of the engine, so many of them as
_SLICE_ROWS = 16 * FIXED_BATCH  # have so many rows together at the most,
_SLICE_BYTES = 32 << 20  # and of so many bytes


def open_bundle(path: str | os.PathLike[str]) -> OpenedBundle:
    """Open a bundle folder to draw samples of it here.

    Needs `latentserve[cpu]` or `latentserve[gpu]`, and no torch; a GPU is used where the runtime has one.

    Raises BundleError (missing, damaged, not what it says) and RuntimeMissingError (no ONNX Runtime).
    """
    return OpenedBundle(read_bundle(Path(path)))


class OpenedBundle:
    """A bundle on this process's engine.

    Attributes:
        manifest: what the bundle says of itself: `name`, `version`, `labels`, `sample.shape`, `latent.dim`, ...
    """

    def __init__(self, bundle: Bundle) -> None:
        self.manifest: Manifest = bundle.manifest
        self._engine = Engine(bundle, threads=whole_cores(), max_batch=FIXED_BATCH)
        row = 4 * math.prod(self.manifest.sample.shape) + DRAWN_BYTES * self.manifest.latent.dim
        self._slice_rows = min(_SLICE_ROWS, _SLICE_BYTES // row)

    def sample(
        self,
        n: int | None = None,
        seed: int | None = None,
        offset: int | None = None,
        label: int | str | None = None,
        labels: Sequence[int | str] | NDArray[np.integer] | None = None,
        truncation: float | None = None,
        latents: ArrayLike | None = None,
        condition: Mapping[str, float] | None = None,
        conditions: Sequence[Mapping[str, float]] | None = None,
    ) -> NDArray[np.float32]:
        """Draw samples, float32 [n, *sample.shape].

        They are the rows that `POST /v1/samples` gives for the same fields: bit for bit where the generator's rows do
        not depend on their batch (or the request is `deterministic`) and the provider is the same, else within the
        golden tolerance. Rows may be asked for in any portions: row i of a seed is the same always.

        Args:
            n: rows. Default: as many as `labels`, `latents` or `conditions` have, else 1.
            seed: of the rows, 0 <= seed < 2^53. Default: drawn.
            offset: the first row, offset + n <= 2^53. Default: 0.
            label: of all rows: an index, or a name. Default: drawn from the label prior.
            labels: of each row.
            truncation: the central mass of the latents' prior that is kept, 0 < truncation <= 1. Default: 1, all.
            latents: [n, dim], instead of seed, offset and truncation; or [n, width], without the noise that a
                generator's latent ends with, which is drawn from seed and offset.
            condition: of all rows: numbers by name. What is left out is drawn from its prior.
            conditions: of each row.

        Raises InvalidError, one line that names the field: nothing is coerced but numpy's scalars and arrays, which
        stand for the Python values they hold. Raises TooLargeError: so many rows do not fit into memory.
        """
        rows = {"n": n, "seed": seed, "offset": offset, "truncation": truncation, "latents": latents}
        asked = {"label": label, "labels": labels, "condition": condition, "conditions": conditions}
        return self.rows(self.request(**rows, **asked))

    def request(self, **fields: object) -> RowsRequest:
        """A request for rows by the fields of `sample`. Raises InvalidError."""
        plain = {name: _plain(value) for name, value in fields.items()}
        return rows_request(SampleFields.of(**plain), self.manifest, SEED_LIMIT)

    def rows(self, request: RowsRequest) -> NDArray[np.float32]:
        """All rows of a request, float32 [n, *sample.shape]. Raises TooLargeError: they do not fit into memory."""
        try:
            rows = np.empty((request.n, *self.manifest.sample.shape), np.float32)
        except (MemoryError, ValueError):
            raise TooLargeError(f"n: {request.n} rows do not fit into memory") from None
        start = 0
        for part in self.slices(request):
            rows[start : start + len(part)] = part
            start += len(part)
        return rows

    def slices(self, request: RowsRequest) -> Iterator[NDArray[np.float32]]:
        """The same, some megabytes at a time."""
        start = 0
        while start < request.n:
            row = request.offset + start
            rows = min(request.n - start, self._engine.whole_batches(row, self._slice_rows))
            yield self._engine.run_fixed(request.inputs(self.manifest, start, rows), ("sample",), row)[0]
            start += rows


def _plain(value: object) -> object:
    """Python's own values instead of numpy's, and dictionaries of any mapping."""
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist()) if value.dtype == object else value.tolist()
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple | range) else value
