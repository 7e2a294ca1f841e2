"""Batches on CUDA, at sizes that were allocated, tried and captured at load, so that no request is the first to fail.

Each size, a bucket, has inputs and outputs at fixed addresses on the device, and so a CUDA graph of its own
(https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#using-cuda-graphs-preview). A batch is
padded to the next bucket; what comes back to the host is what was asked for.
"""

from __future__ import annotations

import bisect
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.errors import BundleError
from service.sampling.heads import Output

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
Arrays = Mapping[str, NDArray[np.generic]]

_DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(uint8)": np.uint8}

# One thread for whatever runs on the device: the runtime keeps captured graphs by thread, and while one is captured no
# other thread may allocate there.
_THREAD = ThreadPoolExecutor(1, thread_name_prefix="cuda")


def on_device(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function on the thread that uses the device, and wait for it."""
    return _THREAD.submit(function, *args, **kwargs).result()


def bucket_sizes(max_batch: int) -> list[int]:
    """Powers of two up to `max_batch`, and it, ascending."""
    return sorted({1 << power for power in range(max_batch.bit_length())} | {max_batch})


@dataclass(frozen=True)
class _Bucket:
    """Values of the runtime (OrtValue) by their names in the graph, and how they are run."""

    inputs: dict[str, Any]
    outputs: dict[str, Any]
    binding: Any
    options: Any


class CudaRunner:
    """A session of a served graph, run in buckets.

    Args:
        runtime: the module `onnxruntime`.
        session: with the provider of `device`.
        names: of the outputs, in the graph.
        max_batch: rows of the largest bucket that is tried; those that do not fit the device are left out.
        model: what a line of the log is about.
        device: where the buffers are: `cuda`; or `cpu`, which needs no GPU and does the same.

    Raises BundleError: not even one row runs.
    """

    def __init__(
        self,
        runtime: Any,
        session: Any,
        names: Mapping[Output, str],
        max_batch: int,
        model: str,
        device: str = "cuda",
    ) -> None:
        self._runtime = runtime
        self._session = session
        self._names = names
        self._device = device
        self._buckets = on_device(self._warm_up, max_batch, model)
        self._sizes = sorted(self._buckets)

    @property
    def max_batch(self) -> int:
        """Rows of the largest bucket that fits."""
        return self._sizes[-1]

    def run(self, feed: Arrays, outputs: Sequence[Output]) -> list[NDArray[Any]]:
        """The outputs asked for, of inputs with n rows by their names; more than `max_batch` are run in turns."""
        return on_device(self._run, feed, outputs)

    def _run(self, feed: Arrays, outputs: Sequence[Output]) -> list[NDArray[Any]]:
        rows = len(feed["z"])
        turns = [
            self._run_bucket({name: array[start : start + self.max_batch] for name, array in feed.items()}, outputs)
            for start in range(0, rows, self.max_batch)
        ]
        return turns[0] if len(turns) == 1 else [np.concatenate(parts) for parts in zip(*turns, strict=True)]

    def _run_bucket(self, feed: Arrays, outputs: Sequence[Output]) -> list[NDArray[Any]]:
        rows = len(feed["z"])
        size = self._sizes[bisect.bisect_left(self._sizes, rows)]
        bucket = self._buckets[size]
        for name, value in bucket.inputs.items():
            value.update_inplace(_padded(feed[name], size))
        self._session.run_with_iobinding(bucket.binding, bucket.options)
        fetched = [bucket.outputs[self._names[output]].numpy()[:rows] for output in outputs]
        # On the CPU `numpy` gives the buffer itself, which the next batch will overwrite.
        return [array.copy() for array in fetched] if self._device == "cpu" else fetched

    def _warm_up(self, max_batch: int, model: str) -> dict[int, _Bucket]:
        """The buckets that fit. The largest first: what it leaves in the runtime's arena is enough for the others."""
        buckets: dict[int, _Bucket] = {}
        refused: list[int] = []
        reason = ""
        for size in reversed(bucket_sizes(max_batch)):
            try:
                buckets[size] = self._open(size)
            except Exception as error:  # memory has no class of its own among the runtime's errors
                refused.append(size)
                reason = (str(error).splitlines() or [type(error).__name__])[0]
        if not buckets:
            raise BundleError(f"generator.onnx: not even one row runs on {self._device} ({reason})")
        if refused:
            sizes = ", ".join(map(str, refused))
            log.warning(
                "model %s: batches of %s rows do not fit the device; at most %d are run (%s)",
                model, sizes, max(buckets), reason,
            )  # fmt: skip
        return buckets

    def _open(self, size: int) -> _Bucket:
        """Allocate a bucket and run it once, which captures its graph where the session captures graphs."""
        binding, options = self._session.io_binding(), self._runtime.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(size))
        inputs, outputs = {}, {}
        for tensor in self._session.get_inputs():
            value = inputs[tensor.name] = self._allocate(size, tensor)
            # Labels of chance, as memory holds them, would be none of the model's.
            value.update_inplace(np.zeros(value.shape(), _DTYPES[tensor.type]))
            binding.bind_ortvalue_input(tensor.name, value)
        for tensor in self._session.get_outputs():
            value = outputs[tensor.name] = self._allocate(size, tensor)
            binding.bind_ortvalue_output(tensor.name, value)
        self._session.run_with_iobinding(binding, options)
        return _Bucket(inputs, outputs, binding, options)

    def _allocate(self, size: int, tensor: Any) -> Any:
        shape = [size, *tensor.shape[1:]]
        return self._runtime.OrtValue.ortvalue_from_shape_and_type(shape, _DTYPES[tensor.type], self._device, 0)


def _padded(array: NDArray[np.generic], size: int) -> NDArray[np.generic]:
    """`array` with rows of zeros up to `size`."""
    if len(array) == size:
        return np.ascontiguousarray(array)
    padded = np.zeros((size, *array.shape[1:]), array.dtype)
    padded[: len(array)] = array
    return padded
