"""What the inputs of somebody else's graph are: as they are told, else by their shapes, types and names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import onnx
from onnx import helper

from latentserve.service.bundle.graph import all_nodes, draws
from latentserve.service.bundle.manifest import Prior
from latentserve.service.errors import BundleError
from latentserve.service.packing.foreign.names import read_names
from latentserve.service.packing.foreign.prune import holds_numbers
from latentserve.service.packing.foreign.roles import (
    ConditionRole,
    ConstantRole,
    LabelRole,
    LatentRole,
    Role,
    UnusedRole,
    parse_role,
)
from latentserve.service.packing.foreign.signature import Input, Signature

_WHOLE = 1 << 24  # float32 holds all integers up to it

Axis = int | str  # a size, or the name of an axis of any size

# Words of which a name consists, and what an input with one of them is.
_LATENT = {"z", "zs", "latent", "latents", "w", "ws", "gaussian"}
_NOISE = {"noise", "noises", "eps", "epsilon"}
_LABEL = {
    "y", "c", "label", "labels", "class", "classes", "cls", "category", "categories", "categorical", "target",
    "targets", "digit", "digits", "onehot", "hot",
}  # fmt: skip
_WHOLE_PRIOR = {"psi", "truncation", "trunc"}
_TRAINING = {"training", "train", "istraining", "learning"}
# No latent and no label by these names, whatever their type: the value is the user's to say.
_TOLD_ONLY = {
    "t", "time", "timestep", "timesteps", "step", "steps", "sigma", "alpha", "temperature", "temp", "resolution", "res",
    "depth", "level", "lod", "stage", "scale", "guidance", "cutoff", "layer", "size", "length", "seed",
    "n", "num", "number", "count", "samples", "batch",
    "energy", "angle", "theta", "phi", "eta", "pt", "momentum", "mass", "condition", "conditions", "cond", "context",
}  # fmt: skip
# No latent either, but data that go into an encoder, or a network from one to the other: pictures (of some axes),
_PICTURE = {"image", "images", "img", "imgs", "pixel", "pixels", "picture", "pictures", "photo", "photos"}
# and others.
_DATA = {
    "mel", "mels", "melspec", "spectrogram", "spectrograms", "audio", "wav", "wave", "waveform", "waveforms", "speech",
    "video", "videos", "frames", "text", "texts", "prompt", "prompts", "caption", "captions", "tokens",
}  # fmt: skip
_PICTURE_CHANNELS, _PICTURE_SIZE = (1, 3), 16  # of what is a picture by its axes alone; latents have more, or less
_EMBEDDED, _EMBEDDED_STEP = 128, 64  # widths, from the least on, that embeddings have and numbers of classes do not


class Given(NamedTuple):
    """An input as the graph declares it; `axes` is None where not even their number is known."""

    name: str
    dtype: np.dtype[Any]
    axes: tuple[Axis, ...] | None

    @property
    def words(self) -> set[str]:
        return words_of(self.name)

    @property
    def is_data(self) -> bool:
        """Whether it is data, not drawn, by its name or its axes."""
        if self.words & (_LATENT | _NOISE) or self.axes is None:
            return False
        if len(self.axes) > 2 and self.words & _PICTURE:
            return True
        return self.dtype.kind == "f" and (bool(self.words & _DATA) or self._is_picture)

    @property
    def _is_picture(self) -> bool:
        row = self.of_a_row
        if len(row) != 3:
            return False
        channels, *size = row if row[0] in _PICTURE_CHANNELS else row[::-1]
        return channels in _PICTURE_CHANNELS and all(isinstance(one, str) or one >= _PICTURE_SIZE for one in size)

    @property
    def has_rows(self) -> bool:
        """Whether its first axis may be the batch."""
        return self.axes is None or len(self.axes) > 0

    @property
    def of_a_row(self) -> tuple[Axis, ...]:
        return () if self.axes is None else self.axes[1:]

    def __str__(self) -> str:
        if self.axes is None:
            return f"{self.name} ({self.dtype.name} of unknown shape)"
        first = ["batch" if isinstance(axis, str) else str(axis) for axis in self.axes[:1]]
        return f"{self.name} ({self.dtype.name} [{', '.join([*first, *(str(axis) or '?' for axis in self.axes[1:])])}])"


def words_of(name: str) -> set[str]:
    """What a name is made of: `Z_label:0` of z, label."""
    name = re.sub(r"([a-z])([A-Z])", r"\1 \2", re.sub(r":\d+$", "", name))
    return set(re.findall(r"[a-z]+", name.lower()))


def may_be_latent(name: str) -> bool:
    """Whether a name is one of latents, or of noise."""
    return bool(words_of(name) & (_LATENT | _NOISE))


def is_label(name: str) -> bool:
    """Whether a name is one of labels."""
    return bool(words_of(name) & _LABEL)


def is_told_only(name: str) -> bool:
    """Whether a name is of something that is neither latent nor label."""
    return bool(words_of(name) & _TOLD_ONLY)


@dataclass(frozen=True)
class Assigned:
    """Every input with its role.

    Attributes:
        signature: of them all.
        batch: rows that the graph takes at a time, as it declares them; None: any.
        guessed: names of those whose role rests on their name.
    """

    signature: Signature
    batch: int | None
    guessed: frozenset[str]


def given_inputs(model: onnx.ModelProto, source: str) -> list[Given]:
    """The inputs of a graph that are no weights, nor have a default. Raises BundleError: one is no tensor of
    numbers."""
    weights = {weight.name for weight in model.graph.initializer}
    weights |= {weight.values.name for weight in model.graph.sparse_initializer}
    found = []
    for value in model.graph.input:
        if value.name in weights:
            continue
        kind = value.type.tensor_type
        if not holds_numbers(value):
            raise BundleError(f"{source}: the input {value.name} holds no numbers; export the part behind it")
        axes: tuple[Axis, ...] | None = None
        if kind.HasField("shape"):
            axes = tuple(_axis(axis, place) for place, axis in enumerate(kind.shape.dim))
        found.append(Given(value.name, np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type)), axes))
    return found


def drop_defaults(model: onnx.ModelProto, told: Collection[str]) -> None:
    """Let inputs that are told be inputs, though they have a default: a weight of their name. In place."""
    inputs = {value.name for value in model.graph.input} & set(told)
    kept = [weight for weight in model.graph.initializer if weight.name not in inputs]
    if len(kept) < len(model.graph.initializer):
        copies = onnx.GraphProto(initializer=kept)
        del model.graph.initializer[:]
        model.graph.initializer.MergeFrom(copies.initializer)


def _axis(axis: onnx.TensorShapeProto.Dimension, place: int) -> Axis:
    """Exporters of old write -1 for any size, or 0 for the batch."""
    told = axis.HasField("dim_value") and (axis.dim_value > 0 or (axis.dim_value == 0 and place > 0))
    return axis.dim_value if told else axis.dim_param


def assign_roles(
    model: onnx.ModelProto, source: str, told: Mapping[str, str], labels: Sequence[str] | None, prior: Prior
) -> Assigned:
    """Give every input of a graph its role.

    Args:
        model: as it was brought.
        source: what errors name.
        told: words for the roles of some inputs (`parse_role`).
        labels: their names, where they are told.
        prior: of latents that are told none.

    Raises BundleError, one line: words that no input fits, or an input of which it cannot be seen what it is.
    """
    given = given_inputs(model, source)
    known = [one.name for one in given]
    if stranger := next((name for name in told if name not in known), None):
        raise BundleError(f"{source}: it has no input {stranger}; its inputs are {', '.join(known) or 'none'}")
    roles: dict[str, Role] = {name: parse_role(name, text) for name, text in told.items()}
    read = _read(model)
    for one in given:
        role = roles.get(one.name, UnusedRole())
        if one.name not in read and not isinstance(role, ConstantRole | UnusedRole):
            raise BundleError(f"{source}: nothing reads the input {one}, which can only be unused")
        if isinstance(role, LatentRole) and one.dtype.kind != "f":
            if one.dtype.kind == "b":
                raise BundleError(f"{source}: the input {one} cannot be drawn, for it holds no numbers")
            if role.prior != "uniform":
                raise BundleError(
                    f"{source}: the input {one} holds whole numbers, which are drawn from 0 to N - 1: --input "
                    f"{one.name}={'noise' if role.noise else 'latent'}:uniform(0,N)"
                )
            if not (role.wholes[0] <= role.wholes[1] and _holds(one.dtype, role.wholes)):
                raise BundleError(f"{source}: the input {one} cannot hold all whole numbers of {role}")
    guess = _Guess(given, roles, read, has_chance=any(draws(node) for node in all_nodes(model)), unnamed=labels is None)
    guess.all()
    if guess.unclear:
        raise BundleError(f"{source}: {_question(guess.unclear)}")
    return _assigned(given, guess, source, labels, prior)


def _holds(dtype: np.dtype[Any], ends: tuple[int, int]) -> bool:
    """Whether a type of integers, and float32 on the way to it, tell all numbers between two apart."""
    known = np.iinfo(dtype)
    return max(known.min, -_WHOLE) <= ends[0] and ends[1] <= min(known.max, _WHOLE)


def _read(model: onnx.ModelProto) -> set[str]:
    """Names of values that something reads."""
    read = {name for node in model.graph.node for name in read_names(node)}
    return read | {value.name for value in model.graph.output}


class _Guess:
    """Roles for the inputs that are told none."""

    def __init__(
        self, given: Sequence[Given], told: Mapping[str, Role], read: set[str], *, has_chance: bool, unnamed: bool
    ) -> None:
        self.roles = dict(told)
        self._unnamed = unnamed
        self.guessed: set[str] = set()
        self._given = given
        self._read = read
        self._has_chance = has_chance

    @property
    def unclear(self) -> list[Given]:
        """Those that have none yet."""
        return [one for one in self._given if one.name not in self.roles]

    def all(self) -> None:
        for one in self.unclear:
            if one.name not in self._read or 0 in (one.axes or ()):
                self.roles[one.name] = UnusedRole()
            elif one.words & _TRAINING and (one.dtype.kind == "b" or one.axes in ((), (1,))):
                self._by_name(one, ConstantRole(np.array(False), "false"))
            elif one.words & _WHOLE_PRIOR and one.dtype.kind == "f" and _is_one_number(one):
                self._by_name(one, ConstantRole(np.array(1.0), "1"))
        self._latents()
        self._labels()

    def _latents(self) -> None:
        floats = [one for one in self.unclear if one.dtype.kind == "f" and one.has_rows]
        floats = [one for one in floats if one.words & _NOISE or not self._is_of_all_rows(one)]
        is_told = any(isinstance(role, LatentRole) and not role.noise for role in self.roles.values())
        maybe = [one for one in floats if not one.words & (_TOLD_ONLY | _LABEL) and not one.is_data]
        noise = [one for one in maybe if one.words & _NOISE and not one.words & _LATENT]
        others = [one for one in maybe if one not in noise]
        named = [one for one in others if one.words & _LATENT]
        if is_told:
            latents: list[Given] = []
        elif named:
            latents = named
        elif len(floats) == 1 and (maybe or not self._has_chance) and not _is_parameter(floats[0]):
            latents = floats
        elif len(others) == 1 and all(len(one.axes or ()) > 2 for one in noise):
            latents = others
        elif not others and len(noise) == 1:
            latents = noise
        elif not others and len(flat := [one for one in noise if len(one.axes or ()) == 2]) == 1:
            latents = flat
        else:
            return
        for one in latents:
            self._by_name(one, LatentRole(), sure=len(floats) == 1)
        for one in (one for one in noise if one not in latents):
            self._by_name(one, LatentRole(noise=True))

    def _labels(self) -> None:
        if any(isinstance(role, LabelRole) for role in self.roles.values()):
            return
        candidates = [one for one in self.unclear if one.has_rows]
        named = [one for one in candidates if one.words & _LABEL]
        integers = [one for one in candidates if one.dtype.kind in "iu" and _is_one_number(one)]
        integers = [one for one in integers if not one.words & _TOLD_ONLY]
        # An integer for all rows ([], [1] beside inputs of any number of rows) is a parameter.
        integers = [one for one in integers if not self._is_of_all_rows(one)]
        if len(named) == 1 and not (self._unnamed and _may_be_embedded(named[0])):
            self._by_name(named[0], LabelRole())
        elif not named and len(integers) == 1:
            self._by_name(integers[0], LabelRole(), sure=True)

    def _is_of_all_rows(self, one: Given) -> bool:
        free = any(other.axes and isinstance(other.axes[0], str) for other in self._given)
        return free and one.axes is not None and isinstance(one.axes[0], int)

    def _by_name(self, one: Given, role: Role, *, sure: bool = False) -> None:
        self.roles[one.name] = role
        if not sure:
            self.guessed.add(one.name)


def _is_parameter(one: Given) -> bool:
    """Whether its name tells that it is no latent, and it is one number a row, or data."""
    return one.is_data or (bool(one.words & _TOLD_ONLY) and _is_one_number(one))


def _may_be_embedded(one: Given) -> bool:
    """Whether it has so many numbers a row that it may be an embedding, of a text or a class, as well as one-hot."""
    widths = [axis for axis in one.of_a_row if axis != 1]
    return one.dtype.kind == "f" and any(
        isinstance(axis, int) and axis >= _EMBEDDED and axis % _EMBEDDED_STEP == 0 for axis in widths
    )


def _is_one_number(one: Given) -> bool:
    """Whether it is a scalar, or has one number a row, [batch] or [batch, 1] or [batch, 1, 1, 1]."""
    return all(axis == 1 for axis in one.of_a_row)


def _question(unclear: Sequence[Given]) -> str:
    """Ask what these inputs are."""
    latents = [one for one in unclear if one.dtype.kind == "f" and one.has_rows]
    if len(latents) > 1 and len(latents) == len(unclear):
        names = ", ".join(map(str, latents))
        return (
            f"which of {names} is the latent, and what are the others? Say it of each: --input NAME=latent, noise, "
            "label:one-hot, condition:LO..HI, constant:VALUE or unused"
        )
    one = unclear[0]
    of_a_row = one.axes is None or any(isinstance(axis, str) for axis in one.axes[:1])
    if not one.has_rows or (one.dtype.kind == "b" and _is_one_number(one) and not of_a_row):
        likely = f"it is one for all rows, so it needs a value: --input {one.name}=constant:VALUE"
    elif one.is_data:
        likely = (
            "data seem to go into it, so that it is no generator: export the part behind its encoder; or say --input "
            f"{one.name}=latent if they are drawn"
        )
    elif one.dtype.kind in "iu" and not _is_one_number(one):
        likely = (
            f"of codes that are drawn from 0 to N - 1, say --input {one.name}=latent:uniform(0,N); else "
            f"{one.name}=label:one-hot, {one.name}=constant:VALUE or {one.name}=unused"
        )
    elif one.dtype.kind in "iub":
        likely = (
            f"say --input {one.name}=label, {one.name}=constant:VALUE, {one.name}=condition:LO..HI or {one.name}=unused"
        )
    elif one.words & _LABEL and _may_be_embedded(one):
        likely = (
            f"of classes say --input {one.name}=label:one-hot; of an embedding, which no class has, "
            f"{one.name}=latent, {one.name}=condition:LO..HI or {one.name}=constant:FILE.npy"
        )
    else:
        likely = (
            f"say --input {one.name}=KIND, which is latent, noise, label, condition:LO..HI, constant:VALUE or unused"
        )
    rest = f" (and of {', '.join(other.name for other in unclear[1:])})" if len(unclear) > 1 else ""
    return f"what is the input {one}? {likely[0].upper()}{likely[1:]}{rest}"


def _assigned(
    given: Sequence[Given], guess: _Guess, source: str, labels: Sequence[str] | None, prior: Prior
) -> Assigned:
    """The roles with the shapes that they are fed in."""
    of_rows = [one for one in given if not isinstance(guess.roles[one.name], ConstantRole | UnusedRole)]
    if scalar := next((one for one in of_rows if not one.has_rows), None):
        role = guess.roles[scalar.name]
        raise BundleError(
            f"{source}: the input {scalar} is one for all rows, and can be no {str(role).partition(':')[0]} but a "
            f"constant: --input {scalar.name}=constant:VALUE"
        )
    batch = _batch(of_rows, source)
    inputs = tuple(_input(one, guess.roles[one.name], batch, source, labels) for one in given)
    if len([one for one in inputs if isinstance(one.role, LabelRole)]) > 1:
        names = ", ".join(one.name for one in inputs if isinstance(one.role, LabelRole))
        raise BundleError(f"{source}: {names} cannot be labels all of them; one can")
    return Assigned(Signature(inputs, prior), batch, frozenset(guess.guessed))


def _batch(of_rows: Sequence[Given], source: str) -> int | None:
    """The number of rows that inputs declare; None where one of them leaves it open."""
    firsts = {one.name: one.axes[0] if one.axes else "" for one in of_rows}
    sizes = {size for size in firsts.values() if isinstance(size, int)}
    if not sizes or any(isinstance(size, str) for size in firsts.values()):
        return None
    if len(sizes - {1}) > 1:
        shown = ", ".join(f"{name} {size}" for name, size in firsts.items())
        raise BundleError(f"{source}: the inputs' first axes must be the batch, and have other sizes: {shown}")
    return max(sizes)


def _input(given: Given, role: Role, batch: int | None, source: str, labels: Sequence[str] | None) -> Input:
    axes = given.axes
    match role:
        case ConstantRole() | UnusedRole():
            shape = axes or ()
            # An axis of 1 stands for any number of rows.
            batched = len(shape) > 0 and (isinstance(shape[0], str) or shape[0] == (batch or 1) != 1)
            shape = shape[1:] if batched else shape
            if any(isinstance(axis, str) for axis in shape):
                fits = isinstance(role, ConstantRole) and len(role.value.shape) == len(shape)
                shape = role.value.shape if fits and isinstance(role, ConstantRole) else _ones(shape)
            return Input(given.name, given.dtype, _sized(given, shape, source, "constant"), batched, role)
        case LatentRole():
            row = _latent_row(given, role, source)
            return Input(given.name, given.dtype, row, True, role)
        case LabelRole():
            return _label(given, role, source, labels)
        case ConditionRole():
            row = tuple(len(role.columns) if isinstance(axis, str) else axis for axis in given.of_a_row)
            return Input(given.name, given.dtype, row, True, role)


def _latent_row(given: Given, role: LatentRole, source: str) -> tuple[int, ...]:
    row = given.of_a_row
    if given.axes is None or any(isinstance(axis, str) for axis in row):
        if role.shape is None:
            kind = "noise" if role.noise else "latent"
            example = "x".join("16" if isinstance(axis, str) else str(axis) for axis in row) or "16"
            raise BundleError(
                f"{source}: the {kind} {given} leaves the shape of a row open; say it: --input "
                f"{given.name}={kind}:{example}"
            )
        row = role.shape if given.axes is None else row
    if role.shape is not None:
        fits = len(role.shape) == len(row) and all(
            isinstance(axis, str) or axis == size for axis, size in zip(row, role.shape, strict=True)
        )
        if not fits:
            told = "x".join(map(str, role.shape))
            raise BundleError(f"{source}: the input {given} has no rows of shape {told}, which is told")
        return role.shape
    return tuple(int(axis) for axis in row)


def _label(given: Given, role: LabelRole, source: str, labels: Sequence[str] | None) -> Input:
    row: tuple[Axis, ...] = given.of_a_row
    form: Literal["index", "one-hot"] = role.form or ("index" if _is_one_number(given) else "one-hot")
    if form == "one-hot":
        if given.axes is not None and not row:
            raise BundleError(
                f"{source}: the label {given} holds one number a row, an index: --input {given.name}=label"
            )
        row = row or ("",)
        if len([axis for axis in row if axis != 1]) > 1:
            raise BundleError(
                f"{source}: the label {given} holds maps; export it with [batch, labels], of which the graph makes "
                f"them, or say what else it is: --input {given.name}=KIND"
            )
        row = tuple(len(labels or ()) if isinstance(axis, str) else axis for axis in row)
        if 0 in row:
            raise BundleError(f"{source}: the label {given} does not say how many there are; say --labels A,B,...")
    elif not all(axis == 1 or isinstance(axis, str) for axis in row):
        raise BundleError(
            f"{source}: the label {given} must hold an index a row; told one-hot, it holds a 1 among zeros: --input "
            f"{given.name}=label:one-hot"
        )
    else:
        row = tuple(1 for _ in row)
    return Input(given.name, given.dtype, _sized(given, row, source, "label"), True, LabelRole(form))


def _ones(shape: Sequence[Axis]) -> tuple[int, ...]:
    return tuple(1 if isinstance(axis, str) else axis for axis in shape)


def _sized(given: Given, shape: Sequence[Axis], source: str, kind: str) -> tuple[int, ...]:
    if any(isinstance(axis, str) for axis in shape):
        raise BundleError(f"{source}: the {kind} {given} leaves its shape open; tell it as a constant of its shape")
    return tuple(int(axis) for axis in shape)
