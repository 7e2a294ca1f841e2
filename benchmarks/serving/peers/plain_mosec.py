"""The ONNX file behind mosec's dynamic batching, as its guides write it: JSON, or float32 bytes in MessagePack."""

import os

import numpy as np
from engine import MAX_BATCH, load_generator
from mosec import Server, Worker
from mosec.mixin import MsgpackMixin

MAX_WAIT_MS = 1  # mosec's least; its default of 10 would cost single connections most of their rate


class Generator(Worker):
    """JSON `{"z": [[...], ...]}` -> nested lists."""

    def __init__(self) -> None:
        self.generate_samples = load_generator()

    def forward(self, data: list[dict]) -> list:
        return [samples.tolist() for samples in self._generate([np.asarray(one["z"], np.float32) for one in data])]

    def _generate(self, latents: list[np.ndarray]) -> list[np.ndarray]:
        ends = np.cumsum([len(z) for z in latents])
        return np.split(self.generate_samples(np.concatenate(latents)), ends[:-1])


class BinaryGenerator(MsgpackMixin, Generator):
    """MessagePack `{"z": bytes, "dim": int}` -> bytes; float32, C order."""

    def forward(self, data: list[dict]) -> list:
        latents = [np.frombuffer(one["z"], np.float32).reshape(-1, one["dim"]) for one in data]
        return [samples.tobytes() for samples in self._generate(latents)]


if __name__ == "__main__":
    server = Server()
    worker = {"json": Generator, "msgpack": BinaryGenerator}[os.environ["PEER_FORMAT"]]
    server.append_worker(worker, max_batch_size=MAX_BATCH, max_wait_time=MAX_WAIT_MS)
    server.run()
