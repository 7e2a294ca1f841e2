"""ONNX Runtime's sessions: which provider a graph gets, with which options, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from latentserve.service.bundle.weights import NO_FILES, Files
from latentserve.service.errors import BundleError, RuntimeMissingError, one_line

Device = Literal["auto", "cpu", "cuda"]

TENSORRT, CUDA, CPU = "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"
NO_CUDA_BUILD = "--device cuda: the installed ONNX Runtime has no CUDA; install latentserve[gpu] instead of [cpu]"
NO_CUDA_DEVICE = "--device cuda: CUDA does not work on this machine (driver, CUDA or cuDNN missing)"
NO_TENSORRT = "LATENTSERVE_TENSORRT: TensorRT does not work here (its libraries, CUDA or a GPU are missing)"

_CUDA_OPTIONS = {
    "use_tf32": "0",  # TF32 keeps 10 bits of mantissa: golden probes would tell
    # EXHAUSTIVE, the default, takes what it finds fastest: another in each worker, and other last bits with it.
    "cudnn_conv_algo_search": "HEURISTIC",
    "arena_extend_strategy": "kSameAsRequested",  # by powers of two, batches would be turned away that fit
}


def tensorrt_options(folder: str, precision: str) -> dict[str, str]:
    """Options of the TensorRT provider, which keeps what it builds in `folder`.

    fp16 arithmetic only for a generator that was made, and measured, in fp16.
    """
    return {
        "trt_fp16_enable": "1" if precision == "fp16" else "0",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": folder,
    }


def load(runtime: Any, content: bytes, files: Files, options: Any, providers: Sequence[object] = (CPU,)) -> Any:
    """An InferenceSession of the module `runtime`, of an ONNX file and those that it refers to: the runtime copies
    weights from there, and opens no file by itself. Raises whatever the runtime raises."""
    held = list(files.values())
    # The options have but the addresses of what they are given, which is held here until it is copied.
    options.add_external_initializers_from_files_in_memory(list(files), held, [len(one) for one in held])
    return runtime.InferenceSession(content, options, providers=list(providers))


def session_options(runtime: Any, *, spinning: bool = False) -> Any:
    """Options of a session whose failures are told in our words alone: what the runtime writes of them itself, it waits
    for whoever reads its standard error.

    `spinning`: after a call its threads stay awake for some 10 ms, in which the next one finds them there. They take
    their cores' whole time for it, so only what answers others has them do so.
    """
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    return options


def open_session(
    runtime: Any,
    content: bytes,
    file: str,
    device: Device,
    threads: int,
    *,
    spinning: bool = False,
    files: Files = NO_FILES,
    capture: bool = False,
    as_written: bool = False,
    tensorrt: Mapping[str, str] | None = None,
) -> Any:
    """An InferenceSession of the module `runtime`.

    Args:
        content: an ONNX file. The runtime parses all of it, and then copies its weights: those that lie in `files` it
            copies from there.
        file: its name, for messages.
        device: `auto` takes CUDA where it works, `cuda` refuses to start where it does not.
        threads: threads of one call on the CPU.
        spinning: they await the next call awake: see `session_options`.
        files: what `content` refers to.
        capture: CUDA graphs; refused for a graph that leaves the device or has loops.
        as_written: operator by operator, nothing fused.
        tensorrt: options of the TensorRT provider, which then comes before CUDA.

    Raises RuntimeMissingError and BundleError.
    """
    options = session_options(runtime, spinning=spinning)
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if as_written:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    available = runtime.get_available_providers()
    cuda = device != "cpu" and CUDA in available
    if device == "cuda" and not cuda:
        raise RuntimeMissingError(NO_CUDA_BUILD)
    providers: list[object] = [CPU]
    if cuda:
        runtime.preload_dlls()
        providers.insert(0, (CUDA, {**_CUDA_OPTIONS, "enable_cuda_graph": str(int(capture))}))
    if tensorrt is not None:
        if not cuda or TENSORRT not in available:
            raise RuntimeMissingError(NO_TENSORRT)
        os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # the only way to keep TensorRT from TF32
        providers.insert(0, (TENSORRT, dict(tensorrt)))
    try:
        session = load(runtime, content, files, options, providers)
    except Exception as error:
        raise BundleError(f"{file}: the runtime cannot load it ({one_line(error)})") from None
    session.disable_fallback()  # a call that fails on the device fails, and does not go on on the CPU
    # Where a provider does not work the runtime goes on with the next and does not fail: ask what it really took.
    took = session.get_providers()[0]
    if tensorrt is not None and took != TENSORRT:
        raise RuntimeMissingError(NO_TENSORRT)
    if device == "cuda" and took == CPU:
        raise RuntimeMissingError(NO_CUDA_DEVICE)
    return session
