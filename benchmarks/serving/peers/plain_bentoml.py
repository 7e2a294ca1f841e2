"""The ONNX file behind BentoML's own adaptive batching, as its guide on that writes it: JSON in and out.

Its batching takes no bare bytes: `generate_base64` has a string for each row, base64 of its float32.
"""

from base64 import b64decode, b64encode

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

    @bentoml.api(batchable=True, batch_dim=0, max_batch_size=MAX_BATCH)
    def generate_base64(self, z: list[str]) -> list[str]:
        rows = np.stack([np.frombuffer(b64decode(row), np.float32) for row in z])
        return [b64encode(sample).decode() for sample in self.generate_samples(rows)]
