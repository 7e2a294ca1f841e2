"""How a generator is called: what each of its parameters is, as told, else by its name and place; what is left open is
tried on a few rows."""

from __future__ import annotations

import inspect
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from latentserve.service.bundle import Condition, Inputs, Latent
from latentserve.service.bundle.manifest import Prior
from latentserve.service.packing.foreign.inputs import is_label, is_told_only
from latentserve.service.packing.foreign.original import draw_rows
from latentserve.service.packing.foreign.roles import (
    ConditionRole,
    LabelRole,
    LatentRole,
    Role,
    RoleError,
    UnusedRole,
    parse_role,
)
from latentserve.service.packing.foreign.rows_axis import ROWS, rows_axis
from latentserve.service.packing.foreign.signature import Input, Signature
from latentserve.service.packing.spans import share_off
from latentserve.training.errors import ExportError
from latentserve.training.export.adapter import Adapter, Argument, evaluating
from latentserve.training.export.chance import Drawn, Unseen
from latentserve.training.export.dependence import depends, is_dependent, told_dependence
from latentserve.training.export.devices import told_devices
from latentserve.training.export.draws import Calls, OfRow, Once, understand
from latentserve.training.export.elsewhere import run_from_several_states
from latentserve.training.export.linear_algebra import alike
from latentserve.training.export.outputs import pick_output, take_output
from latentserve.training.export.precision import told_reduced
from latentserve.training.export.target import Target

_SEEDS = (0, 1, 2)  # of calls that are compared
# Parameters that are the number of rows: `sample(num_samples)` draws its latent itself.
_COUNT = re.compile(r"n|bs|num|count|batch_?size|(n|num|number(_of)?)_?(samples?|rows|images|examples|points)")
_MOST_NAMED = 4  # weights, in a sentence
_MOST_SIZES, _LARGEST = 8, 4096  # numbers in an error that may be its number of rows, and rows
_FLOAT, _INTEGER = np.dtype(np.float32), np.dtype(np.int64)
_LABEL_WORDS = {"y", "c", "label", "labels", "class", "classes", "cls", "class_label", "class_labels", "one_hot"}


@dataclass(frozen=True)
class Told:
    """What the user says of the inputs; `latent`: what z is drawn from, where the module says it itself."""

    latent_shape: tuple[int, ...] | None = None
    latent_dim: int | None = None
    prior: Prior = "normal"
    inputs: Mapping[str, str] | None = None
    labels: int | None = None
    conditions: Sequence[Condition] | None = None
    output: str | int | None = None
    constant_noise: bool = False
    latent: Latent | None = None


@dataclass(frozen=True)
class _Slot:
    """A parameter, and what may be given for it: the likeliest first; None: nothing is given. `count`: it is the number
    of rows."""

    name: str
    ways: list[Input]
    keyword: str | None
    count: bool = False

    @property
    def is_none(self) -> bool:
        return isinstance(self.ways[0].role, UnusedRole) and not self.count


def fit(target: Target, told: Told) -> tuple[Adapter, list[str]]:
    """A generator's adapter, and what was guessed, a sentence each. Raises ExportError: it cannot be called, or
    does not give one sample a row."""
    slots = _slots(target, told)
    before = target.totals()
    calls = list(_calls(slots, target))
    failed: list[tuple[list[Argument], _CallError]] = []
    others: list[ExportError] = []
    batches: list[int | None] = [None]
    for batch in batches:
        for arguments, listed in calls:
            try:
                adapter, remarks = _try(target, arguments, listed, told, batch)
                remarks += _check_repeats(adapter, told.labels or 1, before)
                if is_dependent(share := _depends(adapter, told.labels or 1)):
                    rows = draw_rows(adapter.signature, 4, told.labels or 1)
                    raise _DependentError(told_dependence(adapter, rows, share))
            except _CallError as error:
                failed += [(arguments, error)] * (batch is None)
            except (_ShapeError, _DependentError) as error:
                others.append(error)
            else:
                return adapter, [*_guessed(slots, arguments), *remarks]
        if batch is None and not any(isinstance(error, _DependentError | _SeveralError) for error in others):
            batches += _sizes(str(failed[0][1]) if failed else "")
    if others:
        raise others[0]
    arguments, cause = failed[0]
    said = [f"forward of shapes {_shapes(arguments)} fails: {cause}"]
    if "does not require grad" in str(cause):
        said.append("it takes gradients, which no graph does")
    if len({str(error) for _, error in failed}) > 1:
        said.append(f"{len(failed) - 1} other ways to call it fail too: say latent_shape= or inputs=")
    said += [f"{slot.name} was given None: say labels= or inputs=" for slot in slots if slot.is_none]
    raise ExportError(f"generator: {'; '.join(said)}{target.hint}")


def _calls(slots: Sequence[_Slot], target: Target) -> Iterator[tuple[list[Argument], bool]]:
    """Every way to call it: the arguments, and whether they are given as one list."""
    found = [
        [Argument(way, slot.keyword, slot.count) for way, slot in zip(ways, slots, strict=True)]
        for ways in itertools.product(*(slot.ways for slot in slots))
    ]
    yield from ((arguments, False) for arguments in found)
    alone = len(slots) == 1 and slots[0].keyword is None
    if alone or (target.parameters is None and len(slots) > 1):
        yield from ((arguments, True) for arguments in found)


def _sizes(said: str) -> list[int]:
    """Numbers of rows that it may be made for, and fails with others: one, and those in what it said."""
    found = (int(number) for number in re.findall(r"\d+", said)[:_MOST_SIZES])
    return list(dict.fromkeys([1, *(size for size in found if ROWS[1] < size <= _LARGEST)]))


class _DependentError(ExportError):
    """Its rows depend on each other."""


class _ShapeError(ExportError):
    """What it gives is not one sample a row."""


class _SeveralError(_ShapeError):
    """It gives several a row."""


@dataclass(frozen=True)
class _Stated(Signature):
    """With a latent that the module states itself; noise comes after it."""

    stated: Latent | None = None

    @cached_property
    def latent(self) -> Latent:
        if self.stated is None:
            return super().latent
        noise = [role.part(one.name, one.shape) for one, role in self.latents if role.noise]
        parts = [*self.stated.pieces, *noise]
        return Latent(dim=sum(part.width for part in parts), parts=parts) if noise else self.stated


class _CallError(Exception):
    """This way of calling it fails."""


def _slots(target: Target, told: Told) -> list[_Slot]:
    """What each parameter may be. Raises ExportError: one must be given and nothing is told of it."""
    roles = {name: _role(name, text) for name, text in (told.inputs or {}).items()}
    parameters = target.parameters
    if parameters is None:
        names = list(roles)
    else:
        if target.any_keyword:
            others = (name for name in roles if name not in parameters)
            parameters = {**parameters, **{n: inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in others}}
        names = list(parameters)
        if stranger := next((name for name in roles if name not in names), None):
            raise ExportError(f"generator: takes no {stranger}; it takes {', '.join(names) or 'nothing'}")
    free = [name for name in names if name not in roles]
    conditions, count = list(told.conditions or ()), ""
    if not any(isinstance(role, LatentRole) and not role.noise for role in roles.values()):
        # The first by place, but for what is something else by its name.
        taken = {one.name for one in conditions} | {name for name in free if is_label(name) or is_told_only(name)}
        name = _first(free, parameters, "z", [name for name in free if name not in taken] or [*free])
        if name is None:
            raise ExportError("generator: takes nothing, so there is no latent; pass the part that takes it")
        if parameters is not None and _COUNT.fullmatch(name):
            count = name
        else:
            roles = {name: LatentRole(), **roles}
    if told.labels is not None and not any(isinstance(role, LabelRole) for role in roles.values()):
        exact = [name for name in free if name.lower() in _LABEL_WORDS]
        named = exact or [name for name in free if is_label(name)]
        name = _first(free, parameters, "label", named or _only(free, parameters, "labels", "label"))
        if name is None:
            raise ExportError("generator: labels are told, and it takes no second input")
        roles[name] = LabelRole()
    if conditions and all(condition.name in free for condition in conditions):
        for condition in conditions:
            roles[condition.name] = ConditionRole((condition,))
            free.remove(condition.name)
    elif conditions:
        named = [name for name in free if name.lower() in ("condition", "conditions", "cond")]
        name = _first(free, parameters, "condition", named or _only(free, parameters, "conditions", "condition:LO..HI"))
        if name is None:
            raise ExportError("generator: conditions are told, and it takes no further input")
        roles[name] = ConditionRole(tuple(conditions))
    ways = {name: _ways(name, role, told) for name, role in roles.items()}
    if parameters is None:
        return [_Slot(name, found, None) for name, found in ways.items()]
    slots, by_place = [], True
    for name, one in parameters.items():
        if name in ways:
            found = ways[name]
        elif name == count:
            found = [Input(name, _INTEGER, (), False, UnusedRole())]
        elif one.default is inspect.Parameter.empty and is_label(name):
            found = [Input(name, _FLOAT, (), False, UnusedRole())]  # None, as StyleGAN's c without labels
        elif one.default is inspect.Parameter.empty:
            raise ExportError(
                f"generator: must be given {name}, of which nothing is told; say inputs={{{name!r}: 'KIND'}}, KIND one "
                "of latent, noise, label, condition:LO..HI, constant:VALUE"
            )
        else:
            by_place = False
            continue
        by_place = by_place and one.kind != one.KEYWORD_ONLY
        slots.append(_Slot(name, found, None if by_place else name, name == count))
    return slots


def _role(name: str, text: str) -> Role:
    try:
        return parse_role(name, text)
    except RoleError as error:
        raise ExportError(f"generator: {error}") from None


def _first(
    free: list[str], parameters: Mapping[str, inspect.Parameter] | None, default: str, likely: Sequence[str]
) -> str | None:
    """The parameter that something is given for, taken from `free`: the first of the likely ones that is given by
    place, else the first of them; None: there are none."""
    if parameters is None:
        return default
    by_place = (name for name in likely if parameters[name].kind != inspect.Parameter.KEYWORD_ONLY)
    found = next(by_place, None) or next(iter(likely), None)
    if found is not None:
        free.remove(found)
    return found


def _only(free: Sequence[str], parameters: Mapping[str, inspect.Parameter] | None, what: str, kind: str) -> list[str]:
    """The one parameter that something may be given for, though its name tells nothing: one that must be given, else
    one whose default is None; never one with a value of its own, or that is called otherwise. Raises ExportError:
    there are several."""
    if parameters is None:
        return []
    unlike = is_told_only if what == "labels" else is_label
    able = [name for name in free if not unlike(name)]
    found = [name for name in able if parameters[name].default is inspect.Parameter.empty]
    found = found or [name for name in able if parameters[name].default is None]
    if len(found) > 1:
        raise ExportError(
            f"generator: {what} are told, and it takes {', '.join(found)}: say which, inputs={{{found[0]!r}: {kind!r}}}"
        )
    return found


def _ways(name: str, role: Role, told: Told) -> list[Input]:
    """The shapes and types in which it may be given."""

    def inputs(dtype: np.dtype[Any], role: Role, *shapes: tuple[int, ...]) -> list[Input]:
        return [Input(name, dtype, shape, True, role) for shape in shapes]

    match role:
        case LatentRole():
            shape = role.shape or (None if role.noise else told.latent_shape)
            if shape is not None:
                codes = inputs(_INTEGER, role, tuple(shape)) if role.prior == "uniform" else []
                return [*inputs(_FLOAT, role, tuple(shape)), *codes]
            d = told.latent_dim if told.latent is None else told.latent.dim
            if role.noise or d is None:
                kind = "noise" if role.noise else "latent"
                width = "" if role.noise else "latent_dim=, or "
                raise ExportError(
                    f"generator: say {width}the shape of a row of {name}: inputs={{{name!r}: '{kind}:1x8x8'}}"
                )
            return inputs(_FLOAT, role, (d,), (d, 1, 1), (1, d), (1, 1, d), (d, 1))
        case LabelRole(form):
            if told.labels is None:
                raise ExportError(f"generator: {name} is a label; say labels=, a name each")
            index = inputs(_INTEGER, LabelRole("index"), (), (1,))
            hot = inputs(_FLOAT, LabelRole("one-hot"), (told.labels,), (told.labels, 1, 1))
            return [*index[:1], *hot, *index[1:]] if form is None else index if form == "index" else hot
        case ConditionRole(columns):
            k = len(columns)
            return inputs(_FLOAT, role, *([(k,)] if k > 1 else [(1,), ()]))
        case _:
            value = getattr(role, "value", np.zeros(()))
            return [Input(name, value.dtype, value.shape, False, role)]


def _try(
    target: Target, arguments: list[Argument], listed: bool, told: Told, batch: int | None
) -> tuple[Adapter, list[str]]:
    """The adapter for one way to call it, with so many rows or any number of them, and what is to be said of it. Raises
    _CallError, or ExportError: it runs, and is no generator."""
    inputs = [argument.input for argument in arguments]
    try:
        drawing = Adapter(
            target, arguments, _Stated(tuple(inputs), told.prior, told.latent), listed=listed, batch=batch
        )
        rows = draw_rows(drawing.signature, 2 * (batch or ROWS[1]), told.labels or 1)
    except RoleError as error:
        raise ExportError(f"generator: {error}") from None
    # Backwards, so that the first row is another in each run, and what is of it is told from what is of none.
    more, others = (rows.take(np.arange(batch or ROWS[1])[::-1] + start) for start in (0, batch or ROWS[1]))
    few = others if batch else rows.take(np.arange(ROWS[0])[::-1])
    found: list[_Called] = []
    met: list[list[nn.Module]] = []
    for given in (few, more):
        with _strangers(drawing) as strangers:
            found.append(_call(drawing, given, told))
        met.append(strangers)
    if strangers := [one for one in met[0] if one in met[1]]:  # others are made anew at each call
        training = [type(one).__name__ for one in strangers if any(part.training for part in one.modules())]
        target.modules.extend(strangers)
        adapter, said = _try(target, arguments, listed, told, batch)
        kinds = ", ".join(dict.fromkeys(training))
        own = [f"it runs modules that are not registered with it ({kinds}), in eval mode"] if training else []
        return adapter, [*said, *own]
    if len(found[0].drawn) != len(found[1].drawn):  # it may keep what it drew when it ran first
        found[0] = _call(drawing, few, told)
    output = found[0].output
    known = [
        one if alike(one, other) else None for one, other in zip(found[0].computed, found[1].computed, strict=False)
    ]
    draws: list[OfRow | Once] = []
    remarks: list[str] = []
    one = more if batch else rows.take(slice(0, 1))
    if any(called.drawn for called in found):
        found += [_call(drawing, given, told, seed) for seed, given in zip(_SEEDS, (more, others, one), strict=True)]
        drawn = Calls(*(called.drawn for called in found))
        draws, remarks = understand(drawn, [one.name for one in inputs], constant=told.constant_noise, batch=batch)
        if all(isinstance(one, Once) for one in draws) and not told.constant_noise and not drawing.reduced:
            same = [Once(one.own, None) for one in drawn.alone if one.own is not None]
            kept = Adapter(target, arguments, drawing.signature, listed=listed, draws=same, output=output)
            _check_same(kept, one, names=[each.function for each in drawn.alone])
    axis, row = _place(arguments, found, batch, lambda: _call(drawing, one, told).sample)
    if drawing.reduced:
        remarks.append(told_reduced(drawing.reduced))
    if drawing.lacking:
        remarks.append(told_devices(drawing.lacking))
    if axis:
        remarks.append(f"rows lie along axis {axis} of what it gives, and are put first")
    drawn_inputs = [one.input for one in draws if isinstance(one, OfRow)]
    if not drawing.signature.latents:
        if not drawn_inputs:
            raise ExportError(
                "generator: takes a number of rows, and draws none of its own from torch for each; give the part that "
                "takes the latent"
            )
        drawn_inputs = [
            replace(one, role=LatentRole(one.role.prior, one.role.shift, one.role.scale))
            for one in drawn_inputs
            if isinstance(one.role, LatentRole)
        ]
    inputs += drawn_inputs
    signature = _Stated(tuple(inputs), told.prior, told.latent)
    adapter = Adapter(
        target,
        arguments,
        signature,
        listed=listed,
        draws=draws,
        known=known,
        output=output,
        batch=batch,
        axis=axis,
        row=row,
    )
    return adapter, remarks


def _place(
    arguments: Sequence[Argument], found: Sequence[_Called], batch: int | None, alone: Callable[[], Tensor]
) -> tuple[int, tuple[int, ...] | None]:
    """Along which axis rows lie, of samples for few and for more; and the shape of a row, where one alone loses its
    axis. Raises _ShapeError: they lie along none."""
    few, more = found[0].sample.shape, found[1].sample.shape
    if batch is not None:
        if batch == 1 and more[:1] != (1,) and few == more and len(more) > 0:
            return 0, tuple(more)
        _check(found[1].sample, batch, _shapes(arguments, batch))
        return 0, None
    axis = 0 if (few[:1], more[:1]) == ((ROWS[0],), (ROWS[1],)) else rows_axis(few, more)
    if axis == 0 and (each := few[0] // ROWS[0]) * ROWS[0] == few[0] and each > 1:
        raise _SeveralError(
            f"generator: gives {each} samples a latent, [{each} * N{''.join(f', {size}' for size in few[1:])}]; one a "
            "latent is needed: let it give [N, ...], or call= a function that reshapes or chooses"
        )
    if axis is None or few[axis] != ROWS[0]:
        _check(found[0].sample, ROWS[0], _shapes(arguments))
        _check(found[1].sample, ROWS[1], _shapes(arguments, ROWS[1]))
        return 0, None
    try:
        made = alone().shape
    except _CallError:  # that is told where rows are compared
        return axis, None
    row = tuple(more[:axis] + more[axis + 1 :])
    return axis, row if axis == 0 and made != (1, *row) and made.numel() == math.prod(row) else None


@contextmanager
def _strangers(adapter: Adapter) -> Iterator[list[nn.Module]]:
    """The outermost modules that are called within the block and are none of the adapter's."""
    known, met = set(adapter.modules()), list[nn.Module]()

    def meet(module: nn.Module, _inputs: Any) -> None:
        if module not in known:
            known.update(module.modules())
            met.append(module)

    hook = register_module_forward_pre_hook(meet)
    try:
        yield met
    finally:
        hook.remove()


class _Called(NamedTuple):
    """What a call drew and computed of weights alone, and what it gave: which part is the sample, and that."""

    drawn: list[Drawn]
    computed: list[Any]
    output: str
    sample: Tensor


def _call(drawing: Adapter, given: Inputs, told: Told, seed: int | None = None) -> _Called:
    """`seed`: from which torch draws, unless the module says otherwise."""
    rows = len(given.z)
    with evaluating(drawing), torch.no_grad():
        if seed is not None:
            torch.manual_seed(seed)
        try:
            made = drawing.call(*drawing.tensors(given))
        except ExportError as error:
            raise ExportError(f"generator: {error}") from None
        except Exception as error:  # the module is anybody's
            raise _CallError(one_line(error)) from None
    output, sample = pick_output(made, told.output, rows)
    if sample.is_complex():
        raise ExportError("generator: gives complex numbers; samples are real: torch.view_as_real makes two of one")
    return _Called(drawing.drawn, drawing.computed, output, sample)


def _check_same(adapter: Adapter, given: Inputs, names: Sequence[str]) -> None:
    """Raises ExportError: given what torch drew in a call from the last seed, it does not give what the module gives
    by itself."""
    made = adapter.run(given)
    with evaluating(adapter), torch.no_grad():
        torch.manual_seed(_SEEDS[-1])
        own = take_output(adapter.by_itself(*adapter.tensors(given)), adapter.output or "").float().cpu().numpy()
    if not is_dependent(share_off(np.nan_to_num(made), np.nan_to_num(own), made)):
        return
    drawn = " and ".join(dict.fromkeys(names))
    raise ExportError(
        f"generator: {drawn} draws from a fixed seed, in a way that cannot be drawn again; draw it once, and keep it "
        "as a buffer"
    )


def _check(sample: Tensor, rows: int, shapes: str) -> None:
    if sample.shape[:1] != (rows,):
        raise _ShapeError(
            f"generator: gives {sample.dtype} {list(sample.shape)} for inputs of shapes {shapes}; one sample a row, "
            "float32 [batch, ...] is needed"
        )


def _check_repeats(adapter: Adapter, labels: int, before: Mapping[str, str]) -> list[str]:
    """What is to be said of a generator that gives the same for the same inputs, and had weights of these `totals`.
    Raises ExportError: it does not, or changes its weights."""
    inputs = draw_rows(adapter.signature, 4, labels)
    with _told_as_error():
        runs = run_from_several_states(lambda: adapter.run(inputs))
    elsewhere, changed = " and ".join(runs.names), adapter.target.changed(before)
    if not runs.alike and not elsewhere and changed:
        why = f"keeps a state: running it changes its {listed(changed)}, which no request may"
        raise ExportError(f"generator: gives two answers for the same inputs, and {why}")
    if not runs.alike:
        why = f"draws by {elsewhere}, which no graph has: let it draw by torch" if elsewhere else _why(adapter, inputs)
        raise ExportError(f"generator: gives two answers for the same inputs, and {why}")
    learnt = {name for name, tensor in adapter.target.held() if isinstance(tensor, nn.Parameter)}
    if weights := [name for name in changed if name in learnt]:
        raise ExportError(
            f"generator: running it changes its weights {listed(weights)}, as layers do that set themselves by the "
            "first rows that they see: mark them as initialised, load its weights anew, and export it again"
        )
    said = [f"running it changes its {listed(changed)}: rows are what they are afterwards"] if changed else []
    if elsewhere:
        adapter.elsewhere = elsewhere
        said.append(
            f"it draws by {elsewhere}, which no graph has; that made no difference in {len(runs.made)} runs, and what "
            "it was at export is kept"
        )
    return said


def listed(names: Sequence[str]) -> str:
    """The first of them."""
    return ", ".join(names[:_MOST_NAMED]) + (" and others" if len(names) > _MOST_NAMED else "")


@contextmanager
def _told_as_error() -> Iterator[None]:
    """What fails in anybody's module is an ExportError."""
    try:
        yield
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(f"generator: does not run: {one_line(error)}") from None


def _depends(adapter: Adapter, labels: int) -> float:
    """How far rows are from the same rows in another batch."""
    with _told_as_error():
        return depends(adapter, draw_rows(adapter.signature, 4, labels))


def _why(adapter: Adapter, inputs: Inputs) -> str:
    with (unseen := Unseen()):
        adapter.run(inputs)
    if unseen.operators:
        names = " and ".join(dict.fromkeys(unseen.operators))
        return f"draws by torch's {names}, which cannot be drawn from a row's seed"
    return (
        "not by what torch draws: it keeps a state from one call to the next, or draws by something else; chance may "
        "enter through its inputs or torch's random functions, called from python"
    )


def _guessed(slots: Sequence[_Slot], arguments: Sequence[Argument]) -> Iterator[str]:
    for slot, argument in zip(slots, arguments, strict=True):
        one = argument.input
        if slot.count:
            yield f"{slot.name} is given the number of rows, and what is drawn within is the latent"
        elif slot.is_none:
            yield f"{slot.name} is given None, for no labels are told"
        elif one != slot.ways[0]:
            kind = str(one.role).partition(":")[0]
            form = ", one-hot" if isinstance(one.role, LabelRole) and one.role.form == "one-hot" else ""
            yield f"the {kind} is given as {_shape(one)}{form}: other shapes did not run, or mixed rows"


def _shapes(arguments: Sequence[Argument], rows: int = ROWS[0]) -> str:
    return ", ".join(_shape(one.input, str(rows)) for one in arguments if one.input.batched)


def _shape(one: Input, rows: str = "N") -> str:
    return f"[{', '.join([rows, *map(str, one.shape)])}]"


def one_line(error: BaseException) -> str:
    """Why something failed, in a line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def rows_of(adapter: Adapter, inputs: Inputs, most: int) -> NDArray[Any]:
    """Samples of any number of rows, so many at a time."""
    starts = range(0, len(inputs.z), most)
    return np.concatenate([adapter.run(inputs.take(slice(start, start + most))) for start in starts])
