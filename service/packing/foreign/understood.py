"""A graph as it was brought, and as it is understood: its inputs' roles, its chance and its batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper

from latentserve.service.bundle import Latent
from latentserve.service.bundle.graph import all_nodes, draws
from latentserve.service.bundle.manifest import Prior
from latentserve.service.errors import BundleError
from latentserve.service.packing.foreign.batchwise import rounds_by_batch
from latentserve.service.packing.foreign.chance import Drawn, bring_out_chance, replace_chance, without_chance
from latentserve.service.packing.foreign.fixed_batch import fixed_sizes
from latentserve.service.packing.foreign.inputs import Assigned, assign_roles, may_be_latent
from latentserve.service.packing.foreign.names import read_names
from latentserve.service.packing.foreign.original import Original, draw_rows, values_of
from latentserve.service.packing.foreign.prune import add_row_axis
from latentserve.service.packing.foreign.roles import KINDS, ConstantRole, LatentRole, UnusedRole
from latentserve.service.packing.foreign.rows_axis import may_lie_elsewhere, put_axis_first
from latentserve.service.packing.foreign.signature import Input, Signature
from latentserve.service.sampling.latents import draw_latents

Noise = Literal["random", "constant"]

_TWO_SIZES = (1, 2)  # numbers of rows from which it is seen what belongs to a row


@dataclass
class Understood:
    """A graph that is settled but for the rows it takes.

    Attributes:
        model: its inputs that are left have a row each; nothing in it draws.
        signature: of these inputs.
        batch: rows that it takes at a time; None: any.
        original: it, in a session.
        lines: what is understood of each input, to be shown.
    """

    model: onnx.ModelProto
    signature: Signature
    batch: int | None
    original: Original
    lines: list[str]


def understand(
    model: onnx.ModelProto,
    source: str,
    told: Mapping[str, str],
    labels: Sequence[str] | None,
    prior: Prior,
    noise: Noise,
) -> Understood:
    """See what a graph of one output is. In place.

    Args:
        model: without what its output does not need.
        source: what errors name.
        told: words for roles of inputs (`parse_role`).
        labels: names, where they are told.
        prior: of latents that are told none.
        noise: drawn for each row, or once for all.

    Raises BundleError naming `source`, and what to say.
    """
    weights = {weight.name for weight in model.graph.initializer}
    defaults = [value.name for value in model.graph.input if value.name in weights and may_be_latent(value.name)]
    assigned = assign_roles(model, source, told, labels, prior)
    signature = _declare(model, assigned)
    if not signature.latents and not any(draws(node) for node in all_nodes(model)):
        raise BundleError(f"{source}: {_without_latent(assigned.signature, defaults)}")
    bring_out_chance(model, source)
    still = without_chance(model)
    original = Original(still, source, signature, assigned.batch)
    _has_rows(original, source)
    turned = []
    if assigned.batch is None and may_lie_elsewhere(model) and (found := original.axis()) is not None:
        put_axis_first(model, *found)
        turned = [f"output {model.graph.output[0].name}: its rows lie along axis {found[0]}, and are put first"]
        still = without_chance(model)
        original = Original(still, source, signature, None)
    if assigned.batch == 1 and (shape := original.shape())[:1] != (1,):
        turned = [f"output {model.graph.output[0].name}: has no axis for rows, and all of {list(shape)} is of one"]
        add_row_axis(model, shape)
        still = without_chance(model)
        original = Original(still, source, signature, 1)
    batch = assigned.batch or (1 if rounds_by_batch(model) else _find_batch(original, still))
    sizes = _TWO_SIZES if batch is None else (batch,)
    drawn = replace_chance(model, source, lambda names, n: values_of(still, source, signature, names, n), sizes)
    if drawn:
        signature = replace(signature, inputs=(*signature.inputs, *_of_chance(drawn, signature)))
    if noise == "constant":
        signature = _drawn_once(signature)
    if not signature.latents:
        raise BundleError(f"{source}: {_without_latent(assigned.signature, defaults)}")
    if original.signature is not signature or original.batch != batch:
        original = Original(model, source, signature, batch)
    return Understood(model, signature, batch, original, [*turned, *_lines(signature, assigned, drawn)])


def _declare(model: onnx.ModelProto, assigned: Assigned) -> Signature:
    """Write into a graph the shapes that its inputs are fed in, and as weights what has no rows. What is left to be
    fed."""
    graph = model.graph
    read = {name for node in graph.node for name in read_names(node)}
    first = "batch" if assigned.batch is None else assigned.batch
    fed = []
    del graph.input[:], graph.value_info[:]
    for value in graph.output:
        if any(axis.HasField("dim_value") and axis.dim_value <= 0 for axis in value.type.tensor_type.shape.dim):
            value.type.tensor_type.ClearField("shape")  # exporters of old write -1 for any size
    for one in assigned.signature.inputs:
        kind = helper.np_dtype_to_tensor_dtype(one.dtype)
        if isinstance(one.role, UnusedRole) and one.name not in read:
            continue
        if one.batched:
            fed.append(one)
            graph.input.append(helper.make_tensor_value_info(one.name, kind, [first, *one.shape]))
        elif isinstance(one.role, ConstantRole):
            graph.initializer.append(numpy_helper.from_array(one.role.array(one.name, one.shape, one.dtype), one.name))
        else:
            graph.initializer.append(numpy_helper.from_array(np.zeros(one.shape, one.dtype), one.name))
    return replace(assigned.signature, inputs=tuple(fed))


def _without_latent(signature: Signature, defaults: Sequence[str]) -> str:
    if defaults:
        return f"its input {defaults[0]} has a default, and is taken for a weight; say --input {defaults[0]}=latent"
    if not signature.inputs:
        return (
            "has no inputs and draws nothing, so every sample would be the same: the latent was drawn when it was "
            "exported, and is a constant now; export the part behind it, with the latent as its input"
        )
    shown = ", ".join(f"{one.name} is {str(one.role).partition(':')[0]}" for one in signature.inputs)
    return (
        f"has no latent ({shown}) and draws nothing, so samples would be the same for all seeds; say which input is "
        "drawn: --input NAME=latent"
    )


def _has_rows(original: Original, source: str) -> None:
    """Raises BundleError: the only axis of a latent is no batch."""
    flat = [one for one, role in original.signature.latents if not one.shape and not role.noise]
    if original.batch is None or not flat:
        return
    try:
        original.run(draw_rows(original.signature, original.batch))
    except BundleError:
        raise BundleError(
            f"{source}: the latent {flat[0].name} has the shape [{original.batch}], without an axis for rows; export "
            f"it with one in front, [1, {original.batch}]"
        ) from None


def _find_batch(original: Original, model: onnx.ModelProto) -> int | None:
    """The only number of rows that a graph takes, though it declares that it takes any; None: it does take any."""
    ran = 0
    try:
        for size in _TWO_SIZES:
            original.run(draw_rows(original.signature, size))
            ran = size
    except BundleError:
        if ran == 1:  # the state of a recurrent layer is that of one row, or so
            return 1
        for batch in fixed_sizes(model):
            try:
                original.of_batch(batch).run(draw_rows(original.signature, batch))
            except BundleError:
                continue
            return batch
        raise
    return None


def _of_chance(drawn: Sequence[Drawn], signature: Signature) -> Iterator[Input]:
    """Their inputs: noise, or the latents where there are no others."""
    for _, one in drawn:
        role = one.role
        assert isinstance(role, LatentRole)  # noqa: S101, for mypy
        yield one if signature.latents else replace(one, role=replace(role, noise=False))


def _drawn_once(signature: Signature) -> Signature:
    """The same with its noise as constants, each drawn once."""
    inputs = []
    for place, one in enumerate(signature.inputs):
        if isinstance(one.role, LatentRole) and one.role.noise:
            part = replace(one.role, noise=False).part(one.name, one.shape, signature.prior)
            latent = Latent(dim=part.width, prior=part.prior, parts=[part])
            value = draw_latents(latent, 0, place, 1)[0].reshape(one.shape)
            one = replace(one, role=ConstantRole(value, "drawn once"))
        inputs.append(one)
    return replace(signature, inputs=tuple(inputs))


def _lines(signature: Signature, assigned: Assigned, drawn: Sequence[Drawn]) -> Iterator[str]:
    operators = {one.name: operator for operator, one in drawn}
    settled = {one.name: one for one in signature.inputs}
    declared = [settled.get(one.name, one) for one in assigned.signature.inputs]
    for one in [*declared, *(settled[name] for name in operators)]:
        role, note = one.role, ""
        if isinstance(role, LatentRole):
            role = replace(role, prior=role.prior or signature.prior)
            note = f", {one.width:,} numbers a row (--noise constant: drawn once)" if role.noise else ""
        if one.name in assigned.guessed:
            note += ", by its name"
        what = f"{operators[one.name]} draws [{one.rows}]" if one.name in operators else f"input {one}"
        yield f"{what}: {role}{note}"
    yield f"otherwise: --input NAME=KIND[:DETAIL], KIND one of {', '.join(KINDS)}"
