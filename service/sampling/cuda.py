"""Batches on CUDA, at sizes that were allocated, tried and captured at load, so that no request is the first to fail.

Each size, a bucket, has inputs and outputs at fixed addresses on the device, and so a CUDA graph of its own
(https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#using-cuda-graphs-preview). A batch is
padded to the next bucket, with zeros or with golden probes; what comes back to the host is what was asked for.
"""

from __future__ import annotations

import bisect
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from latentserve.service.errors import BundleError, one_line
from latentserve.service.sampling.memory import in_turns
from latentserve.service.sampling.padding import Padding
from latentserve.service.sampling.served_graph import Output

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
Arrays = Mapping[str, NDArray[np.generic]]

_DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(uint8)": np.uint8}

_TRIED_PROBES = 4  # each in all rows of a batch, beside the others in its padding

# Errors after which nothing that a process does on the device succeeds any more, until it is another process: those of
# which CUDA's documentation says so (cudaError, in the Runtime API), and of devices and services that are gone.
_LASTING = frozenset((201, 214, 220, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 805, 807, 809, 999))
_FAILURE = re.compile(r"CUDA (?:failure|error):? ?(\d+)(?:: ([^;\n]*))?")  # as ONNX Runtime words it

# One thread for whatever runs on the device: the runtime keeps captured graphs by thread, and while one is captured no
# other thread may allocate there.
_THREAD = ThreadPoolExecutor(1, thread_name_prefix="cuda")


_lost: list[str] = []  # why the device is lost to this process, once it is


def on_device(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function on the thread that uses the device, and wait for it."""
    try:
        return _THREAD.submit(function, *args, **kwargs).result()
    except Exception as error:
        if not _lost and (cause := lasting_failure(str(error))) is not None:
            _lost.append(cause)
            log.error("%s: this process can use it no more", cause)
        raise


def lost_device() -> str | None:
    """Why nothing will run on the device any more in this process, or None."""
    return _lost[0] if _lost else None


def lasting_failure(said: str) -> str | None:
    """What ONNX Runtime says of an error, where it is one that stays for as long as the process does."""
    for found in _FAILURE.finditer(said):
        if int(found[1]) in _LASTING:
            return f"the GPU failed with CUDA error {found[1]}" + (f" ({found[2].strip()})" if found[2] else "")
    return None


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
        self._padding: Padding | None = None

    @property
    def max_batch(self) -> int:
        """Rows of the largest bucket that fits."""
        return self._sizes[-1]

    def run(self, feed: Arrays, outputs: Sequence[Output]) -> list[NDArray[Any]]:
        """The outputs asked for, of inputs with n rows by their names; more than `max_batch` are run in turns."""
        return on_device(self._run, feed, outputs)

    def _run(self, feed: Arrays, outputs: Sequence[Output]) -> list[NDArray[Any]]:
        return in_turns(lambda part: self._run_bucket(part, outputs), feed, self.max_batch)

    def carry(self, padding: Padding) -> bool:
        """From now on let golden probes ride where batches are padded, if no row can tell them from zeros there, in no
        bucket, to the last bit of any output; whether that is so.

        It asks less than `Engine.batch_invariant`: on a GPU a row has other last bits in a batch of another size, where
        other kernels run, and still does not depend on what the other rows hold.
        """
        unseen = on_device(self._is_unseen, padding)
        if unseen:
            self._padding = padding
        return unseen

    def _is_unseen(self, padding: Padding) -> bool:
        outputs = list(self._names)
        for smaller, size in pairwise(self._sizes):
            rows = smaller + 1
            for probe in range(_TRIED_PROBES if rows < size else 0):
                feed = padding.inputs(padding.turn(probe, 1).repeat(rows))
                beside = padding.inputs(padding.turn(probe + 1, size - rows))
                without = [array[:rows].copy() for array in self._call(size, feed, outputs)]
                found = [array[:rows] for array in self._call(size, feed, outputs, beside)]
                if not all(map(np.array_equal, without, found)):
                    return False
        return True

    def _run_bucket(self, feed: Arrays, outputs: Sequence[Output]) -> list[NDArray[Any]]:
        rows = len(feed["z"])
        size = self._sizes[bisect.bisect_left(self._sizes, rows)]
        probes = None if self._padding is None or rows == size else self._padding.take(size - rows)
        if self._padding is None or probes is None:
            fetched = self._call(size, feed, outputs)
        else:
            fetched = self._call(size, feed, outputs, self._padding.inputs(probes))
            began = time.perf_counter()
            made = fetched[outputs.index("sample")] if "sample" in outputs else self._fetch(size, "sample")
            self._padding.give(probes, size, made[rows:].copy(), time.perf_counter() - began)
        # On the CPU `numpy` gives the buffer itself, which the next batch will overwrite.
        return [array[:rows].copy() if self._device == "cpu" else array[:rows] for array in fetched]

    def _call(
        self, size: int, feed: Arrays, outputs: Sequence[Output], beside: Arrays | None = None
    ) -> list[NDArray[Any]]:
        """Whole outputs of a bucket, `feed` being its first rows, and `beside` the others; None: zeros."""
        bucket = self._buckets[size]
        for name, value in bucket.inputs.items():
            value.update_inplace(_padded(feed[name], size, None if beside is None else beside[name]))
        self._session.run_with_iobinding(bucket.binding, bucket.options)
        return [self._fetch(size, output) for output in outputs]

    def _fetch(self, size: int, output: Output) -> NDArray[Any]:
        found: NDArray[Any] = self._buckets[size].outputs[self._names[output]].numpy()
        return found

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
                reason = one_line(error)
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


def _padded(array: NDArray[np.generic], size: int, beside: NDArray[np.generic] | None) -> NDArray[np.generic]:
    """`array`, and below it `beside`, or rows of zeros up to `size`."""
    if len(array) == size:
        return np.ascontiguousarray(array)
    if beside is not None:
        return np.concatenate([array, beside])
    padded = np.zeros((size, *array.shape[1:]), array.dtype)
    padded[: len(array)] = array
    return padded
