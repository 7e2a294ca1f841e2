"""What is served, as the protocol tells it: the server, its models, their tensors and their state."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import orjson

import latentserve
from latentserve.service.bundle.manifest import Tensor
from latentserve.service.http.body import parse_as
from latentserve.service.models import Model, Models
from latentserve.service.sampling.fields import StrictFields

_EXTENSIONS = ("binary_tensor_data", "parameters", "model_configuration", "statistics")
_PLATFORM, _BACKEND = "onnxruntime_onnx", "onnxruntime"
_DATATYPES = {"float32": "FP32", "int64": "INT64"}


def describe_server() -> bytes:
    """`GET /v2`."""
    return orjson.dumps({"name": "latentserve", "version": latentserve.__version__, "extensions": _EXTENSIONS})


@lru_cache(maxsize=16)
def describe_tensors(model: Model) -> bytes:
    """`GET /v2/models/{model}`."""
    graph = model.bundle.manifest.onnx.generator
    return orjson.dumps(
        {
            "name": model.name,
            "versions": [model.version],
            "platform": _PLATFORM,
            "inputs": [_metadata(one) for one in graph.inputs],
            "outputs": [_metadata(one) for one in graph.outputs],
        }
    )


@lru_cache(maxsize=16)
def describe_configuration(model: Model, max_n: int) -> bytes:
    """`GET /v2/models/{model}/config`: as much as there is of Triton's `ModelConfig`. No input must be given."""
    graph = model.bundle.manifest.onnx.generator
    return orjson.dumps(
        {
            "name": model.name,
            "platform": _PLATFORM,
            "backend": _BACKEND,
            "max_batch_size": max_n,
            "input": [{**_configuration(one), "optional": True} for one in graph.inputs],
            "output": [_configuration(one) for one in graph.outputs],
        }
    )


def list_states(models: Models, content: bytes) -> bytes:
    """`GET` and `POST /v2/repository/index`, whose body may ask for those that are ready.

    Raises MalformedError, InvalidError.
    """
    only_ready = parse_as(content.strip(), _Index).ready
    return orjson.dumps(
        [
            {
                "name": model.name,
                "version": model.version,
                "state": "READY" if model.fault is None else "UNAVAILABLE",
                "reason": model.fault or "",
            }
            for model in models
            if model.fault is None or not only_ready
        ]
    )


class _Index(StrictFields):
    ready: bool = False


def _metadata(tensor: Tensor) -> dict[str, Any]:
    shape: Sequence[int] = [-1 if side == "batch" else side for side in tensor.shape]
    return {"name": tensor.name, "datatype": _DATATYPES[tensor.dtype], "shape": shape}


def _configuration(tensor: Tensor) -> dict[str, Any]:
    """Dimensions are those of a row."""
    return {"name": tensor.name, "data_type": f"TYPE_{_DATATYPES[tensor.dtype]}", "dims": tensor.shape[1:]}
