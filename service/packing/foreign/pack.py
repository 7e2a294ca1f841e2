"""Somebody else's ONNX generator, given the one signature that bundles have. What is not told is probed.

The graph itself is left as it is: casts and reshapes go before its inputs and after its output.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper

from latentserve.service.bundle import Inputs, Latent, Manifest, graph
from latentserve.service.errors import BundleError, one_line
from latentserve.service.packing.assemble import assemble_bundle
from latentserve.service.packing.bounds import output_bounds
from latentserve.service.packing.closing import choose_output, close
from latentserve.service.packing.describe import SampleHints, describe_output
from latentserve.service.packing.probing import probe_rows
from latentserve.service.packing.real import read_real
from latentserve.service.packing.recognise import missing_data, recognise
from latentserve.service.sampling.engine import require_runtime
from latentserve.service.sampling.latents import draw_latents

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_INTEGERS = (TensorProto.INT64, TensorProto.INT32)
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
    output, remarks = choose_output(model, str(file), options.output)
    bounds = output_bounds(model, output.name)
    wrapped, dim = _wrap(model, file, z_input, label_input, output)
    latent = Latent(dim=dim, prior=options.prior)
    probe = _Probe(wrapped, file, latent)
    labels = options.labels
    if label_input is None and labels is not None:
        raise BundleError(f"{file}: --labels was given, but the graph has no label input")
    if label_input is not None:
        labels = probe.labels(labels)
    samples = probe_rows(probe.run, str(file), latent, None if labels is None else len(labels))
    del probe  # with what its calls have taken
    form, sample, guessed = describe_output(samples, str(file), options, bounds=bounds)
    close(wrapped, wrapped.graph.output[0].name, form)
    return assemble_bundle(
        out,
        name=name,
        generator=wrapped.SerializeToString(deterministic=True),
        latent=latent,
        labels=labels,
        sample=sample,
        remarks=[*remarks, *guessed],
        license_id=license_id,
        reference_samples=reference_samples,
        real=None if real is None else read_real(real, sample),
    )


def _load(file: Path) -> onnx.ModelProto:
    if (what := recognise(file)) is not None:
        raise BundleError(f"{file}: {what}")
    try:
        model = onnx.load(file, load_external_data=False)
        if (what := missing_data(model, file.parent)) is not None:
            raise BundleError(f"{file}: {what}")
        onnx.external_data_helper.load_external_data_for_model(model, str(file.parent))
    except BundleError:
        raise
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
    (last,) = (value for value in inner.graph.output if value.name == f"inner/{output.name}")
    outer = helper.make_graph(
        [*nodes, *inner.graph.node],
        "generator",
        inputs,
        [last],
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

    def __init__(self, model: onnx.ModelProto, file: Path, latent: Latent) -> None:
        runtime = require_runtime()
        self._file = file
        self._latent = latent
        options = runtime.SessionOptions()
        options.log_severity_level = 4  # failures are expected here, and told in our words
        try:
            self._session = runtime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise BundleError(f"{file}: the runtime cannot load it ({one_line(error)})") from None

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
            z = draw_latents(self._latent, 0, 0, 1)
            self.run(Inputs(z, np.full(1, label, np.int64)))
        except Exception:
            return False
        return True

    def run(self, inputs: Inputs) -> NDArray[Any]:
        """Rows [n, ...] of the graph's output."""
        rows: NDArray[Any] = self._session.run(None, inputs.feed())[0]
        return rows


def _shown(sizes: list[int | None]) -> str:
    return str([size if size is not None else "batch" for size in sizes]).replace("'", "")
