"""The runner that CUDA has, on the CPU, and one of whose buckets alone something is wrong with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import onnxruntime

from latentserve.service.bundle import SampleSpec
from latentserve.service.sampling.cuda import CudaRunner
from latentserve.service.sampling.served_graph import served_graph


def open_runner(model: onnx.ModelProto, spec: SampleSpec, max_batch: int) -> CudaRunner:
    served = served_graph(model, spec)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(served.content, options, providers=["CPUExecutionProvider"])
    return CudaRunner(onnxruntime, session, served.outputs, max_batch, "toy", device="cpu")


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
