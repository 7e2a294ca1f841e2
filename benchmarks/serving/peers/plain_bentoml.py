"""The ONNX file behind BentoML's own adaptive batching, as its guide on that writes it: JSON in and out."""

import bentoml
import numpy as np
from engine import MAX_BATCH, load_generator


@bentoml.service(traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Plain:
    def __init__(self) -> None:
        self.generate_samples = load_generator()

    @bentoml.api(batchable=True, batch_dim=0, max_batch_size=MAX_BATCH)
    def generate(self, z: np.ndarray) -> np.ndarray:
        return self.generate_samples(z.astype(np.float32))
