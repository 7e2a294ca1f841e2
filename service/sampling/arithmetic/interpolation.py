"""Paths from row to row: frames between ends.

Each end is a frame of its own, and the frames between two of them are as many as between any two others, or one more.
A latent goes part by part: on the great circle (Shoemake, "Animating rotation with quaternion curves", SIGGRAPH '85),
its length from the one to the other in equal steps, so that what is between two draws of a normal prior is as far from
its middle as they are; or on the straight line, which does not leave the box that a uniform prior is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, WithJsonSchema

from latentserve.service.bundle import Condition, Inputs, LatentPart, Manifest
from latentserve.service.errors import InvalidError
from latentserve.service.sampling.arithmetic.quantiles import column_of, normal_of
from latentserve.service.sampling.arithmetic.row import CountField, RowFields, require_room, row_inputs
from latentserve.service.sampling.fields import (
    ConditionField,
    LabelField,
    SeedField,
    StrictFields,
    TruncationField,
    first_error,
    shown_number,
)
from latentserve.service.sampling.latents import SEED_LIMIT
from latentserve.service.sampling.pieces import InPieces, Steps, at_once, whole_pieces_of
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.served_graph import Output

Curve = Literal["slerp", "linear"]

_MOST_ENDS = 1000
_FRAMES = 16  # from an end to the next, unless a number is stated
_PIECE_NUMBERS = 1 << 16  # that are made in a step
_NO_ANGLE = 1e-6  # sine of an angle that is none, or a straight one: there is no circle through such ends, or any

Single = NDArray[np.float32]
EndField = Annotated[dict[str, Any], WithJsonSchema(RowFields.model_json_schema())]


class InterpolationFields(StrictFields):
    """A path, and which of its frames are wanted. In the place of `ends` there may be a list that is not in memory
    whole (`InPieces`)."""

    ends: Annotated[list[EndField], Field(min_length=2, max_length=_MOST_ENDS, fail_fast=True)] = Field(
        description="Rows that the path goes to, one after the other: each a seed and a row, or a latent."
    )
    frames: CountField | None = Field(
        default=None, description="Of the whole path, the ends among them: by default 16 from each end to the next."
    )
    offset: SeedField | None = Field(default=None, description="The first frame that is wanted: 0 by default.")
    n: CountField | None = Field(default=None, description="Frames that are wanted: by default all from offset on.")
    curve: Curve | None = Field(
        default=None, description="slerp or linear; by default slerp of parts with a normal prior, linear of others."
    )
    loop: bool = Field(default=False, description="Go back from the last end to the first.")
    label: LabelField | None = Field(default=None, description="Of all ends, by index or name.")
    condition: ConditionField | None = Field(default=None, description="Of all ends: numbers by name.")
    truncation: TruncationField | None = Field(
        default=None, description="The central mass of the latents' prior that ends of seeds keep: 1, all, by default."
    )


class _Path(NamedTuple):
    """Ends, in order, the first of them again at the end of a path that is a loop; and each one's frame."""

    ends: Sequence[Inputs]
    places: NDArray[np.int64]


def interpolation_request(
    fields: InterpolationFields, manifest: Manifest, max_n: int, max_bytes: int = SEED_LIMIT
) -> RowsRequest:
    """The frames of a path as rows to make; row numbers are those of frames.

    Raises InvalidError, and TooLargeError: more than `max_n` frames, or than `max_bytes` of their latents.
    """
    return at_once(interpolation_request_steps(fields, manifest, max_n, max_bytes))


def interpolation_request_steps(
    fields: InterpolationFields,
    manifest: Manifest,
    max_n: int,
    max_bytes: int,
    *,
    deterministic: bool = False,
    output: Output = "sample",
) -> Steps[RowsRequest]:
    """The same, in steps."""
    given = yield from _ends(fields.ends)
    spans = len(given) - (0 if fields.loop else 1)
    frames = _FRAMES * spans + (0 if fields.loop else 1) if fields.frames is None else fields.frames
    if frames < len(given):
        raise InvalidError("frames", f"is {frames}; each of {len(given)} ends is one")
    if frames > SEED_LIMIT:
        raise InvalidError("frames", f"is {shown_number(frames)}; at most 2^53 can be addressed")
    offset = fields.offset or 0
    if offset >= frames:
        raise InvalidError("offset", f"is {offset}; the path has frames 0 to {frames - 1}")
    n = frames - offset if fields.n is None else fields.n
    if offset + n > frames:
        raise InvalidError("n", f"is {shown_number(n)}; {frames - offset} frames follow")
    require_room("frames" if fields.n is None else "n", n, manifest, max_n, max_bytes)
    ends: list[Inputs] = []
    for index, end in enumerate(given):
        ends.append(_end(index, end, fields, manifest))
        yield
    if fields.truncation is not None and all(end.get("latent") is not None for end in given):
        raise InvalidError("truncation", "excludes latents, which say already what each end is made from")
    steps = frames if fields.loop else frames - 1
    places = np.array([(2 * index * steps + spans) // (2 * spans) for index in range(spans + 1)], np.int64)
    path = _Path([*ends, ends[0]] if fields.loop else ends, places)
    z, labels, conditions = yield from _between(path, offset, n, fields, manifest)
    return RowsRequest(n, 0, offset, z, labels, conditions, deterministic=deterministic, output=output, derived=True)


def _ends(given: list[dict[str, Any]] | InPieces) -> Steps[list[dict[str, Any]]]:
    """All of them. Raises InvalidError: there are too few or too many."""
    if isinstance(given, list):
        return given
    if not 2 <= len(given) <= _MOST_ENDS:
        raise InvalidError("ends", f"holds {len(given)} rows; 2 to {_MOST_ENDS} are needed")
    ends: list[dict[str, Any]] = []
    for _, piece in whole_pieces_of(given):
        ends += piece
        yield
    return ends


def _end(index: int, given: dict[str, Any], fields: InterpolationFields, manifest: Manifest) -> Inputs:
    """An end of a path. Raises InvalidError, which names it."""
    try:
        try:
            end = RowFields.model_validate(given).known()
        except ValidationError as error:
            raise first_error(error) from None
        for name in ("label", "condition"):
            if getattr(fields, name) is not None:
                if getattr(end, name) is not None:
                    raise InvalidError(name, f"excludes {name} of all ends")
                end = end.model_copy(update={name: getattr(fields, name)})
        return row_inputs(end, manifest, fields.truncation if end.latent is None else None)
    except InvalidError as error:
        for name in ("label", "condition"):  # that were said of all of them
            if getattr(fields, name) is not None and name not in given and error.field.split(".")[0] == name:
                raise
        raise InvalidError(f"ends[{index}].{error.field}", error.reason) from None


def _between(path: _Path, offset: int, n: int, fields: InterpolationFields, manifest: Manifest) -> Steps[Inputs]:
    """What frames `offset` to `offset + n - 1` are made from."""
    first = path.ends[0]
    z = np.empty((n, manifest.latent.dim), np.float32)
    label = None if first.label is None else np.empty(n, np.int64)
    condition = None if first.condition is None else np.empty((n, first.condition.shape[1]), np.float32)
    parts, step = _columns(manifest), max(1, _PIECE_NUMBERS // manifest.latent.dim)
    truncation = 1.0 if fields.truncation is None else fields.truncation
    for index, (one, other) in enumerate(zip(path.ends, path.ends[1:], strict=False)):
        begin, end = int(path.places[index]), int(path.places[index + 1])
        # The last end is the last frame of its path; any other begins the way to the next.
        stop = end + 1 if index == len(path.ends) - 2 else end
        for start in range(max(begin, offset), min(stop, offset + n), step):
            frames = np.arange(start, min(stop, offset + n, start + step))
            share = (frames - begin) / (end - begin)
            rows = slice(start - offset, start - offset + len(frames))
            for part, columns in parts:
                if part.noise:  # of the first end: what is between two noises is another picture in each frame
                    z[rows, columns] = first.z[0, columns]
                    continue
                curve = fields.curve or ("slerp" if part.prior == "normal" else "linear")
                z[rows, columns] = _part(part, one.z[0, columns], other.z[0, columns], share, curve, truncation)
            if label is not None and one.label is not None and other.label is not None:
                label[rows] = np.where(share <= 0.5, one.label[0], other.label[0])
            if condition is not None and one.condition is not None and other.condition is not None:
                condition[rows] = _conditions(manifest, one.condition[0], other.condition[0], share)
            yield
    return Inputs(z, label, condition)


def _columns(manifest: Manifest) -> list[tuple[LatentPart, slice]]:
    """The parts of the latent, and where they are."""
    ends = np.cumsum([part.width for part in manifest.latent.pieces]).tolist()
    return [(part, slice(end - part.width, end)) for part, end in zip(manifest.latent.pieces, ends, strict=True)]


def _part(
    part: LatentPart, one: Single, other: Single, share: NDArray[np.float64], curve: Curve, truncation: float
) -> Single:
    """Columns of a part, float32 [n, width], at shares [n] of the way from one end to the other: at 0 and 1 the ends,
    bit for bit."""
    if curve == "linear":
        middle = _line(one.astype(np.float64), other.astype(np.float64), share).astype(np.float32)
    elif part.prior == "normal":
        unit = [(end.astype(np.float64) - part.shift) / part.scale for end in (one, other)]
        middle = (part.scale * _arc(unit[0], unit[1], share) + part.shift).astype(np.float32)
    else:
        normal = [normal_of(part, end, truncation) for end in (one, other)]
        middle = column_of(part, _arc(normal[0], normal[1], share), truncation)
    at = share[:, None]
    return np.where(at <= 0, one, np.where(at >= 1, other, middle))


def _line(one: NDArray[np.float64], other: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    at = share[:, None]
    return (1 - at) * one + at * other


def _arc(one: NDArray[np.float64], other: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Float64 [n, width] on the great circle from one to the other, the length going from that of the one to that of
    the other; on the line where they have the same direction or the opposite one."""
    lengths = float(np.linalg.norm(one)), float(np.linalg.norm(other))
    if min(lengths) == 0:
        return _line(one, other, share)
    here, there = one / lengths[0], other / lengths[1]
    angle = float(np.arctan2(np.linalg.norm(here - there), np.linalg.norm(here + there))) * 2
    if np.sin(angle) < _NO_ANGLE:
        return _line(one, other, share)
    at = share[:, None]
    direction = (np.sin((1 - at) * angle) * here + np.sin(at * angle) * there) / np.sin(angle)
    return ((1 - at) * lengths[0] + at * lengths[1]) * direction


def _conditions(manifest: Manifest, one: Single, other: Single, share: NDArray[np.float64]) -> Single:
    """Conditions float32 [n, k] on the way from one to the other: of one that is log-uniform in its logarithm."""
    columns = []
    for place, condition in enumerate(manifest.conditions or ()):
        ends = float(one[place]), float(other[place])
        columns.append(np.where(share <= 0, ends[0], np.where(share >= 1, ends[1], _values(condition, ends, share))))
    return np.stack(columns, axis=1).astype(np.float32)


def _values(condition: Condition, ends: tuple[float, float], share: NDArray[np.float64]) -> NDArray[np.float64]:
    if condition.prior == "log-uniform":
        return np.asarray(ends[0] * np.exp(share * np.log(ends[1] / ends[0])))
    return (1 - share) * ends[0] + share * ends[1]
