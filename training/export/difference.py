"""Where a graph begins to compute something else than its module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentserve.service.packing.storing import mapped
from latentserve.service.sampling.sessions import load, session_options

_ROWS = 2
_ALIKE = 1e-3  # of a value's span: further off, and it is no rounding
_MOST_VALUES = 4000


class _Recorder(torch.fx.Interpreter):
    """Runs a traced module, and keeps what each of its operators gives."""

    def __init__(self, module: torch.fx.GraphModule, wanted: set[str]) -> None:
        super().__init__(module)
        self.seen: dict[str, NDArray[Any]] = {}
        self._wanted = wanted

    def run_node(self, n: torch.fx.Node) -> Any:
        made = super().run_node(n)
        if n.name in self._wanted and isinstance(made, Tensor):
            self.seen[n.name] = made.detach().float().cpu().numpy()
        return made


def first_difference(program: Any, model: onnx.ModelProto, inputs: Mapping[str, NDArray[Any]]) -> str | None:
    """The first operator, in the order in which the module runs, whose values in the runtime are others than in torch:
    its name, and the module that it is in. None: it cannot be told.

    Args:
        program: torch's, with the traced module whose names the graph's values keep.
        model: the graph.
        inputs: rows.
    """
    try:
        return _first(program, model, inputs)
    except Exception:  # it is only said in addition
        return None


def _first(program: Any, model: onnx.ModelProto, inputs: Mapping[str, NDArray[Any]]) -> str | None:
    module = program.exported_program.module()
    names = {node.name for node in module.graph.nodes if node.op == "call_function"}
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    given = [name for node in wide.graph.node for name in node.output if name in names][:_MOST_VALUES]
    held = {value.name for value in wide.graph.output}
    wide.graph.output.extend(onnx.ValueInfoProto(name=name) for name in given if name not in held)
    options = session_options(onnxruntime)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = load(onnxruntime, wide.SerializeToString(), mapped(model), options)
    rows = {name: array[:_ROWS] for name, array in inputs.items()}
    taken = {value.name for value in session.get_inputs()}
    values = dict(zip(given, session.run(given, {k: v for k, v in rows.items() if k in taken}), strict=True))
    recorder = _Recorder(module, set(given))
    with torch.no_grad():
        recorder.run(*(torch.from_numpy(array) for array in rows.values()))
    for node in module.graph.nodes:
        if node.name not in values or node.name not in recorder.seen:
            continue
        wanted, made = recorder.seen[node.name].astype(np.float64), values[node.name].astype(np.float64)
        if wanted.shape != made.shape or not np.abs(wanted - made).max(initial=0) <= _ALIKE * (np.ptp(wanted) or 1.0):
            return _named(node)
    return None


def _named(node: torch.fx.Node) -> str:
    operator = str(node.target).removeprefix("aten.").partition(".")[0]
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    kind = kind if isinstance(kind, str) else kind.__name__
    within = path.replace("L['self'].", "").removeprefix("held.0.").removeprefix("module.")
    return f"{operator} in {within} ({kind.rpartition('.')[2]})" if within else operator
