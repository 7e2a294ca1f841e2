"""Sessions of the runtime, for what a graph gives by itself."""

from __future__ import annotations

import onnx
import onnxruntime


def session(graph: onnx.ModelProto | bytes) -> onnxruntime.InferenceSession:
    """Of one thread: others take their cores' whole time between calls."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    content = graph if isinstance(graph, bytes) else graph.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
