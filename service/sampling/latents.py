"""Latents addressed by (seed, row): row i of seed s is the same latent always, wherever and with whomever it is drawn.

With B = ceil(d / 4) for a latent of d coordinates, block b of row i of seed s is Philox4x64-10 (Salmon et al., SC'11)
with key (s, 0) and counter words (i*B + b, 0, 0, stream): stream 0 gives latents, stream 1 labels, stream 2 conditions,
stream 3 noise, stream 4 what variations of a row are mixed with. A block is four 64-bit words; word x becomes
u = ((x >> 11) + 1/2) * 2^-53, and truncation t keeps the central mass t of the prior by u <- 1/2 + t (u - 1/2). Then
z = ndtri(u) in double precision for a normal prior, 2u - 1 for a uniform one; times the scale of its part, plus its
shift.

d is the number of coordinates that are no noise; noise has a B of its own, of its own number, and is never truncated.
Conditions have that of the latent, or of their own number where that is larger. `docs/latents.md` has test vectors.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from latentserve.service.bundle import Condition, Latent, LatentPart

DRAWN_BYTES = 36  # that a number takes while it is drawn: words, doubles in three forms, and itself
SEED_LIMIT = 2**53  # seeds and rows are integers that every JSON reader holds exactly

_LATENTS, _LABELS, _CONDITIONS, _NOISE, _VARIATIONS = range(5)  # streams
_DEVIATIONS = 3.0  # of a normal condition, from its mean to either end of its range
_WORD = 2**64 - 1
_UNUSED_BITS = np.uint64(11)  # of a word
_EMPTY = (0, 0, 0, 0)
_LARGEST = 1 - 2.0**-53  # the largest double below 1; the half added above rounds up to 1 once in 2^53 words


class Span(NamedTuple):
    """Rows `offset` to `offset + n - 1` of `seed`: 0 <= seed < 2^53, 0 <= offset, offset + n <= 2^53.

    `truncation`, 0 < truncation <= 1, is the central mass of the prior that their latents keep.
    """

    seed: int
    offset: int
    n: int
    truncation: float = 1.0


def draw_latents(latent: Latent, seed: int, offset: int, n: int, truncation: float = 1.0) -> NDArray[np.float32]:
    """Latents of one span of rows: float32 [n, dim]."""
    return draw_latents_of(latent, [Span(seed, offset, n, truncation)])


def draw_latents_of(latent: Latent, spans: Sequence[Span]) -> NDArray[np.float32]:
    """Latents of all rows of the spans, in order: float32 [rows, dim]. Many small spans cost little more than one."""
    if latent.parts is None:
        return _drawn(latent.pieces, spans, _LATENTS)
    drawn = _drawn([part for part in latent.parts if not part.noise], spans, _LATENTS)
    return drawn if latent.width == latent.dim else np.concatenate([drawn, draw_noise_of(latent, spans)], axis=1)


def draw_noise_of(latent: Latent, spans: Sequence[Span]) -> NDArray[np.float32]:
    """The noise of the same rows alone, float32 [rows, dim - width]: the last columns of their latents."""
    return _drawn(
        [part for part in latent.pieces if part.noise], [span._replace(truncation=1) for span in spans], _NOISE
    )


def draw_variations(latent: Latent, span: Span) -> NDArray[np.float64]:
    """What variations of one row are mixed with: standard normal numbers float64 [n, width], whatever the prior is."""
    return np.asarray(ndtri(_uniforms(latent.width, [span], _VARIATIONS)[:, : latent.width]))


def _drawn(parts: Sequence[LatentPart], spans: Sequence[Span], stream: int) -> NDArray[np.float32]:
    """float32 [rows, columns of the parts]."""
    width = sum(part.width for part in parts)
    u = _uniforms(width, spans, stream)[:, :width]
    truncation: NDArray[np.float64] | None = None
    if min([span.truncation for span in spans]) < 1:
        truncation = np.repeat([span.truncation for span in spans], [span.n for span in spans])[:, None]
    if len(parts) == 1:
        return _column(parts[0], u, truncation)
    ends = np.cumsum([part.width for part in parts])[:-1]
    columns = zip(parts, np.split(u, ends, axis=1), strict=True)
    return np.concatenate([_column(part, of_part, truncation) for part, of_part in columns], axis=1)


def _column(part: LatentPart, u: NDArray[np.float64], truncation: NDArray[np.float64] | None) -> NDArray[np.float32]:
    """A part's columns, float32, of u float64 [rows, width] in (0, 1) and truncations [rows, 1] (None: all 1)."""
    if part.truncation < 1 and not part.noise:
        truncation = np.array(part.truncation) if truncation is None else part.truncation * truncation
    if truncation is not None:
        u = 0.5 + truncation * (u - 0.5)
    z = ndtri(u) if part.prior == "normal" else 2 * u - 1
    if part.scale != 1 or part.shift != 0:
        z = part.scale * z + part.shift
    return z.astype(np.float32)


def draw_conditions(
    latent: Latent, conditions: Sequence[Condition], seed: int, offset: int, n: int
) -> NDArray[np.float32]:
    """Conditions of the same rows, each drawn from its prior: float32 [n, conditions]. Column j comes from word j of a
    row's blocks on stream 2."""
    return draw_conditions_of(latent, conditions, [Span(seed, offset, n)])


def draw_conditions_of(latent: Latent, conditions: Sequence[Condition], spans: Sequence[Span]) -> NDArray[np.float32]:
    """Conditions of all rows of the spans, in order: float32 [rows, conditions]."""
    u = _uniforms(max(latent.width, len(conditions)), spans, _CONDITIONS)
    return np.stack([condition_at(condition, u[:, column]) for column, condition in enumerate(conditions)], axis=1)


def condition_at(condition: Condition, u: NDArray[np.float64]) -> NDArray[np.float32]:
    """Values float32 of a condition, at shares u in [0, 1] of its prior: 0 is its least value, 1 the largest."""
    low, high = condition.range
    if condition.quantiles is not None:
        values = np.interp(u, np.linspace(0, 1, len(condition.quantiles)), condition.quantiles)
    elif condition.prior == "log-uniform":
        values = low * np.exp(u * np.log(high / low))
    elif condition.prior == "normal":
        outside = ndtr(-_DEVIATIONS)
        values = (low + high) / 2 + (high - low) / (2 * _DEVIATIONS) * ndtri(outside + u * (1 - 2 * outside))
    else:
        values = low + u * (high - low)
    return np.clip(values, low, high).astype(np.float32)


def condition_probability(condition: Condition, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probability that a condition's prior gives less than each of these values: what `condition_at` takes."""
    low, high = condition.range
    values = np.clip(values, low, high)
    if condition.quantiles is not None:
        knots, steps = np.array(condition.quantiles), len(condition.quantiles) - 1
        above = np.searchsorted(knots, values)  # the first knot that is not below; of several that are equal, too
        before, after = knots[np.maximum(above - 1, 0)], knots[np.minimum(above, steps)]
        part = (values - before) / np.where(after > before, after - before, 1.0)
        return np.where(above > 0, np.minimum(above - 1 + part, steps) / steps, 0.0)
    if condition.prior == "log-uniform":
        return np.asarray(np.log(values / low) / np.log(high / low))
    if condition.prior == "normal":
        outside = ndtr(-_DEVIATIONS)
        within = ndtr((values - (low + high) / 2) / (high - low) * 2 * _DEVIATIONS)
        return np.asarray((within - outside) / (1 - 2 * outside))
    return np.asarray((values - low) / (high - low))


def draw_labels(dim: int, prior: Sequence[float] | int, seed: int, offset: int, n: int) -> NDArray[np.int64]:
    """Labels of the same rows, from the first word of each row's blocks on stream 1: int64 [n].

    `prior` holds the share of each label, or is the number of labels that are equally likely; `dim` is the latent's.
    """
    return draw_labels_of(dim, prior, [Span(seed, offset, n)])


def draw_labels_of(dim: int, prior: Sequence[float] | int, spans: Sequence[Span]) -> NDArray[np.int64]:
    """Labels of all rows of the spans, in order: int64 [rows]."""
    shares = np.full(prior, 1 / prior) if isinstance(prior, int) else np.asarray(prior, np.float64)
    u = _uniforms(dim, spans, _LABELS)[:, 0]
    return np.minimum(np.searchsorted(np.cumsum(shares), u, side="right"), len(shares) - 1).astype(np.int64)


class _Philox(threading.local):
    """A generator for each thread. Making one costs a system call for entropy; placing one costs nothing."""

    def __init__(self) -> None:
        self.generator = np.random.Philox(key=0)


_PHILOX = _Philox()


def _words(seed: int, block: int, stream: int, count: int) -> NDArray[np.uint64]:
    """uint64 [count], from the given block of (seed, stream) on."""
    # numpy's Philox counts up before it generates, hence the 1 less.
    counter = (block + (stream << 192) - 1) % 2**256
    generator = _PHILOX.generator
    words = (counter & _WORD, counter >> 64 & _WORD, counter >> 128 & _WORD, counter >> 192)
    # It reads the numbers one by one: from tuples in half the time.
    generator.state = {
        "bit_generator": "Philox",
        "state": {"counter": words, "key": (seed, 0)},  # type: ignore[typeddict-item]
        "buffer": _EMPTY,  # type: ignore[typeddict-item]
        "buffer_pos": 4,  # nothing is left of the block before
        "has_uint32": 0,
        "uinteger": 0,
    }
    return generator.random_raw(count)


def _uniforms(dim: int, spans: Sequence[Span], stream: int) -> NDArray[np.float64]:
    """float64 [rows, 4 * ceil(dim / 4)] in (0, 1)."""
    blocks = -(-dim // 4)
    drawn = [_words(span.seed, span.offset * blocks, stream, span.n * blocks * 4) for span in spans]
    words = drawn[0] if len(drawn) == 1 else np.concatenate(drawn)
    u = (words >> _UNUSED_BITS) + 0.5
    u *= 2.0**-53
    return np.minimum(u, _LARGEST, out=u).reshape(-1, blocks * 4)
