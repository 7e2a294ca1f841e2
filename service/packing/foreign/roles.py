"""What an input of somebody else's generator is, and the words it is told in.

They are the same for `pack --input NAME=KIND[:DETAIL]` and for `export_bundle(inputs={NAME: "KIND[:DETAIL]"})`:

    latent[:SHAPE][,PRIOR][,truncation(T)]      SHAPE of a row: 16, 4x64x64; PRIOR: normal, normal(MEAN,SD), uniform,
    noise[:SHAPE][,PRIOR]                       uniform(LO,HI); of integers, LO to HI - 1
    label[:index|one-hot]
    condition:LO..HI[,PRIOR][,UNIT]             PRIOR: uniform, log-uniform, normal, quantiles(Q0,Q1,...)
    condition:[NAME=]LO..HI,...;[NAME=]LO..HI   one for each column
    constant:VALUE                              a number, true or false, a list of lists as in JSON, or a file.npy
    unused                                      fed zeros

What stands between commas may come in any order. `str` of a role is the words for it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from latentserve.service.bundle import Condition, LatentPart
from latentserve.service.bundle.manifest import Prior, first_fault
from latentserve.service.errors import BundleError, one_line

KINDS: Final = ("latent", "noise", "label", "condition", "constant", "unused")

_MOST_CONDITIONS = 64
_UNNAMED = "_"  # a condition that is told no name
_TOLD = re.compile(rf"(?P<name>.+?)=(?P<text>(?:{'|'.join(KINDS)})(?::.*)?)", re.S)
_SHAPE = re.compile(r"\d+(?:x\d+)*")
_CALL = re.compile(r"([a-z-]+)(?:\((.*)\)|=(.*))?", re.S)
_RANGE = re.compile(r"(?:(?P<name>[^=]+)=)?(?P<low>[^=]+?)\.\.(?P<high>[^=]+)")


class RoleError(BundleError):
    """What an input is told to be is no role, or does not fit it: one line that names the input, but not the file."""


@dataclass(frozen=True)
class LatentRole:
    """Drawn for each row: u from the prior, then scale * u + shift. No prior: the one that holds where none is told.

    `shape`: of a row, where the input leaves it open. `noise`: see `LatentPart`.
    """

    prior: Prior | None = None
    shift: float = 0.0
    scale: float = 1.0
    truncation: float = 1.0
    shape: tuple[int, ...] | None = None
    noise: bool = False

    def part(self, name: str, shape: Sequence[int], prior: Prior = "normal") -> LatentPart:
        """The columns of `z` for rows of this shape, with this prior where none was told. Raises RoleError."""
        try:
            return LatentPart(
                name=name[:256],
                shape=list(shape),
                prior=self.prior or prior,
                shift=self.shift,
                scale=self.scale,
                truncation=self.truncation,
                noise=self.noise,
            )
        except ValidationError as error:
            raise RoleError(f"input {name}: {first_fault(error)}") from None

    @property
    def wholes(self) -> tuple[int, int]:
        """The first and the last of the whole numbers that a uniform prior gives where it is cut to such."""
        return math.floor(self.shift - self.scale), math.ceil(self.shift + self.scale) - 1

    def __str__(self) -> str:
        details = []
        if self.shape is not None:
            details.append("x".join(map(str, self.shape)))
        if self.prior is not None:
            bounds = (self.shift, self.scale)
            if self.prior == "uniform":
                bounds = (self.shift - self.scale, self.shift + self.scale)
            plain = self.shift == 0 and self.scale == 1
            details.append(self.prior + ("" if plain else f"({_shown(bounds[0])},{_shown(bounds[1])})"))
        if self.truncation != 1:
            details.append(f"truncation({_shown(self.truncation)})")
        return _worded("noise" if self.noise else "latent", details)


@dataclass(frozen=True)
class LabelRole:
    """A class: its index, or a 1 in its place among zeros. No form: by the input's shape."""

    form: Literal["index", "one-hot"] | None = None

    def __str__(self) -> str:
        return _worded("label", [self.form] if self.form else [])


@dataclass(frozen=True)
class ConditionRole:
    """Numbers that a row is made for. `columns`: one, for all columns of the input, or one each; those that are told no
    name get the input's, numbered where they are several."""

    columns: tuple[Condition, ...]

    def conditions(self, name: str, width: int) -> list[Condition]:
        """What the `width` columns of the input `name` are. Raises RoleError: told for another number of them."""
        if width > _MOST_CONDITIONS:
            raise RoleError(f"input {name}: {width:,} columns are too many for conditions; {_MOST_CONDITIONS} can be")
        columns = self.columns * width if len(self.columns) == 1 else self.columns
        if len(columns) != width:
            raise RoleError(f"input {name}: {len(columns)} conditions are told; it has {width} columns")
        own = re.sub(r"[^A-Za-z0-9_.-]", "_", re.sub(r":\d+$", "", name))[:56]
        own = own if re.match(r"[A-Za-z_]", own) else f"_{own}"
        numbered = [own] if width == 1 else [f"{own}_{place}" for place in range(width)]
        return [
            column.model_copy(update={"name": named}) if column.name == _UNNAMED else column
            for column, named in zip(columns, numbered, strict=True)
        ]

    def __str__(self) -> str:
        return "condition:" + ";".join(map(_condition_words, self.columns))


@dataclass(frozen=True, eq=False)
class ConstantRole:
    """The same for all rows, for good."""

    value: NDArray[Any]
    words: str = field(default="")

    def array(self, name: str, shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
        """The value as an input of this shape and type takes it; one number fills the shape, and an axis of 1 in front
        may stand for the rows. Raises RoleError."""
        value = self.value
        if value.size == 1:
            value = np.broadcast_to(value.reshape(()), tuple(shape))
        if value.shape == (1, *shape):
            value = value[0]
        if value.shape != tuple(shape):
            raise RoleError(f"input {name}: a constant of shape {list(value.shape)} is told; {list(shape)} is needed")
        with np.errstate(all="ignore"):
            cast = value.astype(dtype)
        exact = dtype.kind not in "iub" or np.array_equal(cast.astype(np.float64), value.astype(np.float64))
        if not exact or not np.isfinite(cast.astype(np.float64)).all():
            raise RoleError(f"input {name}: the constant {self.words} does not fit {dtype.name}")
        return cast

    def __str__(self) -> str:
        return f"constant:{self.words}"


@dataclass(frozen=True)
class UnusedRole:
    """Read by nothing that matters: zeros."""

    def __str__(self) -> str:
        return "unused"


Role = LatentRole | LabelRole | ConditionRole | ConstantRole | UnusedRole


def split_told(text: str) -> tuple[str, str]:
    """Of `NAME=KIND[:DETAIL]`, or of `NAME` for the latent: the name, and the words for its role."""
    told = _TOLD.fullmatch(text)
    return (text, "latent") if told is None else (told["name"], told["text"])


def parse_role(name: str, text: str) -> Role:
    """The role of the input `name` from its words. Raises RoleError, one line that names the input and the words."""
    kind, colon, detail = text.partition(":")
    parser = _PARSERS.get(kind.strip())
    try:
        if parser is None:
            raise _WordError(f"{kind.strip() or 'nothing'!r} is none of {', '.join(KINDS)}")
        if colon and not detail.strip():
            raise _WordError("nothing follows the colon")
        return parser(detail.strip())
    except _WordError as error:
        raise RoleError(f"input {name}={text}: {error}") from None


class _WordError(Exception):
    """What is wrong with the words."""


def _latent(detail: str) -> LatentRole:
    role = LatentRole()
    for word in _words(detail):
        if _SHAPE.fullmatch(word):
            role = replace(role, shape=tuple(int(size) for size in word.split("x")))
            continue
        called, numbers = _call(word)
        if called in ("normal", "uniform") and len(numbers) in (0, 2):
            prior: Prior = "normal" if called == "normal" else "uniform"
            one, other = numbers or ((0.0, 1.0) if prior == "normal" else (-1.0, 1.0))
            shift, scale = (one, other) if prior == "normal" else (one / 2 + other / 2, other / 2 - one / 2)
            if not (scale > 0 and math.isfinite(scale)):
                raise _WordError("normal(MEAN,SD) needs SD > 0" if prior == "normal" else "uniform(LO,HI): LO < HI")
            role = replace(role, prior=prior, shift=shift, scale=scale)
        elif called == "truncation" and len(numbers) == 1:
            if not 0 < numbers[0] <= 1:
                raise _WordError("truncation(T) needs 0 < T <= 1")
            role = replace(role, truncation=numbers[0])
        else:
            raise _WordError(
                f"{word!r} is no shape (4x64x64), no prior (normal, normal(MEAN,SD), uniform, uniform(LO,HI)) and no "
                "truncation(T)"
            )
    return role


def _noise(detail: str) -> LatentRole:
    role = _latent(detail)
    if role.truncation != 1:
        raise _WordError("noise is not truncated")
    return replace(role, noise=True)


def _label(detail: str) -> LabelRole:
    if detail in ("", "index"):
        return LabelRole("index" if detail else None)
    if detail in ("one-hot", "onehot", "one_hot"):
        return LabelRole("one-hot")
    raise _WordError(f"{detail!r} is neither index nor one-hot; --labels tells names")


_PRIORS: dict[str, Literal["uniform", "log-uniform", "normal"]] = {
    "uniform": "uniform",
    "normal": "normal",
    "log-uniform": "log-uniform",
    "loguniform": "log-uniform",
}


def _condition(detail: str) -> ConditionRole:
    if not detail:
        raise _WordError("a condition needs its range: condition:LO..HI")
    return ConditionRole(tuple(_column(column) for column in detail.split(";")))


def _column(text: str) -> Condition:
    told: dict[str, Any] = {}

    def tell(key: str, value: object) -> None:
        if key in told:
            raise _WordError(f"two words for its {key}: {told[key]} and {value}")
        told[key] = value

    for word in _words(text):
        if span := _RANGE.fullmatch(word):
            tell("range", (_number(span["low"]), _number(span["high"])))
            if span["name"] is not None:
                tell("name", span["name"].strip())
        elif word in _PRIORS:
            tell("prior", _PRIORS[word])
        elif word.startswith("quantiles("):
            tell("prior", "quantiles")
            tell("quantiles", _call(word)[1])
        else:
            tell("unit", word)
    if told.get("quantiles"):
        told.setdefault("range", (told["quantiles"][0], told["quantiles"][-1]))
    if "range" not in told:
        raise _WordError(f"{text.strip()!r} has no range: LO..HI")
    try:
        return Condition(**{"name": _UNNAMED, **told})
    except ValidationError as error:
        raise _WordError(first_fault(error).removeprefix("manifest: Value error, ")) from None


def _condition_words(one: Condition) -> str:
    words = f"{_shown(one.range[0])}..{_shown(one.range[1])}"
    if one.name != _UNNAMED:
        words = f"{one.name}={words}"
    if one.quantiles is not None:
        words += f",quantiles({','.join(map(_shown, one.quantiles))})"
    elif one.prior != "uniform":
        words += f",{one.prior}"
    return words if one.unit is None else f"{words},{one.unit}"


def _constant(detail: str) -> ConstantRole:
    if not detail:
        raise _WordError("a constant needs its value: constant:VALUE")
    if detail.endswith(".npy"):
        try:
            value = np.load(Path(detail), allow_pickle=False)
        except (OSError, ValueError) as error:
            raise _WordError(f"cannot read {detail} ({one_line(error)})") from None
    else:
        try:
            value = np.array(json.loads(detail if detail[0] == "[" or "," not in detail else f"[{detail}]"))
        except (ValueError, RecursionError):
            raise _WordError(f"{detail!r} is no number, true, false, list of lists of them, or file.npy") from None
    if value.dtype.kind not in "fiub" or not value.size or not np.isfinite(value.astype(np.float64)).all():
        raise _WordError(f"{detail!r} must hold finite numbers")
    return ConstantRole(value, detail)


def _unused(detail: str) -> UnusedRole:
    if detail:
        raise _WordError("unused takes no detail")
    return UnusedRole()


_PARSERS: dict[str, Callable[[str], Role]] = {
    "latent": _latent,
    "noise": _noise,
    "label": _label,
    "condition": _condition,
    "constant": _constant,
    "unused": _unused,
}


def _words(detail: str) -> list[str]:
    """What stands between the commas that are in no brackets."""
    words = [word.strip() for word in re.split(r",(?![^()]*\))", detail)] if detail else []
    if "" in words:
        raise _WordError("nothing stands between two commas")
    return words


def _call(word: str) -> tuple[str, list[float]]:
    """Of `name(1,2)`, `name=1` or `name`: the name and the numbers."""
    found = _CALL.fullmatch(word)
    if found is None:
        return word, []
    numbers = found[2] if found[2] is not None else found[3]
    return found[1], [] if numbers is None else [_number(number) for number in numbers.split(",")]


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _WordError(f"{text.strip()!r} is no number") from None
    if not math.isfinite(value):
        raise _WordError(f"{text.strip()!r} is not finite")
    return value


def _worded(kind: str, details: Sequence[str]) -> str:
    return f"{kind}:{','.join(details)}" if details else kind


def _shown(value: float) -> str:
    return format(value, ".9g")
