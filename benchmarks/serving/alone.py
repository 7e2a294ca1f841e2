"""A generator without a server: ONNX Runtime with bound inputs and outputs, and torch in a CUDA graph.

Its samples stay on the device, as a server's cannot: what comes out is what no server over it can beat.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from benchmarks.generators import DIM
from latentserve.service.bundle import Bundle
from latentserve.service.bundle.files import GENERATOR
from latentserve.service.errors import one_line
from latentserve.service.sampling.sessions import Device, open_session

try:
    import torch
    import torch.nn.functional as F
except ImportError:  # it is not needed to serve
    torch = None  # type: ignore[assignment]

BATCHES = (16, 32, 64, 128, 256)

_TURNS = 3


class Alone(Protocol):
    """A generator without a server."""

    def prepare(self, batch: int) -> Callable[[], object]:
        """What runs one batch of this size, latents copied from the host. Raises where it does not fit the device."""


def samples_per_second(run: Callable[[], object], batch: int, seconds: float) -> float:
    """Of batches one after the other, the first not counted."""
    run()
    began, rows = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds or not rows:
        run()
        rows += batch
    return rows / spent


def best_batch(alone: Alone, seconds: float) -> int:
    """The batch size with the most samples a second, each tried three times for `seconds`, in turn."""
    runs: dict[int, Callable[[], object]] = {}
    for batch in BATCHES:
        try:
            run = alone.prepare(batch)
            run()
        except Exception as error:  # of the runtime's or torch's, for want of memory
            if not runs:
                raise
            print(f"batches of {batch} do not fit: {one_line(error)}", flush=True)
            break
        runs[batch] = run
    rates: dict[int, list[float]] = {batch: [] for batch in runs}
    for _ in range(_TURNS):
        for batch, run in runs.items():
            rates[batch].append(samples_per_second(run, batch, seconds))
    return max(rates, key=lambda batch: sorted(rates[batch])[_TURNS // 2])


class BoundEngine:
    """A bundle's graph in ONNX Runtime, with the options that the server gives it."""

    def __init__(self, bundle: Bundle, device: Device) -> None:
        self._session = open_session(onnxruntime, bundle.generator, GENERATOR, device, len(os.sched_getaffinity(0)))
        self._shape = bundle.manifest.sample.shape
        self._device = device

    def prepare(self, batch: int) -> Callable[[], object]:
        """See Alone."""
        latents = _latents(batch)
        allocate = onnxruntime.OrtValue.ortvalue_from_shape_and_type
        z = allocate([batch, DIM], np.float32, self._device, 0)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input("z", z)
        binding.bind_ortvalue_output("sample", allocate([batch, *self._shape], np.float32, self._device, 0))

        def run() -> None:
            z.update_inplace(latents)
            self._session.run_with_iobinding(binding)

        return run


class TorchEngine:
    """The graph of `benchmarks.generators.convolutional` in torch, as a CUDA graph where the device is one.

    `precision`: fp32 (without TF32, as everywhere here) or fp16. Raises RuntimeError: no torch, or none with CUDA.
    """

    def __init__(self, model: onnx.ModelProto, device: Device, precision: str) -> None:
        if torch is None:
            raise RuntimeError("torch is not installed")
        if device == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("the installed torch has no CUDA")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
        self._device = device
        self._dtype = {"fp32": torch.float32, "fp16": torch.float16}[precision]
        self._nodes = list(model.graph.node)
        self._weights: dict[str, Any] = {}
        for tensor in model.graph.initializer:
            weight = torch.from_numpy(numpy_helper.to_array(tensor).copy())
            self._weights[tensor.name] = (
                weight.to(device, self._dtype) if weight.is_floating_point() else weight.tolist()
            )

    def prepare(self, batch: int) -> Callable[[], object]:
        """See Alone."""
        latents = torch.from_numpy(_latents(batch))
        z = latents.to(self._device)
        if self._device != "cuda":
            return lambda: self.generate(z.copy_(latents))
        # https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs: warm up on another stream, then capture.
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.generate(z)
        torch.cuda.current_stream().wait_stream(stream)
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            samples = self.generate(z)

        def run() -> object:
            z.copy_(latents)
            captured.replay()
            torch.cuda.synchronize()
            return samples

        return run

    def generate(self, z: torch.Tensor) -> torch.Tensor:
        """Samples float32 [n, C, H, W] of latents float32 [n, dim]."""
        values = {**self._weights, "z": z.to(self._dtype)}
        with torch.inference_mode():
            for node in self._nodes:
                values[node.output[0]] = _step(node.op_type, *(values[name] for name in node.input))
        samples: torch.Tensor = values["sample"].float()
        return samples


def _step(operator: str, value: torch.Tensor, weight: Any = None) -> torch.Tensor:
    """The operators of `convolutional`, with its attributes."""
    match operator:
        case "MatMul":
            return value @ weight
        case "LeakyRelu":
            return F.leaky_relu(value, 0.2)
        case "Reshape":
            return value.reshape(weight)
        case "ConvTranspose":
            return F.conv_transpose2d(value, weight, stride=2, padding=1)
        case "Conv":
            return F.conv2d(value, weight, padding=1)
        case "Tanh":
            return value.tanh()
    raise NotImplementedError(operator)


def _latents(batch: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).normal(size=(batch, DIM)).astype(np.float32)
