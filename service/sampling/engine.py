"""The engine: a bundle's ONNX graphs on one device, called with numpy arrays. Knows nothing of requests."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from latentserve.service.bundle import Bundle, Inputs, graph
from latentserve.service.bundle.files import CRITIC, GENERATOR
from latentserve.service.bundle.weights import Files
from latentserve.service.errors import BundleError, RuntimeMissingError, one_line
from latentserve.service.sampling.cuda import CudaRunner, on_device
from latentserve.service.sampling.memory import in_turns
from latentserve.service.sampling.padding import Padded, Padding, differences
from latentserve.service.sampling.served_graph import Output, served_graph
from latentserve.service.sampling.sessions import (
    CPU,
    CUDA,
    NO_CUDA_BUILD,
    NO_CUDA_DEVICE,
    NO_TENSORRT,
    TENSORRT,
    Device,
    open_session,
    session_options,
    tensorrt_options,
)

try:
    import onnxruntime
except ImportError:
    onnxruntime = None

log = logging.getLogger(__name__)

_CRITIC_ROWS = 256  # that the critic is asked for at once, as it is where it watches
FIXED_BATCH = 16  # rows of a batch in which rows have places of their own


class Model(NamedTuple):
    """An ONNX file, and those that it refers to."""

    content: bytes
    files: Files


class CpuRunner:
    """Batches of any size, each in one call, or in turns of `limit` rows where that is not None.

    Outputs bound to buffers of the same size made beforehand were measured too: as fast at 28x28 and 3x64x64, a
    microsecond faster with one layer, and then they must be copied, for the next batch writes over them.
    """

    def __init__(self, session: Any, names: Mapping[Output, str], max_batch: int, limit: int | None) -> None:
        self.limit = limit
        self.tidy = False  # the next call gives memory back that the runtime has taken and does not use
        self._max_batch = max_batch
        self._session = session
        self._names = names

    @property
    def max_batch(self) -> int:
        """Rows of a batch that is worth putting together."""
        return self._max_batch if self.limit is None else min(self._max_batch, self.limit)

    def run(self, feed: Mapping[str, NDArray[np.generic]], outputs: Sequence[Output]) -> list[NDArray[Any]]:
        """Outputs of inputs by their names."""
        names = [self._names[output] for output in outputs]
        options = None
        if self.tidy:
            self.tidy, options = False, onnxruntime.RunOptions()
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        return in_turns(lambda part: self._session.run(names, part, options), feed, self.limit)


class Engine:
    """One bundle's generator, and critic if it has one, loaded on a device.

    Args:
        bundle: verified.
        device: `auto` takes CUDA where it works, `cuda` refuses to start where it does not.
        threads: threads of one engine call on the CPU.
        max_batch: rows of one call at the most, on the CPU no more than the manifest says that memory is for.
        spinning: the threads await the next call awake, as a server's do: see `session_options`.
        tensorrt: TensorRT before CUDA; refuses to start where it does not work.

    Attributes:
        outputs: what `run` can give.
        provider: ONNX Runtime's name of what runs the generator.
        max_batch: rows of one call at the most: fewer than were asked for, where those do not fit.
        batch_invariant: whether a row is the same in every batch; `warm_up` finds out.

    Raises RuntimeMissingError (no ONNX Runtime, no CUDA) and BundleError (a graph the runtime cannot load).
    """

    def __init__(
        self,
        bundle: Bundle,
        device: Device = "auto",
        threads: int = 1,
        max_batch: int = 64,
        *,
        spinning: bool = False,
        tensorrt: bool = False,
    ) -> None:
        self.bundle = bundle
        self._threads, self._spinning = threads, spinning
        require_runtime()
        content = bundle.generator
        light = graph.light(content, GENERATOR)
        served = served_graph(light, bundle.manifest.onnx.opset, bundle.manifest.sample)
        self.outputs: tuple[Output, ...] = tuple(served.outputs)
        model = Model(light + served.graft, {GENERATOR: content, **bundle.beside})
        self.provider, self._runner = self._open(model, served.outputs, device, max_batch, tensorrt=tensorrt)
        del content, model  # while the runtime loads them, weights are held twice: there, and as they are run
        # The critic watches; it never needs to be faster than its share of the traffic.
        self._critic = None
        if (critic := bundle.critic) is not None:
            light = graph.light(critic, CRITIC)
            self._critic = open_session(
                onnxruntime, light, CRITIC, device, threads, spinning=spinning, files={CRITIC: critic}
            )
        self.batch_invariant = False
        self._padding: Padding | None = None

    @property
    def max_batch(self) -> int:
        """See the class."""
        return self._runner.max_batch

    def bound(self, rows: int) -> None:
        """Run no more than so many rows in one call on the CPU from now on."""
        if isinstance(self._runner, CpuRunner):
            self._runner.limit = rows

    def tidy(self) -> None:
        """Have the next call on the CPU give back the memory that the runtime has taken and does not use: it keeps what
        outputs took, however few are left of them."""
        if isinstance(self._runner, CpuRunner):
            self._runner.tidy = True

    @property
    def fixed_batch(self) -> int:
        """Rows of a batch in which rows have places of their own: the same on every machine."""
        return min(FIXED_BATCH, self.bundle.manifest.onnx.max_batch or FIXED_BATCH)

    @property
    def runtime_version(self) -> str:
        """ONNX Runtime's version."""
        return str(onnxruntime.__version__)

    @property
    def precision(self) -> str:
        """Of the generator's arithmetic: fp32, fp16 or int8."""
        return str((self.bundle.manifest.lineage.evaluation or {}).get("precision", "fp32"))

    @property
    def has_critic(self) -> bool:
        """Whether `score` can be called."""
        return self._critic is not None

    def generate(self, inputs: Inputs) -> NDArray[np.float32]:
        """Samples float32 [n, *sample.shape] of n rows' inputs."""
        return self.run(inputs, ("sample",))[0]

    def run(self, inputs: Inputs, outputs: Sequence[Output]) -> list[NDArray[Any]]:
        """Several outputs of one run, each [n, ...]; see `served_graph`."""
        return self._runner.run(inputs.feed(), outputs)

    def whole_batches(self, row: int, rows: int) -> int:
        """How many rows from row `row` of a seed on, about `rows`, end with the last place of a fixed batch."""
        batch = self.fixed_batch
        return max(batch, rows - rows % batch) - row % batch

    def run_fixed(self, inputs: Inputs, outputs: Sequence[Output], row: int) -> list[NDArray[Any]]:
        """The same, each row bit for bit the same whatever is asked for with it: row i of a seed (`row` is the first)
        always sits at position i mod `fixed_batch` of a batch of so many rows, and the other positions hold zeros or
        its neighbours, which it never sees.

        No golden probes ride here, as they do in a GPU's padding: a request that is asked again must find the same
        beside it, however little its rows should see of that.
        """
        parts: list[list[NDArray[Any]]] = []
        start, batch = 0, self.fixed_batch
        while start < len(inputs.z):
            place = (row + start) % batch
            count = min(len(inputs.z) - start, batch - place)
            rows = slice(place, place + count)
            made = self.run(inputs.take(slice(start, start + count)).placed(batch, place), outputs)
            parts.append([output[rows] for output in made])
            start += count
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    def score(self, sample: NDArray[np.float32], inputs: Inputs) -> NDArray[np.float32]:
        """The critic's scores float32 [n] of samples float32 [n, *sample.shape] of these inputs."""
        return self.criticise(sample, inputs)[0]

    def score_fixed(self, sample: NDArray[np.float32], inputs: Inputs, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The same, each bit for bit the same whatever is scored with it: as in `run_fixed`, row i of a seed (`rows`
        int64 [n], ascending, are the numbers) sits at position i mod `fixed_batch` of a batch, others hold zeros or
        its neighbours."""
        batch = self.fixed_batch
        ends = np.flatnonzero(np.diff(rows // batch)) + 1
        scores = [np.zeros(0, np.float32)]
        for some in np.split(np.arange(len(rows)), ends) if len(rows) else ():
            places = rows[some] % batch
            whole = np.zeros((batch, *sample.shape[1:]), sample.dtype)
            whole[places] = sample[some]
            scores.append(self.score(whole, inputs.take(some).spread(batch, places))[places])
        return np.concatenate(scores)

    def criticise(
        self, sample: NDArray[np.float32], inputs: Inputs
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """The critic's scores float32 [n], and its features float32 [n, ...] if it gives any. Of the inputs it takes
        the label and the condition, or not."""
        described = self.bundle.manifest.onnx.critic
        if self._critic is None or described is None:
            raise BundleError("the bundle has no critic")
        taken = {tensor.name for tensor in described.inputs}
        feed = {"sample": sample} | {name: array for name, array in inputs.feed().items() if name in taken}
        names = [name for name in ("score", "features") if any(name == tensor.name for tensor in described.outputs)]
        run = self._critic.run
        limit = self.bundle.manifest.onnx.max_batch
        outputs = in_turns(
            lambda part: run(names, part) if self.provider == CPU else on_device(run, names, part), feed, limit
        )
        return outputs[0], outputs[1] if len(outputs) > 1 else None

    def warm_up(self) -> None:
        """Run batches of many sizes up to `max_batch`, and see whether a row depends on its batch.

        `batch_invariant` is set when the golden rows came out bit for bit the same in every batch, at every position.
        Where the runner pads batches, golden probes ride in the padding from now on, if no row changes by that.
        """
        golden = self.bundle.golden
        seen: dict[int, NDArray[np.float32]] = {}
        self.batch_invariant = True
        for size in self._warm_up_sizes():
            rows = np.arange(size - 1, -1, -1) % len(golden.z)
            for row, sample in zip(rows.tolist(), self._replay(rows), strict=True):
                if not np.array_equal(sample, seen.setdefault(row, sample)):
                    self.batch_invariant = False
        if isinstance(self._runner, CudaRunner):
            self._padding = Padding(golden)
            if not self._runner.carry(self._padding):
                log.warning("model %s: rows depend on each other; padding stays zeros", self.bundle.manifest.name)

    def _warm_up_sizes(self) -> list[int]:
        """Powers of two, and odd sizes beside them: kernels treat what is left over from their blocks differently."""
        sizes = {1 << power for power in range(self.max_batch.bit_length())} | {3, 5, 7}
        return sorted(size for size in sizes | {self.max_batch - 1, self.max_batch} if 0 < size <= self.max_batch)

    def probe(self, batch: int = 0) -> NDArray[np.float64]:
        """Replay the golden probes, in batches of `batch` rows (0: as many as there are probes, or as fit): of each,
        the largest absolute difference from what was recorded, float64 [P]; infinite where it is not finite."""
        golden = self.bundle.golden
        probes = len(golden.z)
        size = batch or min(probes, self.max_batch)
        found = np.zeros(probes)
        for start in range(0, probes, size):
            rows = np.arange(start, start + size) % probes
            np.maximum.at(found, rows, differences(self._replay(rows), golden.sample[rows]))
        return found

    def probe_critic(self) -> NDArray[np.float64]:
        """Have the critic judge the golden samples again, as they were recorded: of each, how far its score and its
        features are off, in tolerances, float64 [P]: more than 1 is too far, and infinite is not finite. 0 where
        nothing was recorded. Raises BundleError: the critic does not run on them, or gives other shapes."""
        golden = self.bundle.golden
        found = np.zeros(len(golden.z))
        for start in range(0, len(golden.z) if self.has_critic else 0, _CRITIC_ROWS):
            rows = slice(start, start + _CRITIC_ROWS)
            try:
                outputs = self.criticise(golden.sample[rows], golden.inputs.take(rows))
            except Exception as error:
                raise BundleError(f"{CRITIC}: does not run on the golden samples ({one_line(error)})") from None
            for made, recorded, tolerance in zip(
                outputs, (golden.score, golden.features), golden.critic_tolerances, strict=True
            ):
                if recorded is None or made is None:
                    continue
                if made.shape != recorded[rows].shape:
                    raise BundleError(f"{CRITIC}: gives an output of shape {made.shape}, not {recorded[rows].shape}")
                off = differences(made, recorded[rows])
                found[rows] = np.maximum(found[rows], off / tolerance if tolerance else np.where(off > 0, np.inf, 0))
        return found

    def probed_in_padding(self) -> Padded | None:
        """Golden probes that rode in a batch's padding, compared with what was recorded; None where none did since the
        last call, which is at most once a second. For one thread, which need not be that of `run`."""
        return None if self._padding is None else self._padding.collect()

    def _replay(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Samples of golden probes. Raises BundleError: graphs can have the right signature and still not run."""
        golden = self.bundle.golden
        try:
            samples = self.generate(golden.inputs.take(rows))
        except Exception as error:
            raise BundleError(f"generator.onnx: does not run on the golden latents ({one_line(error)})") from None
        expected = (len(rows), *golden.sample.shape[1:])
        if samples.shape != expected:
            raise BundleError(f"generator.onnx: gives samples of shape {samples.shape}, not {expected}")
        return samples

    def _open(
        self, model: Model, names: Mapping[Output, str], device: Device, max_batch: int, *, tensorrt: bool
    ) -> tuple[str, CpuRunner | CudaRunner]:
        """The provider that was taken, and a runner on it: with CUDA graphs where the generator can be captured."""
        if device != "cpu" and not tensorrt and CUDA in onnxruntime.get_available_providers():
            try:
                return self._attempt(model, names, device, max_batch, capture=True)
            except BundleError as error:
                log.warning("model %s: no CUDA graphs (%s)", self.bundle.manifest.name, error)
        # Outside the handler, which would keep what was tried on the device.
        return self._attempt(model, names, device, max_batch, tensorrt=tensorrt)

    def _attempt(
        self,
        model: Model,
        names: Mapping[Output, str],
        device: Device,
        max_batch: int,
        *,
        capture: bool = False,
        tensorrt: bool = False,
    ) -> tuple[str, CpuRunner | CudaRunner]:
        options = None
        if tensorrt:
            # Kept as long as the engine: TensorRT builds for further batch sizes when it meets them.
            self._built = tempfile.TemporaryDirectory(prefix="latentserve-tensorrt-")
            options = tensorrt_options(self._built.name, self.precision)
        session = open_session(
            onnxruntime,
            model.content,
            GENERATOR,
            device,
            self._threads,
            spinning=self._spinning,
            files=model.files,
            capture=capture,
            tensorrt=options,
        )
        provider = str(session.get_providers()[0])
        if provider == CPU:
            return provider, CpuRunner(session, names, max_batch, self.bundle.manifest.onnx.max_batch)
        return provider, CudaRunner(onnxruntime, session, names, max_batch, self.bundle.manifest.name)


def require_runtime() -> Any:
    """The module `onnxruntime`. Raises RuntimeMissingError where it is not installed."""
    if onnxruntime is None:
        raise RuntimeMissingError(
            "no ONNX Runtime is installed: install latentserve[cpu], or latentserve[gpu] on a machine with CUDA"
        )
    return onnxruntime


def require_cuda(*, tensorrt: bool = False) -> None:
    """Raises RuntimeMissingError unless a session really runs on CUDA, or on TensorRT."""
    runtime = require_runtime()
    wanted = TENSORRT if tensorrt else CUDA
    if wanted not in runtime.get_available_providers():
        raise RuntimeMissingError(NO_TENSORRT if tensorrt else NO_CUDA_BUILD)
    value = onnx.helper.make_tensor_value_info
    identity = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])],
        "identity",
        [value("x", onnx.TensorProto.FLOAT, [1])],
        [value("y", onnx.TensorProto.FLOAT, [1])],
    )
    model = onnx.helper.make_model(identity, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    runtime.preload_dlls()
    session = runtime.InferenceSession(model.SerializeToString(), session_options(runtime), providers=[wanted, CPU])
    if session.get_providers()[0] != wanted:
        raise RuntimeMissingError(NO_TENSORRT if tensorrt else NO_CUDA_DEVICE)
