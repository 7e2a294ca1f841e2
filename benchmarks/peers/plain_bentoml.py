"""The same ONNX file behind BentoML's own adaptive batching, as its documentation writes it."""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Plain:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["PEER_MODEL"], options)

    @bentoml.api(batchable=True, batch_dim=0, max_batch_size=64)
    def generate(self, z: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"z": z.astype(np.float32)})[0]
