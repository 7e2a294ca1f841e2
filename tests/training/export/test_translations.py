"""What the exporter finds is found once, is the same as ever, and nobody's additions to a registry stay."""

from __future__ import annotations

import torch
from torch._export import utils as exporting
from torch.onnx._internal.exporter._registration import ONNXRegistry

from latentserve.training.export import translations
from latentserve.training.export.graph import OPSET
from latentserve.training.export.translations import translations_read_once


def translated(registry: ONNXRegistry) -> dict[object, list[object]]:
    return {operator: [way.onnx_function for way in ways] for operator, ways in registry.functions.items()}


def test_they_are_those_that_the_exporter_reads_itself() -> None:
    translations._read.cache_clear()  # packages that were imported since it was filled have brought operators
    own = ONNXRegistry.from_torchlib(opset_version=OPSET)
    with translations_read_once():
        first, again = (ONNXRegistry.from_torchlib(opset_version=OPSET) for _ in range(2))
        other = ONNXRegistry().from_torchlib(opset_version=OPSET + 1)
    assert len(own.functions) > 100
    assert translated(own) == translated(first) == translated(again)
    assert (first.opset_version, other.opset_version) == (OPSET, OPSET + 1)
    relu = torch.ops.aten.relu.default
    assert [one.onnx_function for one in first.get_decomps(relu)] == [
        one.onnx_function for one in own.get_decomps(relu)
    ]
    first.register_op(relu, lambda x: x)
    assert len(first.get_decomps(relu)) == len(own.get_decomps(relu)) + 1 == len(again.get_decomps(relu)) + 1
    assert isinstance(ONNXRegistry.__dict__["from_torchlib"], classmethod)  # as it was


def test_operators_are_those_that_there_are() -> None:
    before = exporting._collect_all_valid_cia_ops()
    library = torch.library.Library("latentserve_translations", "DEF")
    with translations_read_once():
        for at in range(2):
            assert exporting._collect_all_valid_cia_ops() == before
            name = library.define(f"twice{at}(Tensor x) -> Tensor")
            library.impl(name, lambda x: x * 2, "CompositeImplicitAutograd")
            new = getattr(torch.ops.latentserve_translations, name).default
            assert new not in before
            before = before | {new}
            assert exporting._collect_all_valid_cia_ops() == before
    library._destroy()
