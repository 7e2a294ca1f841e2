"""The ONNX file behind LitServe's batching, as its guide on that writes it: JSON in and out.

LitServe stacks the arrays of a batch, so the requests of one run have the same number of rows.
"""

import os

import litserve
import numpy as np
from engine import MAX_BATCH, load_generator


class Generator(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.generate_samples = load_generator()

    def decode_request(self, request: dict) -> np.ndarray:
        return np.asarray(request["z"], np.float32)

    def predict(self, z: np.ndarray) -> np.ndarray:
        requests, rows, dim = z.shape
        samples = self.generate_samples(z.reshape(-1, dim))
        return samples.reshape(requests, rows, *samples.shape[1:])

    def encode_response(self, samples: np.ndarray) -> dict:
        return {"sample": samples.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Generator(max_batch_size=MAX_BATCH), accelerator="cpu", timeout=60)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PEER_PORT"]),
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
