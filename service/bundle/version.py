"""A generator's version: 12 digits over all that decides what a seed becomes, and over nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import onnx
from onnx import AttributeProto, numpy_helper

from latentserve.service.bundle.manifest import Condition, Latent, SampleSpec
from latentserve.service.bundle.weights import BITS, NO_FILES, Files, values
from latentserve.service.errors import BundleError, one_line

_DIGITS = 12
_ONNX = ("", "ai.onnx")  # both are ONNX's own operators


def content_version(
    model: onnx.ModelProto,
    latent: Latent,
    labels: list[str] | None,
    sample: SampleSpec,
    conditions: list[Condition] | None = None,
    label_prior: list[float] | None = None,
    files: Files = NO_FILES,
) -> str:
    """The version of a generator, of `schema_version` 2.

    What is hashed is the graph as it computes, with its weights: operators and their attributes in the file's order,
    how they hang together, types and sizes of inputs and outputs. Not what they are called, doc strings,
    `metadata_props`, inferred shapes, or weights that nothing reads; so a file that is signed or annotated keeps its
    version. Nor where or how weights are stored: in `files`, those that the model refers to, or within it. Then the
    JSON (sorted keys, no spaces) of latent, labels and their prior, conditions and sample. Name, time of creation,
    critic and lineage are not part of it: equal generators have equal versions. Raises BundleError: a weight is not
    there, or not what its shape says.
    """
    digest = hashlib.sha256()
    try:
        _Walk(digest, model, files).model()
    except ValueError as error:
        raise BundleError(str(error)) from None
    except RecursionError:
        raise BundleError("its functions call each other without an end, or nearly") from None
    described = {
        "latent": latent.model_dump(mode="json"),
        "labels": labels,
        "label_prior": None if label_prior is None or len(set(label_prior)) == 1 else label_prior,
        "conditions": None if conditions is None else [condition.model_dump(mode="json") for condition in conditions],
        "sample": sample.model_dump(mode="json"),
    }
    digest.update(_json(described))
    return digest.hexdigest()[:_DIGITS]


def content_version_1(generator: bytes, latent: Latent, labels: list[str] | None, sample: SampleSpec) -> str:
    """The same, of `schema_version` 1: the bytes of `generator.onnx`, then the JSON of latent, labels and sample."""
    plain = latent.model_dump(mode="json", exclude={"parts"})
    described = {"latent": plain, "labels": labels, "sample": sample.model_dump(mode="json")}
    digest = hashlib.sha256(generator)
    digest.update(_json(described))
    return digest.hexdigest()[:_DIGITS]


def _json(described: object) -> bytes:
    return json.dumps(described, sort_keys=True, separators=(",", ":")).encode()


class _Scope(NamedTuple):
    """What a graph's values are called: places, in the order in which they are met; and its weights by name."""

    places: dict[str, int]
    weights: dict[str, onnx.TensorProto | onnx.SparseTensorProto]


class _Walk:
    """A model told to a digest, value by value and node by node, each word with its length before it."""

    def __init__(self, digest: hashlib._Hash, model: onnx.ModelProto, files: Files) -> None:
        self._digest = digest
        self._model = model
        self._files = files
        self._functions = {(one.domain, one.name, one.overload): one for one in model.functions}
        self._called: dict[tuple[str, str, str], int] = {}
        self._scopes: list[_Scope] = []
        self._count = 0

    def model(self) -> None:
        self._opsets(self._model.opset_import)
        graph = self._model.graph
        weights = _weights(graph)
        inputs = [value for value in graph.input if value.name not in weights]
        for value in [*inputs, *graph.output]:
            self._tell(value.name, _type(value.type))
        self._graph(graph, [value.name for value in inputs])

    def _graph(self, graph: onnx.GraphProto, inputs: Iterable[str]) -> None:
        outputs = [value.name for value in graph.output]
        self._body(graph.node, inputs, outputs, _Scope({}, _weights(graph)))

    def _body(
        self, nodes: Sequence[onnx.NodeProto], inputs: Iterable[str], outputs: Iterable[str], scope: _Scope
    ) -> None:
        self._scopes.append(scope)
        for name in [*inputs, *(name for node in nodes for name in node.output)]:
            if name:  # all of them first: nodes need not be sorted
                scope.places[name] = self._new()
        for node in nodes:
            function = self._functions.get((node.domain, node.op_type, node.overload))
            if function is None:
                self._tell("node", "" if node.domain in _ONNX else node.domain, node.op_type)
            else:
                self._call(function)
            self._reads(node.input)
            for attribute in sorted(node.attribute, key=lambda one: one.name):
                self._attribute(attribute)
            self._tell("makes", *(str(scope.places[name]) if name else "" for name in node.output))
        self._tell("gives")
        self._reads(outputs)
        self._scopes.pop()

    def _call(self, function: onnx.FunctionProto) -> None:
        """Of a function: what it does is told at the first call."""
        key = function.domain, function.name, function.overload
        known = key in self._called
        self._tell("call", str(self._called.setdefault(key, len(self._called))))
        if known:
            return
        scopes, self._scopes = self._scopes, []
        self._tell("takes", str(len(function.input)), *function.attribute)
        self._opsets(function.opset_import)
        for attribute in sorted(function.attribute_proto, key=lambda one: one.name):
            self._attribute(attribute)
        self._body(function.node, function.input, function.output, _Scope({}, {}))
        self._scopes = scopes

    def _attribute(self, attribute: AttributeProto) -> None:
        self._tell("attribute", attribute.name, str(attribute.type), attribute.ref_attr_name)
        for graph in [*_one(attribute, "g"), *attribute.graphs]:
            self._graph(graph, [value.name for value in graph.input])
        for tensor in [*_one(attribute, "t"), *attribute.tensors]:
            self._tensor(tensor)
        for sparse in [*_one(attribute, "sparse_tensor"), *attribute.sparse_tensors]:
            self._weight(sparse)
        self._tell("types", *(_type(one) for one in [*_one(attribute, "tp"), *attribute.type_protos]))
        # What is left out is 0, or empty.
        plain = AttributeProto(f=attribute.f, i=attribute.i, s=attribute.s)
        plain.floats.extend(attribute.floats)
        plain.ints.extend(attribute.ints)
        plain.strings.extend(attribute.strings)
        self._tell(plain.SerializeToString(deterministic=True))

    def _new(self) -> int:
        self._count += 1
        return self._count

    def _reads(self, names: Iterable[str]) -> None:
        """A weight is told where it is read first."""
        for name in names:
            scope = next((one for one in reversed(self._scopes) if name in one.places or name in one.weights), None)
            if not name or scope is None:
                self._tell("reads", "")
                continue
            if name not in scope.places:
                self._weight(scope.weights[name])
                scope.places[name] = self._new()
            self._tell("reads", str(scope.places[name]))

    def _weight(self, weight: onnx.TensorProto | onnx.SparseTensorProto) -> None:
        if isinstance(weight, onnx.TensorProto):
            self._tensor(weight)
            return
        self._tell("sparse", *(str(size) for size in weight.dims))
        self._tensor(weight.values)
        self._tensor(weight.indices)

    def _tensor(self, tensor: onnx.TensorProto) -> None:
        self._tell("tensor", str(tensor.data_type), *(str(size) for size in tensor.dims))
        if tensor.data_type == onnx.TensorProto.STRING:
            self._tell(*tensor.string_data)
            return
        raw = tensor.HasField("raw_data") or tensor.data_location == onnx.TensorProto.EXTERNAL
        if raw and tensor.data_type not in BITS:
            self._tell(values(tensor, self._files))
            return
        if raw:  # unpacked, for what is left of the last byte may be anything
            content = bytes(values(tensor, self._files))
            tensor = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, raw_data=content)
        try:
            array = numpy_helper.to_array(tensor)
        except Exception as error:  # a type that does not exist, more or fewer numbers than its shape has, and so on
            raise ValueError(f"weight {tensor.name!r} is no array ({one_line(error)})") from None
        self._tell(array.tobytes())

    def _opsets(self, opsets: Iterable[onnx.OperatorSetIdProto]) -> None:
        self._tell("opsets", *sorted(f"{'' if one.domain in _ONNX else one.domain}:{one.version}" for one in opsets))

    def _tell(self, *words: str | bytes | memoryview) -> None:
        for word in (str(len(words)), *words):
            content = word.encode() if isinstance(word, str) else word
            self._digest.update(len(content).to_bytes(8, "little"))
            self._digest.update(content)


def _weights(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto | onnx.SparseTensorProto]:
    """A graph's own, by name."""
    sparse = {one.values.name: one for one in graph.sparse_initializer}
    return {**{one.name: one for one in graph.initializer}, **sparse}


def _one(attribute: AttributeProto, field: str) -> list[Any]:
    """What a field holds, if it is there."""
    return [getattr(attribute, field)] if attribute.HasField(field) else []


def _type(value: onnx.TypeProto) -> str:
    """What values are, and the sizes that are known; not what is only a name."""
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    held = getattr(value, kind)
    if kind in ("tensor_type", "sparse_tensor_type"):
        sizes = [axis.dim_value for axis in held.shape.dim] if held.HasField("shape") else None
        return f"{kind} {held.elem_type} {sizes}"
    if kind == "map_type":
        return f"{kind} {held.key_type} ({_type(held.value_type)})"
    return f"{kind} ({_type(held.elem_type)})" if kind in ("sequence_type", "optional_type") else kind
