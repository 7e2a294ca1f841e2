"""A bundle opened in this process: the samples that a server of it would give, without a server."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentserve.service.bundle import Bundle, Inputs, Manifest, read_bundle
from latentserve.service.cores import whole_cores
from latentserve.service.errors import InvalidError, TooLargeError
from latentserve.service.sampling.arithmetic.interpolation import Curve, InterpolationFields, interpolation_request
from latentserve.service.sampling.arithmetic.variations import VariationFields, variation_request
from latentserve.service.sampling.choosing.choice import Choice, search_request
from latentserve.service.sampling.choosing.search import Search
from latentserve.service.sampling.engine import FIXED_BATCH, Engine
from latentserve.service.sampling.fields import SampleFields, rows_request
from latentserve.service.sampling.latents import DRAWN_BYTES, SEED_LIMIT
from latentserve.service.sampling.placed import WIDEST, Placed
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.samples import Samples
from latentserve.service.sampling.scoring import SCORED_ROWS, ScoreFields, samples_to_score
from latentserve.service.sampling.served_graph import Output

# Drawn and held at a time, beside what is returned: whole batches of the engine, so many of them as
_SLICE_BATCHES = 16
_SLICE_ROWS = _SLICE_BATCHES * FIXED_BATCH  # have so many rows together at the most,
_SLICE_BYTES = 32 << 20  # and of so many bytes

Drawn = tuple[int, Inputs]  # what some rows are made from, and the number of the first


def open_bundle(path: str | os.PathLike[str]) -> OpenedBundle:
    """Open a bundle folder to draw samples of it here.

    Needs `latentserve[cpu]` or `latentserve[gpu]`, and no torch; a GPU is used where the runtime has one.

    Raises BundleError (missing, damaged, not what it says) and RuntimeMissingError (no ONNX Runtime).
    """
    return OpenedBundle(read_bundle(Path(path)))


class Chosen(NamedTuple):
    """Rows of a search.

    Attributes:
        samples: float32 [n, *sample.shape].
        numbers: int64 [n]: which row of the seed each is. `sample(seed=seed, offset=number)` gives it again.
        labels: int64 [n], None of a model that takes none.
        scores: the critic's, float32 [n], None where they were not needed.
        seed: of the rows.
        looked_at: rows.
        next_offset: from which on a search goes on after this one.
    """

    samples: NDArray[np.float32]
    numbers: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    scores: NDArray[np.float32] | None
    seed: int
    looked_at: int
    next_offset: int


class OpenedBundle:
    """A bundle on this process's engine.

    Attributes:
        manifest: what the bundle says of itself: `name`, `version`, `labels`, `sample.shape`, `latent.dim`, ...
    """

    def __init__(
        self, bundle: Bundle, threads: int | None = None, max_batch: int = FIXED_BATCH, *, spinning: bool = False
    ) -> None:
        """`threads` of one engine call, None: as many as there are cores; `spinning`, see Engine. Rows of one call are
        `max_batch` at the most, once `widen` has found that so many may be."""
        self.manifest: Manifest = bundle.manifest
        self._engine = Engine(bundle, threads=threads or whole_cores(), max_batch=max_batch, spinning=spinning)
        self._placed = Placed(self._engine)
        self._row_bytes = 4 * math.prod(self.manifest.sample.shape) + DRAWN_BYTES * self.manifest.latent.dim
        self._slice_rows = min(_SLICE_ROWS, _SLICE_BYTES // self._row_bytes)

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
        where: Mapping[str, Mapping[str, object]] | None = None,
        balance: str | None = None,
        select: Mapping[str, int] | None = None,
        budget: int | None = None,
        allow_fewer: bool | None = None,
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
            where: what the rows are to be like: {column: {"min", "max", "in", "missing"}}, of a table's columns by
                their values, of `$label`, `$condition.NAME` and `$score`. The first n rows that are such.
            balance: a column with categories, or `$label`: as many rows of each.
            select: {"of": k}: of k rows each the one with the critic's best score.
            budget: rows that are looked at for these, at the most. Default: 200 n, or as many as are needed.
            allow_fewer: take fewer where the budget ends.

        Raises InvalidError, one line that names the field: nothing is coerced but numpy's scalars and arrays, which
        stand for the Python values they hold. Raises TooLargeError: so many rows do not fit into memory. Raises
        BudgetError: too few rows are such.
        """
        rows = {"n": n, "seed": seed, "offset": offset, "truncation": truncation, "latents": latents}
        asked = {"label": label, "labels": labels, "condition": condition, "conditions": conditions}
        chosen = {"where": where, "balance": balance, "select": select, "budget": budget, "allow_fewer": allow_fewer}
        request, choice = self.asked(**rows, **asked, **chosen)
        return self.rows(request) if choice is None else self._found(request, choice).samples

    def search(self, n: int = 1, **fields: object) -> Chosen:
        """The rows that `sample` gives for the same fields, `where`, `balance` or `select` among them, and which they
        are. Raises what `sample` does."""
        request, choice = self.asked(n=n, **fields)
        if choice is None:
            raise InvalidError("where", "is needed, or balance, or select")
        return self._found(request, choice)

    def interpolate(
        self,
        ends: Sequence[Mapping[str, object]],
        frames: int | None = None,
        offset: int | None = None,
        n: int | None = None,
        curve: Curve | None = None,
        loop: bool | None = None,
        label: int | str | None = None,
        condition: Mapping[str, float] | None = None,
        truncation: float | None = None,
    ) -> NDArray[np.float32]:
        """Samples on the way from row to row, float32 [n, *sample.shape]: the frames of `POST /v1/interpolations`.

        Args:
            ends: two or more, each {"seed", "row"} or {"latent"}, with a "label" and a "condition" of its own or not.
            frames: of the whole path, the ends among them. Default: 16 from each end to the next.
            offset: the first frame that is wanted. Default: 0.
            n: frames that are wanted. Default: all from offset on.
            curve: "slerp" or "linear". Default: slerp of parts of the latent with a normal prior, linear of others.
            loop: go back from the last end to the first.
            label: of all ends. Default: each end's own.
            condition: of all ends: numbers by name.
            truncation: the central mass of the latents' prior that ends of seeds keep.

        Raises InvalidError, TooLargeError.
        """
        path = {"ends": ends, "frames": frames, "offset": offset, "n": n, "curve": curve, "loop": loop}
        given = _given({**path, "label": label, "condition": condition, "truncation": truncation})
        return self.rows(interpolation_request(InterpolationFields.of(**given), self.manifest, SEED_LIMIT))

    def vary(
        self,
        seed: int | None = None,
        row: int | None = None,
        n: int | None = None,
        strength: float | None = None,
        variation_seed: int | None = None,
        offset: int | None = None,
        latent: ArrayLike | None = None,
        label: int | str | None = None,
        condition: Mapping[str, float] | None = None,
        truncation: float | None = None,
    ) -> NDArray[np.float32]:
        """Samples around a row, float32 [n, *sample.shape]: the rows of `POST /v1/variations`.

        Args:
            seed, row: of the row. Default of row: 0.
            n: variations. Default: 1.
            strength: how far they are from it, 0 < strength <= 1. Default: 0.2.
            variation_seed: of the variations. Default: 0.
            offset: the first one. Default: 0.
            latent: what the row is made from, instead of seed and row.
            label, condition: of the row. Default: as drawn for it.
            truncation: the central mass of the latents' prior that is kept.

        Raises InvalidError, TooLargeError.
        """
        around = {"seed": seed, "row": row, "latent": latent, "label": label, "condition": condition}
        which = {"n": n, "strength": strength, "variation_seed": variation_seed, "offset": offset}
        given = _given({**around, **which, "truncation": truncation})
        return self.rows(variation_request(VariationFields.of(**given), self.manifest, SEED_LIMIT))

    def score(
        self,
        samples: ArrayLike,
        label: int | str | None = None,
        labels: Sequence[int | str] | NDArray[np.integer] | None = None,
        condition: Mapping[str, float] | None = None,
        conditions: Sequence[Mapping[str, float]] | None = None,
    ) -> NDArray[np.float32]:
        """The critic's scores float32 [n] of samples, floats [n, *sample.shape], as `POST /v1/scores` gives them.

        `label`, `labels`, `condition` and `conditions` say what they are of, where the critic judges by that.

        Raises InvalidError: the bundle has no critic, the samples are not such as it makes, or it needs what is not
        given.
        """
        of = _given({"label": label, "labels": labels, "condition": condition, "conditions": conditions})
        rows = samples_to_score(np.asarray(samples), ScoreFields.of(**of), self.manifest, SEED_LIMIT)
        some = range(0, len(rows.samples), SCORED_ROWS)
        parts = [rows.take(slice(start, start + SCORED_ROWS)) for start in some]
        return np.concatenate([self._engine.score(part.samples, part.critic_inputs) for part in parts])

    def widen(self, request: RowsRequest) -> None:
        """Make rows like these in the fastest batch that changes no bit of them."""
        rows = min(request.n, WIDEST)
        self._placed.widen(request.inputs(self.manifest, 0, rows), request.output)
        batch = self._placed.batch
        self._slice_rows = max(batch, min(_SLICE_BATCHES * batch, _SLICE_BYTES // self._row_bytes // batch * batch))

    def gives(self, output: Output) -> bool:
        """Whether a request may ask for this."""
        return output in self._engine.outputs

    def request(self, **fields: object) -> RowsRequest:
        """A request for rows by the fields of `sample` that do not choose among them. Raises InvalidError."""
        return rows_request(_fields(fields), self.manifest, SEED_LIMIT)

    def asked(self, **fields: object) -> tuple[RowsRequest, Choice | None]:
        """Rows to be made by the fields of `sample`, and which of them are wanted; None: all. Raises InvalidError."""
        return search_request(_fields(fields), self.manifest, SEED_LIMIT)

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

    def made(self, request: RowsRequest) -> Samples:
        """The same in the form that was asked for, with what each row was made for."""
        return Samples.join(list(self.parts(request)))

    def slices(self, request: RowsRequest) -> Iterator[NDArray[np.float32]]:
        """The same, some megabytes at a time."""
        return (part.samples for part in self.parts(request))

    def parts(
        self, request: RowsRequest, through: Callable[[Iterator[Drawn]], Iterable[Drawn]] = iter
    ) -> Iterator[Samples]:
        """The same, with what each row was made for. What rows are made from goes `through` this on its way to the
        engine, such as a thread of its own."""
        for row, inputs in through(self._drawn(request)):
            (samples,) = self._placed.run(inputs, (request.output,), row)
            yield Samples(samples, inputs.label, inputs.condition)

    def _drawn(self, request: RowsRequest) -> Iterator[Drawn]:
        start = 0
        while start < request.n:
            row = request.offset + start
            rows = min(request.n - start, self._engine.whole_batches(row, self._slice_rows))
            yield row, request.inputs(self.manifest, start, rows)
            start += rows

    def chosen(self, request: RowsRequest, search: Search) -> Iterator[Samples]:
        """Rows of a search as they are found, some at a time or none. Raises BudgetError."""
        start = 0
        while start < request.n and not search.done:
            row = request.offset + start
            count = self._engine.whole_batches(row, min(self._slice_rows, search.expected))
            inputs = request.inputs(self.manifest, start, min(request.n - start, count))
            (samples,) = self._placed.run(inputs, (request.output,), row)
            rows = search.candidates(Samples(samples, inputs.label, inputs.condition))
            if search.scored and rows.numbers is not None:
                rows.scores = self._engine.score_fixed(rows.samples, rows.critic_inputs, rows.numbers)
            yield search.choose(rows)
            start += len(samples)
        search.end()

    def _found(self, request: RowsRequest, choice: Choice) -> Chosen:
        search = Search(choice, self.manifest, request.offset)
        rows = Samples.join(list(self.chosen(request, search)))
        assert rows.numbers is not None  # noqa: S101, rows of a search have them
        return Chosen(
            rows.samples, rows.numbers, rows.labels, rows.scores, request.seed, search.looked_at, search.next_offset
        )


def _fields(given: Mapping[str, object]) -> SampleFields:
    return SampleFields.of(**_given(given))


def _given(fields: Mapping[str, object]) -> dict[str, object]:
    """Those that were given, as Python's own values."""
    return {name: _plain(value) for name, value in fields.items() if value is not None}


def _plain(value: object) -> object:
    """Python's own values instead of numpy's, and dictionaries of any mapping."""
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist()) if value.dtype == object else value.tolist()
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple | range) else value
