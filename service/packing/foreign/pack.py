"""Somebody else's ONNX generator, given the one signature that bundles have. What is not told is probed.

The graph itself is left as it is: casts and reshapes go before its inputs and after its output.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper

from latentserve.service.bundle import Latent, Manifest, graph
from latentserve.service.errors import BundleError, one_line
from latentserve.service.packing.assemble import assemble_bundle
from latentserve.service.packing.describe import SampleHints, describe_samples
from latentserve.service.packing.real import read_real
from latentserve.service.sampling.engine import require_runtime
from latentserve.service.sampling.latents import draw_latents

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_INTEGERS = (TensorProto.INT64, TensorProto.INT32)
_PROBE_ROWS = 256
_LABEL_LIMIT = 65_536


@dataclass(frozen=True)
class PackOptions(SampleHints):
    """What the user says of the file besides; None: probe it."""

    prior: Literal["normal", "uniform"] = "normal"
    labels: list[str] | None = None
    latent_input: str | None = None
    label_input: str | None = None
    output: str | None = None


def pack_foreign(
    file: Path,
    out: Path,
    name: str,
    options: PackOptions,
    license_id: str | None = None,
    reference_samples: int | None = None,
    real: Path | None = None,
) -> Manifest:
    """Make a bundle of an ONNX file, with a reference of so many samples and (`read_real`) the real ones at `real`.

    Raises BundleError naming the file, and what to tell where probing fails.
    """
    model = _load(file)
    z_input, label_input = _inputs(model, file, options)
    output = _output(model, file, options)
    wrapped, dim = _wrap(model, file, z_input, label_input, output)
    probe = _Probe(wrapped, file, Latent(dim=dim, prior=options.prior), label_input is not None)
    samples = probe.samples()
    labels = options.labels
    if label_input is None and labels is not None:
        raise BundleError(f"{file}: --labels was given, but the graph has no label input")
    if label_input is not None:
        labels = probe.labels(labels)
    sample = describe_samples(samples, str(file), options)
    _state_output_shape(wrapped, list(samples.shape[1:]))
    return assemble_bundle(
        out,
        name=name,
        generator=wrapped.SerializeToString(deterministic=True),
        latent=Latent(dim=dim, prior=options.prior),
        labels=labels,
        sample=sample,
        license_id=license_id,
        reference_samples=reference_samples,
        real=None if real is None else read_real(real, sample),
    )


def _load(file: Path) -> onnx.ModelProto:
    if not file.is_file():
        raise BundleError(f"{file}: no such file")
    try:
        model = onnx.load(file)  # weights beside it, in external data, come along
    except Exception as error:
        raise BundleError(f"{file}: not an ONNX file ({one_line(error)})") from None
    return graph.parse(model.SerializeToString(), str(file))


def _inputs(
    model: onnx.ModelProto, file: Path, options: PackOptions
) -> tuple[onnx.ValueInfoProto, onnx.ValueInfoProto | None]:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name: value for value in model.graph.input if value.name not in weights}
    for option, name in (("--input", options.latent_input), ("--label-input", options.label_input)):
        if name is not None and name not in inputs:
            raise BundleError(f"{file}: {option} {name}: the graph's inputs are {', '.join(inputs)}")
    floats = [value for value in inputs.values() if value.type.tensor_type.elem_type in _FLOATS]
    integers = [value for value in inputs.values() if value.type.tensor_type.elem_type in _INTEGERS]
    if options.latent_input is None and len(floats) != 1:
        raise BundleError(f"{file}: which input is the latent? Say --input, one of {', '.join(inputs)}")
    latent = inputs[options.latent_input] if options.latent_input is not None else floats[0]
    if options.label_input is None and len(integers) > 1:
        raise BundleError(f"{file}: which input is the label? Say --label-input, one of {', '.join(inputs)}")
    label = inputs[options.label_input] if options.label_input is not None else (integers[0] if integers else None)
    if label is not None and label.type.tensor_type.elem_type not in _INTEGERS:
        raise BundleError(f"{file}: the label input {label.name} must hold integers, one a row")
    unused = set(inputs) - {latent.name} - ({label.name} if label is not None else set())
    if unused:
        raise BundleError(f"{file}: input {', '.join(sorted(unused))} is neither latent nor label; make it a constant")
    return latent, label


def _output(model: onnx.ModelProto, file: Path, options: PackOptions) -> onnx.ValueInfoProto:
    outputs = {value.name: value for value in model.graph.output}
    if options.output is not None and options.output not in outputs:
        raise BundleError(f"{file}: --output {options.output}: the graph's outputs are {', '.join(outputs)}")
    if options.output is None and len(outputs) != 1:
        raise BundleError(f"{file}: which output is the sample? Say --output, one of {', '.join(outputs)}")
    output = outputs[options.output] if options.output is not None else next(iter(outputs.values()))
    if output.type.tensor_type.elem_type not in _FLOATS:
        raise BundleError(f"{file}: the output {output.name} must hold floating-point numbers")
    return output


def _wrap(
    model: onnx.ModelProto,
    file: Path,
    latent: onnx.ValueInfoProto,
    label: onnx.ValueInfoProto | None,
    output: onnx.ValueInfoProto,
) -> tuple[onnx.ModelProto, int]:
    """The same graph behind inputs `z` (and `label`) and output `sample`, all its own names prefixed; and dim."""
    axes = latent.type.tensor_type.shape.dim
    sizes = [axis.dim_value if axis.HasField("dim_value") else None for axis in axes]
    if len(sizes) < 2 or sizes[0] is not None:
        raise BundleError(
            f"{file}: the latent {latent.name} has shape {_shown(sizes)}; export it with a dynamic batch axis first"
        )
    if None in sizes[1:] or any(size != 1 for size in sizes[2:]):
        raise BundleError(f"{file}: the latent {latent.name} has shape {_shown(sizes)}; [batch, dim] is needed")
    dim = int(sizes[1] or 0)
    inner = compose.add_prefix(model, "inner/")
    nodes: list[onnx.NodeProto] = []
    value = _cast(nodes, "z", latent.type.tensor_type.elem_type, TensorProto.FLOAT)
    weights = [numpy_helper.from_array(np.array([-1, dim, *[1] * (len(sizes) - 2)], np.int64), "z/shape")]
    nodes.append(helper.make_node("Reshape", [value, "z/shape"], [f"inner/{latent.name}"]))
    inputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", dim])]
    if label is not None:
        value = _cast(nodes, "label", label.type.tensor_type.elem_type, TensorProto.INT64)
        label_axes = len(label.type.tensor_type.shape.dim)
        weights.append(numpy_helper.from_array(np.array([-1, *[1] * (label_axes - 1)], np.int64), "label/shape"))
        nodes.append(helper.make_node("Reshape", [value, "label/shape"], [f"inner/{label.name}"]))
        inputs.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]))
    last = f"inner/{output.name}"
    if output.type.tensor_type.elem_type == TensorProto.FLOAT:
        closing = helper.make_node("Identity", [last], ["sample"])
    else:
        closing = helper.make_node("Cast", [last], ["sample"], to=TensorProto.FLOAT)
    outer = helper.make_graph(
        [*nodes, *inner.graph.node, closing],
        "generator",
        inputs,
        [helper.make_tensor_value_info("sample", TensorProto.FLOAT, None)],
        [*weights, *inner.graph.initializer],
    )
    outer.sparse_initializer.extend(inner.graph.sparse_initializer)
    wrapped = helper.make_model(
        outer, opset_imports=model.opset_import, functions=inner.functions, ir_version=model.ir_version
    )
    return wrapped, dim


def _cast(nodes: list[onnx.NodeProto], name: str, wanted: int, has: int) -> str:
    if wanted == has:
        return name
    nodes.append(helper.make_node("Cast", [name], [f"{name}/cast"], to=wanted))
    return f"{name}/cast"


class _Probe:
    """The wrapped graph, run to see what it does."""

    def __init__(self, model: onnx.ModelProto, file: Path, latent: Latent, conditional: bool) -> None:
        runtime = require_runtime()
        self._file = file
        self._latent = latent
        self._conditional = conditional
        options = runtime.SessionOptions()
        options.log_severity_level = 4  # failures are expected here, and told in our words
        try:
            self._session = runtime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise BundleError(f"{file}: the runtime cannot load it ({one_line(error)})") from None

    def samples(self) -> NDArray[np.float32]:
        """float32 [_PROBE_ROWS, *shape]."""
        z = draw_latents(self._latent, 0, 0, _PROBE_ROWS)
        try:
            alone, batch = self._run(z[:1], 0), self._run(z, 0)
        except Exception as error:
            raise BundleError(f"{self._file}: does not run on a batch of latents ({one_line(error)})") from None
        if len(alone) != 1 or len(batch) != _PROBE_ROWS:
            raise BundleError(f"{self._file}: gives {len(batch)} samples for {_PROBE_ROWS} latents")
        if not np.isfinite(batch).all():
            raise BundleError(f"{self._file}: gives values that are not finite for latents from the prior")
        return batch

    def labels(self, told: list[str] | None) -> list[str]:
        """The label names: those told, if the graph takes as many; else as many numbers as it takes."""
        if told is not None:
            if not self._takes(len(told) - 1):
                raise BundleError(f"{self._file}: --labels names {len(told)} labels; the graph takes fewer")
            return told
        if self._takes(_LABEL_LIMIT):
            raise BundleError(f"{self._file}: takes any label, so their number cannot be probed; say --labels")
        low, high = 0, _LABEL_LIMIT  # takes low, does not take high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._takes(middle) else (low, middle)
        return [str(index) for index in range(low + 1)]

    def _takes(self, label: int) -> bool:
        try:
            self._run(draw_latents(self._latent, 0, 0, 1), label)
        except Exception:
            return False
        return True

    def _run(self, z: NDArray[np.float32], label: int) -> NDArray[np.float32]:
        feed: dict[str, NDArray[np.generic]] = {"z": z}
        if self._conditional:
            feed["label"] = np.full(len(z), label, np.int64)
        return self._session.run(["sample"], feed)[0]


def _state_output_shape(model: onnx.ModelProto, shape: list[int]) -> None:
    """Write the probed shape into the graph, so that its signature says it."""
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("sample", TensorProto.FLOAT, ["batch", *shape]))


def _shown(sizes: list[int | None]) -> str:
    return str([size if size is not None else "batch" for size in sizes]).replace("'", "")
