"""ONNX graphs of modules, which are shown to compute what the modules compute."""

from __future__ import annotations

import logging
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from latentserve.service.bundle.graph import parse
from latentserve.service.bundle.weights import NO_FILES, Files
from latentserve.service.errors import BundleError
from latentserve.service.packing.foreign.fixed_batch import in_blocks, set_free
from latentserve.service.packing.progress import stage
from latentserve.service.packing.spans import share_off
from latentserve.service.packing.storing import mapped, read_model
from latentserve.service.sampling.sessions import load, session_options
from latentserve.training.errors import ExportError
from latentserve.training.export.adapter import evaluating
from latentserve.training.export.difference import first_difference
from latentserve.training.export.fit import one_line
from latentserve.training.export.translations import translations_read_once

OPSET = 20
PARITY_BATCHES = (1, 2, 3, 7, 64)
PARITY = 1e-5  # largest absolute difference between ONNX Runtime and torch that goes without saying
REFUSED = 1e-3  # the same as a share of the output's span: beyond it, the graph computes something else
_OF_TYPE = {torch.float16: 0.02}  # the same of modules that round more
_DEPENDS = "what it does depends on the numbers that it is given"
_TRACED = (
    "decides by the numbers that it is given (by if, while, assert or float()), which no graph follows: for every row "
    "is done what was done for the first, as is right where they are weights"
)
_BYTES = 4 << 20  # of samples of a batch

log = logging.getLogger(__name__)

Arrays = Mapping[str, NDArray[Any]]


class Exported(NamedTuple):
    """A graph, whose large weights may lie in files (`read_model`); the number of rows that it was exported for, None:
    any; and what is to be said of how it was made."""

    model: onnx.ModelProto
    batch: int | None
    remark: str = ""


class Positional(nn.Module):
    """A module behind a call by place, whatever it names its inputs."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *arrays: torch.Tensor) -> Any:
        return self.module(*arrays)


def to_onnx(module: nn.Module, role: str, inputs: Arrays, outputs: Arrays, folder: Path) -> onnx.ModelProto:
    """An ONNX model with a dynamic batch, the same for the same module; its large weights lie in files of `folder`
    (`read_model`).

    Raises ExportError when ONNX Runtime does not give `outputs` for `inputs` at every batch size.
    """
    return export_graph(Positional(module), role, inputs, outputs, folder, fixed=False).model


def export_graph(
    module: nn.Module,
    role: str,
    inputs: Arrays,
    outputs: Arrays,
    folder: Path,
    *,
    fixed: bool = True,
    only: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Exported:
    """The graph of forward(*inputs) by torch's exporters, of any number of rows where they can do it.

    Args:
        role: what errors name.
        inputs: rows by the names that the graph's inputs get, in the order in which they are given.
        outputs: what the module gives for them.
        folder: for weights, which may lie there afterwards.
        fixed: where no graph of any number of rows can be made, one of one row is, which runs in blocks.
        only: the number of rows that the module takes; None: any.
        dtype: what the module computes in.

    Raises ExportError: no graph can be made that gives `outputs`.
    """
    batches = [only] if only is not None else [None, 1] if fixed else [None]
    tries = [(dynamo, batch) for batch in batches for dynamo in (True, False)]
    if any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
        tries = [one for one in tries if not one[0]]  # of which torch.export takes none
    limit = _OF_TYPE.get(dtype, REFUSED)
    failed: list[str] = []
    for dynamo, batch in tries:
        stage(f"{role}: to ONNX" + ("" if batch is None else f", {batch} at a time") + ("" if dynamo else ", traced"))
        try:
            model, program = _exported(module, inputs, outputs, folder, dynamo=dynamo, batch=batch)
        except Exception as error:  # the exporters fail in their own ways on anybody's module
            failed.append(f"cannot be exported to ONNX: {_reason(error)}")
            continue
        found = _of_rows(model, role, batch, inputs, outputs, limit)
        if isinstance(found, Exported):
            return found if dynamo or not any(_DEPENDS in one for one in failed) else found._replace(remark=_TRACED)
        first = None if program is None else first_difference(program, model, inputs)
        failed.append(found + (f"; the first operator to differ is {first}" if first else ""))
    raise ExportError(f"{role}: {failed[0]}")


def _of_rows(
    model: onnx.ModelProto, role: str, batch: int | None, inputs: Arrays, outputs: Arrays, limit: float
) -> Exported | str:
    """The graph for any number of rows; or what is wrong with it."""
    candidates: list[tuple[onnx.ModelProto, int | None]] = [(model, None)]
    if batch is not None:
        free = set_free(model, batch)
        blocks = onnx.ModelProto()
        blocks.CopyFrom(model)
        candidates = [(free, None), (in_blocks(blocks, batch), batch)]
    reason = ""
    for candidate, rows in candidates:
        content: bytes = candidate.SerializeToString(deterministic=True)
        try:
            files = mapped(candidate)
            parse(content, f"{role}.onnx", files)  # refuses random operators
            difference, share = parity(content, inputs, outputs, files)
        except BundleError as error:
            return str(error)
        except Exception as error:
            reason = f"its ONNX graph does not run: {one_line(error)}"
            continue
        if share <= limit:
            if difference > PARITY:
                log.warning("%s: ONNX Runtime and torch differ by up to %.3g", role, difference)
            return Exported(candidate, rows)
        reason = f"its ONNX graph is off by {difference:.3g}"
    return reason


def _exported(
    module: nn.Module, inputs: Arrays, outputs: Arrays, folder: Path, *, dynamo: bool, batch: int | None
) -> tuple[onnx.ModelProto, Any]:
    """The model, and torch's own where it has one; of so many rows, or any."""
    device = next((tensor.device for tensor in [*module.parameters(), *module.buffers()]), torch.device("cpu"))
    # A batch of 1 would be baked in.
    rows = np.arange(batch or 2)
    arguments = tuple(torch.from_numpy(array[rows % len(array)]).to(device) for array in inputs.values())
    told: dict[str, Any] = {"input_names": list(inputs), "output_names": list(outputs), "opset_version": OPSET}
    file = Path(tempfile.mkdtemp(dir=folder)) / "model.onnx"
    program = None
    with evaluating(module), torch.no_grad(), quiet_exporter(), translations_read_once():
        if dynamo:
            dynamic = (tuple({0: "batch"} for _ in inputs),) if batch is None else None
            program = torch.onnx.export(module, arguments, dynamic_shapes=dynamic, dynamo=True, verbose=False, **told)
            assert program is not None  # noqa: S101, only the deprecated exporter returns None
            program.save(file, external_data=True)
        else:
            if batch is None:
                told["dynamic_axes"] = {name: {0: "batch"} for name in (*inputs, *outputs)}
            traced: Any = module
            if any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
                traced = torch.jit.trace(module, arguments, check_trace=False)  # type: ignore[no-untyped-call]
            torch.onnx.export(traced, arguments, file, dynamo=False, verbose=False, **told)
    model = read_model(file)
    strip(model)
    return _declared(model, batch, outputs), program


def _declared(model: onnx.ModelProto, batch: int | None, outputs: Arrays) -> onnx.ModelProto:
    """With the shapes of its outputs, which a tracer does not know of all."""
    for value in model.graph.output:
        axes = value.type.tensor_type.shape.dim
        known = outputs[value.name].shape[1:]
        if batch is None or not axes or len(axes) != len(known) + 1:
            del axes[:]
            first = axes.add()
            if batch is None:
                first.dim_param = "batch"
            else:
                first.dim_value = batch
            for size in known:
                axes.add().dim_value = size
    return model


def parity(content: bytes, inputs: Arrays, outputs: Arrays, files: Files = NO_FILES) -> tuple[float, float]:
    """Largest absolute difference between ONNX Runtime's outputs and `outputs`, over batches of 1, 2, 3, 7 and 64 rows
    (as far as their size allows), and the largest share of an output's span that it makes; of integers, the mean."""
    session = load(onnxruntime, content, files, session_options(onnxruntime))
    taken = {value.name for value in session.get_inputs()}
    rows = np.arange(max(PARITY_BATCHES)) % len(next(iter(inputs.values())))
    largest = share = 0.0
    for batch in _batches(outputs):
        fed = {name: array[rows[:batch]] for name, array in inputs.items() if name in taken}
        got = session.run(list(outputs), fed)
        for array, expected in zip(got, outputs.values(), strict=True):
            wanted = expected[rows[:batch]]
            if array.shape != wanted.shape:
                return np.inf, np.inf
            off = np.abs(array.astype(np.float64) - wanted)
            largest = max(largest, float(off.max() if wanted.dtype.kind == "f" else off.mean()))
            share = max(share, share_off(array, wanted, expected))
    return largest, share


def _batches(outputs: Arrays) -> Sequence[int]:
    return [size for size in PARITY_BATCHES if size <= rows_within(*outputs.values())] or [1, 2]


def rows_within(*outputs: NDArray[Any]) -> int:
    """Rows of one call whose outputs are of a bounded size: two at the least."""
    each = sum(array[:1].nbytes for array in outputs)
    return max(2, min(max(PARITY_BATCHES), _BYTES // max(1, each)))


def strip(model: onnx.ModelProto) -> None:
    """Remove what does not compute: stack traces, paths and versions would make equal generators differ."""
    model.ClearField("producer_version")
    holders = [model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer]
    for holder in [*holders, *model.graph.input, *model.graph.output, *model.functions]:
        holder.ClearField("doc_string")
        holder.ClearField("metadata_props")
    for function in model.functions:
        for node in function.node:
            node.ClearField("doc_string")
            node.ClearField("metadata_props")


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Without the exporter's remarks on itself; the graph is judged by what it computes."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.CRITICAL)
    # The tracer prints its graph where it fails, whatever is told of logs (setup_onnx_logging, torch 2.13).
    log_graph, torch._C._jit_onnx_log = torch._C._jit_onnx_log, lambda *_: None
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)
        torch._C._jit_onnx_log = log_graph


def _reason(error: BaseException) -> str:
    """Of an exporter's error, what it says of the module."""
    said = one_line(error.__cause__ or error)
    if "translating node" in said and (operator := re.search(r"target=torch\.ops\.(?:\w+)\.(\w+)", said)):
        return f"torch's exporter has no translation of {operator[1]}; compute it by other functions"
    if "data-dependent" in said or "Could not guard" in said:
        return f"{_DEPENDS}, which a graph cannot: {said}"
    return said
