"""A generator's version: 12 digits over all that decides what a seed becomes, and over nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import NamedTuple

import onnx
from onnx import AttributeProto, numpy_helper

from latentserve.service.bundle.manifest import Condition, Latent, SampleSpec

_DIGITS = 12
_ONNX = ("", "ai.onnx")  # both are ONNX's own operators


def content_version(
    model: onnx.ModelProto,
    latent: Latent,
    labels: list[str] | None,
    sample: SampleSpec,
    conditions: list[Condition] | None = None,
) -> str:
    """The version of a generator, of `schema_version` 2.

    What is hashed is the graph as it computes, with its weights: operators and their attributes in the file's order,
    how they hang together, types and sizes of inputs and outputs. Not what they are called, doc strings,
    `metadata_props`, inferred shapes, or weights that nothing reads; so a file that is signed or annotated keeps its
    version. Then the JSON (sorted keys, no spaces) of latent, labels, conditions and sample. Name, time of creation,
    critic and lineage are not part of it: equal generators have equal versions.
    """
    digest = hashlib.sha256()
    _Walk(digest, model).model()
    described = {
        "latent": latent.model_dump(mode="json"),
        "labels": labels,
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

    def __init__(self, digest: hashlib._Hash, model: onnx.ModelProto) -> None:
        self._digest = digest
        self._model = model
        self._functions = {(one.domain, one.name, one.overload): one for one in model.functions}
        self._called: dict[tuple[str, str, str], int] = {}
        self._scopes: list[_Scope] = []
        self._count = 0

    def model(self) -> None:
        self._opsets(self._model.opset_import)
        weights = {tensor.name for tensor in self._model.graph.initializer}
        inputs = [value for value in self._model.graph.input if value.name not in weights]
        for value in [*inputs, *self._model.graph.output]:
            self._tell(value.name, _type(value))
        self._graph(self._model.graph, [value.name for value in inputs])

    def _graph(self, graph: onnx.GraphProto, inputs: Iterable[str]) -> None:
        weights: dict[str, onnx.TensorProto | onnx.SparseTensorProto] = {one.name: one for one in graph.initializer}
        weights |= {one.values.name: one for one in graph.sparse_initializer}
        self._body(graph.node, inputs, [value.name for value in graph.output], _Scope({}, weights))

    def _body(
        self, nodes: Iterable[onnx.NodeProto], inputs: Iterable[str], outputs: Iterable[str], scope: _Scope
    ) -> None:
        self._scopes.append(scope)
        self._makes(inputs)
        for node in nodes:
            function = self._functions.get((node.domain, node.op_type, node.overload))
            if function is None:
                self._tell("node", "" if node.domain in _ONNX else node.domain, node.op_type)
            else:
                self._call(function)
            self._reads(node.input)
            for attribute in sorted(node.attribute, key=lambda one: one.name):
                self._attribute(attribute)
            self._makes(node.output)
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
        self._tell(*function.attribute)
        self._opsets(function.opset_import)
        for attribute in sorted(function.attribute_proto, key=lambda one: one.name):
            self._attribute(attribute)
        self._body(function.node, function.input, function.output, _Scope({}, {}))
        self._scopes = scopes

    def _attribute(self, attribute: AttributeProto) -> None:
        self._tell("attribute", attribute.name)
        if attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
            for graph in [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs:
                self._graph(graph, [value.name for value in graph.input])
        elif attribute.type in (AttributeProto.TENSOR, AttributeProto.TENSORS):
            for tensor in [attribute.t] if attribute.type == AttributeProto.TENSOR else attribute.tensors:
                self._tensor(tensor)
        else:
            plain = AttributeProto.FromString(attribute.SerializeToString())
            plain.ClearField("doc_string")
            self._tell(plain.SerializeToString(deterministic=True))

    def _makes(self, names: Iterable[str]) -> None:
        for name in names:
            if name:
                self._scopes[-1].places[name] = self._count
                self._count += 1
            self._tell("makes", str(self._scopes[-1].places[name]) if name else "")

    def _reads(self, names: Iterable[str]) -> None:
        """A weight is told where it is read first."""
        for name in names:
            scope = next((one for one in reversed(self._scopes) if name in one.places or name in one.weights), None)
            if scope is None:
                self._tell("reads", "")
                continue
            if name not in scope.places:
                self._weight(scope.weights[name])
                scope.places[name] = self._count
                self._count += 1
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
        else:
            self._tell(tensor.raw_data if tensor.HasField("raw_data") else numpy_helper.to_array(tensor).tobytes())

    def _opsets(self, opsets: Iterable[onnx.OperatorSetIdProto]) -> None:
        self._tell(*sorted(f"{'' if one.domain in _ONNX else one.domain}:{one.version}" for one in opsets))

    def _tell(self, *words: str | bytes) -> None:
        for word in (str(len(words)), *words):
            content = word.encode() if isinstance(word, str) else word
            self._digest.update(len(content).to_bytes(8, "little"))
            self._digest.update(content)


def _type(value: onnx.ValueInfoProto) -> str:
    """Of numbers: what they are, and the sizes that are known."""
    tensor = value.type.tensor_type
    return f"{tensor.elem_type}{[axis.dim_value for axis in tensor.shape.dim]}"
