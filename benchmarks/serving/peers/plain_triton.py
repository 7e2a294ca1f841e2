"""The ONNX file in Triton's Python backend with dynamic batching, as pytriton's documentation writes it."""

import os

import numpy as np
from engine import MAX_BATCH, load_generator
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

generate_samples = load_generator()
shape = generate_samples(np.zeros((1, int(os.environ["PEER_DIM"])), np.float32)).shape[1:]


@batch
def generate(z: np.ndarray) -> dict[str, np.ndarray]:
    return {"sample": generate_samples(z)}


if __name__ == "__main__":
    port = int(os.environ["PEER_PORT"])
    config = TritonConfig(http_address="127.0.0.1", http_port=port, allow_grpc=False, allow_metrics=False)
    with Triton(config=config) as triton:
        triton.bind(
            model_name="generator",
            infer_func=generate,
            inputs=[Tensor(name="z", dtype=np.float32, shape=(-1,))],
            outputs=[Tensor(name="sample", dtype=np.float32, shape=shape)],
            config=ModelConfig(max_batch_size=MAX_BATCH, batcher=DynamicBatcher()),
        )
        triton.serve()
