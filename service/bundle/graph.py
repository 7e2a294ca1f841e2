"""ONNX files as bytes: read their signature, and refuse what must not be in a bundle."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from google.protobuf.message import DecodeError

from latentserve.service.bundle.manifest import Graph, Tensor
from latentserve.service.errors import BundleError, one_line

_DTYPES = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.INT64: "int64"}
_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}


def parse(content: bytes, file: str) -> onnx.ModelProto:
    """Parse a self-contained ONNX file. Raises BundleError naming `file`: not ONNX, external data, random operators."""
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise BundleError(f"{file}: not an ONNX file ({one_line(error)})") from None
    if not model.graph.node and not model.graph.output:
        raise BundleError(f"{file}: not an ONNX file (it holds no graph)")
    # External data would let a bundle read any file of the host, outside the hashes.
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model)):
        raise BundleError(f"{file}: keeps weights in another file; save it as one file")
    random = sorted({node.op_type for node in all_nodes(model) if draws(node)})
    if random:
        raise BundleError(f"{file}: holds random operators ({', '.join(random)}); z must be the only source of chance")
    return model


def signature(model: onnx.ModelProto, file: str) -> Graph:
    """The inputs and outputs of a parsed model, the batch axis named `batch`. Raises BundleError naming `file`."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return Graph(
        inputs=[_tensor(value, file) for value in model.graph.input if value.name not in weights],
        outputs=[_tensor(value, file) for value in model.graph.output],
    )


def opset(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operator set that the model asks for."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def _tensor(value: onnx.ValueInfoProto, file: str) -> Tensor:
    kind = value.type.tensor_type
    dtype = _DTYPES.get(kind.elem_type)
    if dtype is None:
        name = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
        raise BundleError(f"{file}: {value.name} is {name}; float32 or int64 is needed")
    shape: list[int | str] = [dim.dim_value if dim.HasField("dim_value") else "" for dim in kind.shape.dim]
    if not shape or shape[0] != "" or "" in shape[1:]:
        shown = [dim or "?" for dim in shape]
        raise BundleError(f"{file}: {value.name} has shape {shown}; only its first axis, the batch, may be dynamic")
    return Tensor.model_validate({"name": value.name, "dtype": dtype, "shape": ["batch", *shape[1:]]})


def all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Every node: of the graph, of the model's own functions, and of the graphs within nodes."""
    waiting = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while waiting:
        node = waiting.pop()
        yield node
        for graph in subgraphs(node):
            waiting.extend(graph.node)


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs within a node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor that is stored: initializers, sparse ones too, and constants."""
    nodes = list(all_nodes(model))
    for graph in (model.graph, *(inner for node in nodes for inner in subgraphs(node))):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def draws(node: onnx.NodeProto) -> bool:
    """Whether an operator is a source of chance. A Dropout is the identity unless its third input, training_mode, is
    there."""
    return node.op_type in _RANDOM or (node.op_type == "Dropout" and len(node.input) > 2 and bool(node.input[2]))
