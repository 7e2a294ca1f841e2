"""ONNX files: read their signature, and refuse what must not be in a bundle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
from google.protobuf.message import DecodeError

from latentserve.service.bundle.manifest import Graph, Tensor
from latentserve.service.bundle.weights import NO_FILES, Buffer, Files, lift, values
from latentserve.service.errors import BundleError, one_line

_DTYPES = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.INT64: "int64"}
_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}


def parse(content: bytes, file: str, files: Files = NO_FILES) -> onnx.ModelProto:
    """Parse an ONNX file whose initializers may lie in `files`, and nowhere else beside it. Raises BundleError naming
    `file`: not ONNX, weights that lie elsewhere, random operators."""
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise BundleError(f"{file}: not an ONNX file ({one_line(error)})") from None
    if not model.graph.node and not model.graph.output:
        raise BundleError(f"{file}: not an ONNX file (it holds no graph)")
    # External data would let a bundle read any file of the host, outside the hashes.
    try:
        for number, tensor in enumerate(tensors(model)):
            if is_external(tensor):  # files are for the initializers of the main graph, the first of all tensors
                values(tensor, files if number < len(model.graph.initializer) else NO_FILES)
    except ValueError as error:
        raise BundleError(f"{file}: {error}") from None
    random = sorted({node.op_type for node in all_nodes(model) if draws(node)})
    if random:
        raise BundleError(f"{file}: holds random operators ({', '.join(random)}); z must be the only source of chance")
    return model


def skim(content: Buffer, file: str, beside: Files = NO_FILES) -> tuple[onnx.ModelProto, Files]:
    """The same without the large weights: they lie in the files that come with it, `content` itself, called `file`, and
    those `beside` it."""
    files = {file: content, **beside}
    return parse(light(content, file), file, files), files


def light(content: Buffer, file: str) -> bytes:
    """An ONNX file without its large weights, which lie in `content`, called `file`. Raises BundleError: not ONNX."""
    try:
        return lift(content, file)
    except (DecodeError, ValueError) as error:
        raise BundleError(f"{file}: not an ONNX file ({one_line(error)})") from None


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
    """Every node: of the graph, of the model's own functions, and of the graphs within attributes."""
    waiting = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    for function in model.functions:
        waiting += [node for inner in _within(function.attribute_proto) for node in inner.node]
    while waiting:
        node = waiting.pop()
        yield node
        for inner in subgraphs(node):
            waiting.extend(inner.node)


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs within a node."""
    yield from _within(node.attribute)


def _within(attributes: Iterable[onnx.AttributeProto]) -> Iterator[onnx.GraphProto]:
    for attribute in attributes:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor's values lie in a file."""
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor that is stored: initializers (the main graph's first), sparse ones too, and constants."""
    attributes = [one for function in model.functions for one in function.attribute_proto]
    attributes += [attribute for node in all_nodes(model) for attribute in node.attribute]
    for held in (model.graph, *_within(attributes)):
        yield from held.initializer
        for sparse in held.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("sparse_tensor"):
            yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
        for sparse in attribute.sparse_tensors:
            yield from (sparse.values, sparse.indices)


def draws(node: onnx.NodeProto) -> bool:
    """Whether an operator of ONNX's own is a source of chance. A Dropout is the identity unless its third input,
    training_mode, is there. Functions may be called as they like."""
    if node.domain not in ("", "ai.onnx"):
        return False
    return node.op_type in _RANDOM or (node.op_type == "Dropout" and len(node.input) > 2 and bool(node.input[2]))
