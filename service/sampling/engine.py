"""The engine: a bundle's ONNX graphs on one device, called with numpy arrays. Knows nothing of requests."""

from __future__ import annotations

import logging
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from service.bundle import Bundle
from service.errors import BundleError, RuntimeMissingError

try:
    import onnxruntime
except ImportError:
    onnxruntime = None

log = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_NO_CUDA_BUILD = "--device cuda: the installed ONNX Runtime has no CUDA; install latentserve[gpu] instead of [cpu]"
_NO_CUDA_DEVICE = "--device cuda: CUDA does not work on this machine (driver, CUDA or cuDNN missing)"


class Engine:
    """One bundle's generator, and critic if it has one, loaded on a device.

    Args:
        bundle: verified.
        device: `auto` takes CUDA where it works, `cuda` refuses to start where it does not.
        threads: threads of one engine call on the CPU.
        max_batch: rows of the largest batch `warm_up` tries.

    Raises RuntimeMissingError (no ONNX Runtime, no CUDA) and BundleError (a graph the runtime cannot load).
    """

    def __init__(self, bundle: Bundle, device: Device = "auto", threads: int = 1, max_batch: int = 64) -> None:
        self.bundle = bundle
        self.max_batch = max_batch
        self._threads = threads
        self._generator = self._session(bundle.generator, "generator.onnx", device)
        # The critic watches; it never needs to be faster than its share of the traffic.
        self._critic = self._session(bundle.critic, "critic.onnx", device) if bundle.critic is not None else None
        self.batch_invariant = False

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of what runs the generator."""
        return str(self._generator.get_providers()[0])

    @property
    def runtime_version(self) -> str:
        """ONNX Runtime's version."""
        return str(onnxruntime.__version__)

    @property
    def has_critic(self) -> bool:
        """Whether `score` can be called."""
        return self._critic is not None

    def generate(self, z: NDArray[np.float32], label: NDArray[np.int64] | None) -> NDArray[np.float32]:
        """Samples float32 [n, *sample.shape] of latents float32 [n, dim] (and labels int64 [n])."""
        feed: dict[str, NDArray[np.generic]] = {"z": z}
        if label is not None:
            feed["label"] = label
        return self._generator.run(["sample"], feed)[0]

    def score(self, sample: NDArray[np.float32], label: NDArray[np.int64] | None) -> NDArray[np.float32]:
        """The critic's scores float32 [n] of samples float32 [n, *sample.shape]."""
        if self._critic is None:
            raise BundleError("the bundle has no critic")
        feed: dict[str, NDArray[np.generic]] = {"sample": sample}
        if label is not None and self._critic_takes_label:
            feed["label"] = label
        return self._critic.run(["score"], feed)[0]

    def warm_up(self) -> None:
        """Run batches of many sizes up to `max_batch`, and see whether a row depends on its batch.

        `batch_invariant` is set when the golden rows came out bit for bit the same in every batch, at every position.
        """
        golden = self.bundle.golden
        seen: dict[int, NDArray[np.float32]] = {}
        self.batch_invariant = True
        for size in self._warm_up_sizes():
            rows = np.arange(size - 1, -1, -1) % len(golden.z)
            for row, sample in zip(rows.tolist(), self._replay(rows), strict=True):
                if not np.array_equal(sample, seen.setdefault(row, sample)):
                    self.batch_invariant = False
        if self._critic is not None:
            try:
                self.score(golden.sample[:1], None if golden.label is None else golden.label[:1])
            except Exception as error:
                raise BundleError(f"critic.onnx: does not run on the golden samples ({_one_line(error)})") from None

    def _warm_up_sizes(self) -> list[int]:
        """Powers of two, and odd sizes beside them: kernels treat what is left over from their blocks differently."""
        sizes = {1 << power for power in range(self.max_batch.bit_length())} | {3, 5, 7}
        return sorted(size for size in sizes | {self.max_batch - 1, self.max_batch} if 0 < size <= self.max_batch)

    def probe(self) -> float:
        """Replay the golden probes: the largest absolute difference from what was recorded (inf if not finite)."""
        golden = self.bundle.golden
        worst = 0.0
        for start in range(0, len(golden.z), self.max_batch):
            rows = np.arange(start, min(start + self.max_batch, len(golden.z)))
            difference = np.abs(self._replay(rows) - golden.sample[rows])
            worst = max(worst, float(np.max(difference)) if np.isfinite(difference).all() else float("inf"))
        return worst

    def _replay(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Samples of golden probes. Raises BundleError: graphs can have the right signature and still not run."""
        golden = self.bundle.golden
        try:
            samples = self.generate(golden.z[rows], None if golden.label is None else golden.label[rows])
        except Exception as error:
            raise BundleError(f"generator.onnx: does not run on the golden latents ({_one_line(error)})") from None
        expected = (len(rows), *golden.sample.shape[1:])
        if samples.shape != expected:
            raise BundleError(f"generator.onnx: gives samples of shape {samples.shape}, not {expected}")
        return samples

    @property
    def _critic_takes_label(self) -> bool:
        return any(entry.name == "label" for entry in self._critic.get_inputs())  # type: ignore[union-attr]

    def _session(self, content: bytes, file: str, device: Device) -> Any:
        runtime = require_runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        cuda = device != "cpu" and _CUDA in runtime.get_available_providers()
        if device == "cuda" and not cuda:
            raise RuntimeMissingError(_NO_CUDA_BUILD)
        providers: list[object] = [_CPU]
        if cuda:
            runtime.preload_dlls()
            # TF32 keeps 10 bits of mantissa: golden probes would tell.
            providers = [(_CUDA, {"use_tf32": "0"}), _CPU]
        try:
            session = runtime.InferenceSession(content, options, providers=providers)
        except Exception as error:
            raise BundleError(f"{file}: the runtime cannot load it ({_one_line(error)})") from None
        # Where CUDA does not work the runtime goes on with the CPU and does not fail: ask what it really took.
        if device == "cuda" and session.get_providers()[0] != _CUDA:
            raise RuntimeMissingError(_NO_CUDA_DEVICE)
        return session


def require_runtime() -> Any:
    """The module `onnxruntime`. Raises RuntimeMissingError where it is not installed."""
    if onnxruntime is None:
        raise RuntimeMissingError(
            "no ONNX Runtime is installed: install latentserve[cpu], or latentserve[gpu] on a machine with CUDA"
        )
    return onnxruntime


def require_cuda() -> None:
    """Raises RuntimeMissingError unless a session really runs on CUDA."""
    runtime = require_runtime()
    if _CUDA not in runtime.get_available_providers():
        raise RuntimeMissingError(_NO_CUDA_BUILD)
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])],
        "identity",
        [value("x", onnx.TensorProto.FLOAT, [1])],
        [value("y", onnx.TensorProto.FLOAT, [1])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    runtime.preload_dlls()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=[_CUDA, _CPU])
    if session.get_providers()[0] != _CUDA:
        raise RuntimeMissingError(_NO_CUDA_DEVICE)


def _one_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
