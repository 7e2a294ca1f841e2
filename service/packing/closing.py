"""The end of a generator's graph: whatever it gives becomes `sample`, float32 [batch, *shape], channels first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from latentserve.service.errors import BundleError
from latentserve.service.packing.steps import Steps

Layout = Literal["nchw", "nhwc", "nhw", "nct", "ntc"]
LAYOUTS: Final = ("nchw", "nhwc", "nhw", "nct", "ntc")

_NUMBERS = {
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16, TensorProto.BOOL,
    TensorProto.UINT8, TensorProto.INT8, TensorProto.UINT16, TensorProto.INT16, TensorProto.UINT32, TensorProto.INT32,
    TensorProto.UINT64, TensorProto.INT64,
}  # fmt: skip
_PICTURE_AXES, _CHANNELS = 4, {1, 3, 4}
_PREFIX = "sample/"  # of the names of what is appended


@dataclass(frozen=True)
class Form:
    """How a row of a graph's output becomes a sample, in this order.

    Attributes:
        view: the shape that its numbers are read in.
        axes: the order in which the axes of `view` become those of the sample.
        shift, divisor: a number x becomes (x - shift) / divisor.
    """

    view: tuple[int, ...]
    axes: tuple[int, ...]
    shift: float = 0.0
    divisor: float = 1.0

    @classmethod
    def plain(cls, shape: list[int] | tuple[int, ...]) -> Form:
        """Of a row that is a sample already."""
        return cls(tuple(shape), tuple(range(len(shape))))

    @property
    def shape(self) -> list[int]:
        """Of a sample."""
        return [self.view[axis] for axis in self.axes]

    def apply(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Samples float32 [n, *shape] of rows [n, ...] of any numbers: what the closed graph gives."""
        viewed = rows.astype(np.float32, copy=False).reshape(len(rows), *self.view)
        turned = viewed.transpose(0, *(axis + 1 for axis in self.axes))
        if self.shift or self.divisor != 1:
            turned = (turned - np.float32(self.shift)) / np.float32(self.divisor)
        return np.ascontiguousarray(turned, np.float32)


def close(model: onnx.ModelProto, output: str, form: Form) -> None:
    """Append to a graph what makes `sample` of its output `output`, [batch, ...] of any type of number, and let that be
    its only output. In place; nothing else in the graph may be called `sample`, or begin with `sample/`."""
    graph = model.graph
    (given,) = (value for value in graph.output if value.name == output)
    known = given.type.tensor_type
    sizes = [axis.dim_value if axis.HasField("dim_value") else -1 for axis in known.shape.dim][1:]
    steps = Steps(_PREFIX)
    value = steps.cast(output, TensorProto.FLOAT, known.elem_type)
    if not known.HasField("shape") or sizes != list(form.view):
        value = steps.step("Reshape", value, steps.numbers([-1, *form.view]))
    if form.axes != tuple(range(len(form.view))):
        value = steps.step("Transpose", value, perm=[0, *(axis + 1 for axis in form.axes)])
    for operator, number, neutral in (("Sub", form.shift, 0.0), ("Div", form.divisor, 1.0)):
        if number != neutral:
            value = steps.step(operator, value, steps.weight(np.array(number, np.float32)))
    if value == output:
        steps.step("Identity", output)
    steps.nodes[-1].output[0] = "sample"
    graph.node.extend(steps.nodes)
    graph.initializer.extend(steps.weights)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("sample", TensorProto.FLOAT, ["batch", *form.shape]))


def choose_output(
    model: onnx.ModelProto, source: str, told: str | None = None
) -> tuple[onnx.ValueInfoProto, list[str]]:
    """Which output of a graph the samples are, and what was guessed of it.

    Where nobody says, that is the only one, or that called `sample`, or the largest picture. Raises BundleError naming
    `source`, and what to say.
    """
    outputs = {value.name: value for value in model.graph.output}
    if not outputs:
        raise BundleError(f"{source}: has no outputs; export it with the sample as one")
    names = ", ".join(outputs)
    tensors = [value for value in outputs.values() if _is_of_numbers(value)]
    if told is not None and told not in outputs:
        raise BundleError(f"{source}: --output {told}: the graph's outputs are {names}")
    remarks = []
    if told is not None:
        found = outputs[told]
    elif len(outputs) == 1:
        found = next(iter(outputs.values()))
    elif "sample" in outputs:
        found = outputs["sample"]
        remarks.append(f"of the outputs {names} sample is taken; --output says otherwise")
    elif len(tensors) == 1:
        found = tensors[0]
        remarks.append(f"of the outputs {names} {found.name} is taken, the only tensor of numbers")
    else:
        pictures = sorted(((_pixels(value), value.name) for value in outputs.values()), reverse=True)
        if pictures[0][0] == 0 or pictures[0][0] == pictures[1][0]:
            raise BundleError(f"{source}: which output is the sample? Say --output, one of {names}")
        found = outputs[pictures[0][1]]
        remarks.append(f"of the outputs {names} the largest picture is taken, {found.name}; --output says otherwise")
    kind = (found.type.WhichOneof("value") or "tensor_type").removesuffix("_type")
    if kind != "tensor":
        raise BundleError(
            f"{source}: the output {found.name} is a {kind}; a tensor is needed: export the one within it"
        )
    if not _is_of_numbers(found):
        name = TensorProto.DataType.Name(found.type.tensor_type.elem_type).lower()
        raise BundleError(f"{source}: the output {found.name} is of type {name}; it must hold real numbers")
    return found, remarks


def _is_of_numbers(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.HasField("tensor_type") and value.type.tensor_type.elem_type in _NUMBERS)


def _pixels(value: onnx.ValueInfoProto) -> int:
    """Numbers of a row that is a picture by its shape; 0 of anything else."""
    axes = value.type.tensor_type.shape.dim
    sizes = [axis.dim_value for axis in axes]
    if len(sizes) != _PICTURE_AXES or not {sizes[1], sizes[3]} & _CHANNELS:
        return 0
    return sizes[1] * sizes[2] * sizes[3]
