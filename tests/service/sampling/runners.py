"""The runner that CUDA has, on the CPU, and one of whose buckets alone something is wrong with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import onnxruntime

from latentserve.service.bundle import SampleSpec
from latentserve.service.bundle.graph import opset
from latentserve.service.sampling.cuda import CudaRunner
from latentserve.service.sampling.served_graph import Output, served_graph
from tests.sessions import session


def served(model: onnx.ModelProto, spec: SampleSpec) -> tuple[bytes, dict[Output, str]]:
    """The ONNX file that is served of a generator, and the names of its outputs."""
    content = model.SerializeToString()
    found = served_graph(content, opset(model), spec)
    return content + found.graft, found.outputs


def open_runner(model: onnx.ModelProto, spec: SampleSpec, max_batch: int) -> CudaRunner:
    content, outputs = served(model, spec)
    return CudaRunner(onnxruntime, session(content), outputs, max_batch, "toy", device="cpu")


def corrupt(runner: CudaRunner, size: int, model: onnx.ModelProto, spec: SampleSpec) -> Callable[[], None]:
    """From now on batches of one size are run by another generator, of the same signature; call what is given back to
    undo it."""
    sound, other = runner._session, open_runner(model, spec, size)
    own, runner._buckets[size] = runner._buckets[size], other._buckets[size]

    class Sessions:
        def run_with_iobinding(self, binding: Any, options: Any) -> None:
            changed = binding is other._buckets[size].binding
            (other._session if changed else sound).run_with_iobinding(binding, options)

    def undo() -> None:
        runner._session, runner._buckets[size] = sound, own

    runner._session = Sessions()
    return undo
