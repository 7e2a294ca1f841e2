"""The names of a graph's values, within and without the graphs of its nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx

from latentserve.service.bundle.graph import subgraphs


def value_names(graph: onnx.GraphProto) -> Iterator[str]:
    """Every name of a value, some more than once."""
    for value in (*graph.input, *graph.output, *graph.initializer):
        yield value.name
    yield from (weight.values.name for weight in graph.sparse_initializer)
    for node in graph.node:
        yield from node.input
        yield from node.output
        for inner in subgraphs(node):
            yield from value_names(inner)


def read_names(node: onnx.NodeProto) -> Iterator[str]:
    """What a node reads, the graphs within it too."""
    yield from node.input
    for inner in subgraphs(node):
        yield from (value.name for value in inner.output)
        for one in inner.node:
            yield from read_names(one)


def rename_values(graph: onnx.GraphProto, name: Callable[[str], str]) -> None:
    """Give each value the name that `name` has for it, in every graph within too; never the same for two."""
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = name(value.name)
    for weight in graph.sparse_initializer:
        weight.values.name = name(weight.values.name)
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [name(one) if one else "" for one in names]
        for inner in subgraphs(node):
            rename_values(inner, name)


def set_apart(graph: onnx.GraphProto, prefix: str | tuple[str, ...], *reserved: str) -> Callable[[str], str]:
    """Rename values so that none is `reserved`, or begins with `prefix` (one of several); what each is called now."""
    taken = {name for name in value_names(graph) if name in reserved or name.startswith(prefix)}
    if not taken:
        return lambda name: name
    own = "own/"
    while any(name.startswith(own) for name in value_names(graph)):
        own = f"{own[:-1]}_/"
    renamed = {name: f"{own}{name}" for name in taken}

    def name_of(name: str) -> str:
        return renamed.get(name, name)

    rename_values(graph, name_of)
    return name_of
