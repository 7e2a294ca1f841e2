"""What every peer runs: the ONNX file PEER_MODEL on PEER_THREADS threads of ONNX Runtime's CPU provider."""

import os
from collections.abc import Callable

import numpy as np
import onnxruntime

MAX_BATCH = 64  # rows; also what a request brings at the most


def load_generator() -> Callable[[np.ndarray], np.ndarray]:
    """Latents [n, dim] float32 -> samples [n, *shape] float32."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["PEER_THREADS"])
    session = onnxruntime.InferenceSession(os.environ["PEER_MODEL"], options, providers=["CPUExecutionProvider"])
    return lambda z: session.run(None, {"z": z})[0]
