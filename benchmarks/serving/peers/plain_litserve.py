"""The ONNX file behind LitServe's batching, as its guide on that writes it: JSON in and out.

With PEER_FORMAT=base64 each row is a string, base64 of its float32.

LitServe stacks the arrays of a batch, so the requests of one run have the same number of rows.
"""

import os
from base64 import b64decode, b64encode

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


class Base64Generator(Generator):
    def decode_request(self, request: dict) -> np.ndarray:
        return np.stack([np.frombuffer(b64decode(row), np.float32) for row in request["z"]])

    def encode_response(self, samples: np.ndarray) -> dict:
        return {"sample": [b64encode(sample).decode() for sample in samples]}


if __name__ == "__main__":
    generator = {"json": Generator, "base64": Base64Generator}[os.environ["PEER_FORMAT"]]
    server = litserve.LitServer(generator(max_batch_size=MAX_BATCH), accelerator="cpu", timeout=60)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PEER_PORT"]),
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
