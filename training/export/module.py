"""From torch modules to a bundle: ONNX graphs that are shown to compute what the modules compute."""

import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentserve.service.bundle import Column, Latent, Lineage, Manifest
from latentserve.service.bundle.files import CRITIC
from latentserve.service.bundle.graph import parse
from latentserve.service.bundle.weights import NO_FILES, Files
from latentserve.service.packing.assemble import assemble_bundle
from latentserve.service.packing.describe import SampleHints, describe_samples
from latentserve.service.packing.layout import Kind
from latentserve.service.packing.probes import golden_inputs
from latentserve.service.packing.real import keep_real
from latentserve.service.packing.storing import mapped, read_model, store, whole, workroom
from latentserve.service.sampling.sessions import load
from latentserve.training.errors import ExportError

OPSET = 20
PARITY_BATCHES = (1, 2, 3, 7, 64)
PARITY = 1e-5  # largest absolute difference between ONNX Runtime and torch that goes without saying
REFUSED = 1e-3  # the same as a share of the output's span: beyond it, the graph computes something else

log = logging.getLogger(__name__)


def export_bundle(
    module: nn.Module,
    out: Path | str,
    *,
    name: str,
    latent_dim: int | None = None,
    prior: Literal["normal", "uniform"] = "normal",
    labels: list[str] | None = None,
    label_prior: list[float] | None = None,
    critic: nn.Module | None = None,
    kind: Kind | None = None,
    value_range: tuple[float, float] | None = None,
    columns: Sequence[str | Column] | None = None,
    sample_rate: int | None = None,
    license_id: str | None = None,
    lineage: Lineage | None = None,
    reference_samples: int | None = None,
    real: NDArray[np.generic] | None = None,
) -> Manifest:
    """Export any generator to the bundle folder `out`. The modules are run in eval mode and left as they were.

    Args:
        module: forward(z [B, latent_dim] float32), or forward(z, label [B] int64) if there are labels, giving
            samples [B, ...] float32. Its only chance is z, and a row does not depend on what shares its batch.
            Where it has `export_arguments`, they stand for arguments that are not given.
        out: The folder; an older bundle there is replaced.
        name: What the model is served as.
        latent_dim: Columns of z.
        prior: What z is drawn from: N(0, 1), or uniform on (-1, 1).
        labels: One name a class; None for an unconditional generator.
        label_prior: Shares of the classes when no label is asked for; None for equal ones.
        critic: forward(sample) or forward(sample, label), giving score [B] or (score [B], features [B, d]).
        kind: What a sample is. None: an image if its shape is [1, 3 or 4, H, W], else an array.
        license_id: SPDX expression of the weights' licence.
        lineage: Where the weights come from.
        value_range: Least and largest value of an image. None: judged from samples.
        columns: A table's columns, or their names.
        sample_rate: An audio sample's, in hertz.
        reference_samples: Samples that drift is measured against. None: 100,000, and 20,000 a label where two minutes
            are enough for them.
        real: Real samples [n, ...], from which it is seen later that the generator has gone stale.

    Returns:
        The manifest as written.

    Raises:
        ExportError: A module does not do the above, or its ONNX graph does not compute the same.
        BundleError: The real samples are of another shape or range, or the bundle cannot be written.
    """
    told: dict[str, Any] = getattr(module, "export_arguments", {})
    labels = told.get("labels") if labels is None else labels
    label_prior = told.get("label_prior") if label_prior is None else label_prior
    kind = told.get("kind") if kind is None else kind
    columns = told.get("columns") if columns is None else columns
    lineage = told.get("lineage") if lineage is None else lineage
    if (latent := told.get("latent")) is None:
        if latent_dim is None:
            raise ExportError("latent_dim: is needed, the number of columns of z")
        latent = Latent(dim=latent_dim, prior=prior)
    count = None if labels is None else len(labels)
    golden_sample = run_module(module, "generator", *golden_inputs(latent, count))[0]
    z, label, _ = golden_inputs(latent, count, None, golden_sample.shape[1:])
    if len(z) > len(golden_sample):
        golden_sample = in_blocks(module, "generator", z, label)[0]
    hints = SampleHints(kind=kind, value_range=value_range, columns=columns, sample_rate=sample_rate)
    with workroom(Path(out)) as folder:
        generator_onnx = to_onnx(module, "generator", named("z", z, label), {"sample": golden_sample}, folder)
        critic_onnx = golden_score = None
        if critic is not None:
            outputs = in_blocks(critic, "critic", golden_sample, label)
            if len(outputs) == 1:
                critic = ScoreOnly(critic)
                outputs = in_blocks(critic, "critic", golden_sample, label)
            golden_score, features = outputs
            if golden_score.ndim != 1 or features.ndim != 2:
                shapes = f"{list(golden_score.shape)} and {list(features.shape)}"
                raise ExportError(f"critic: gives {shapes}; a score [batch] and features [batch, d] are needed")
            inputs = named("sample", golden_sample, label)
            judged = {"score": golden_score, "features": features}
            critic_onnx = whole(to_onnx(critic, "critic", inputs, judged, folder), CRITIC)
        sample = describe_samples(golden_sample, "generator", hints)
        return assemble_bundle(
            Path(out),
            name=name,
            generator=store(generator_onnx, folder),
            critic=critic_onnx,
            latent=latent,
            labels=labels,
            label_prior=label_prior,
            sample=sample,
            golden_sample=golden_sample,
            golden_score=golden_score,
            lineage=lineage or Lineage(),
            license_id=license_id,
            reference_samples=reference_samples,
            real=None if real is None else keep_real(real, sample, "real"),
        )


class ScoreOnly(nn.Module):
    """A critic that gives no features, with its score as the only one: (score [B], features [B, 1])."""

    def __init__(self, critic: nn.Module) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, sample: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        output = self.critic(sample) if label is None else self.critic(sample, label)
        score: Tensor = output[0] if isinstance(output, tuple | list) else output
        return score, score.unsqueeze(-1)


def named(first: str, value: NDArray[np.float32], label: NDArray[np.int64] | None) -> dict[str, NDArray[np.generic]]:
    """A graph's inputs by name; the label is one if there are labels."""
    return {first: value} if label is None else {first: value, "label": label}


def run_module(module: nn.Module, role: str, *inputs: NDArray[np.generic] | None) -> list[NDArray[np.float32]]:
    """Outputs of a module in eval mode for a batch of inputs (None is left out). Raises ExportError naming `role`."""
    given = [array for array in inputs if array is not None]
    shapes = ", ".join(str(list(array.shape)) for array in given)
    with evaluating(module), torch.no_grad():
        try:
            first, again = (module(*_tensors(module, given)) for _ in range(2))
        except Exception as error:  # the module is anybody's
            raise ExportError(f"{role}: forward of shapes {shapes} fails: {_one_line(error)}") from None
    outputs, repeated = _listed(first), _listed(again)
    for output, repeat in zip(outputs, repeated, strict=True):
        if output.dtype != torch.float32 or output.shape[:1] != (len(given[0]),):
            output_type = f"{output.dtype} {list(output.shape)}"
            raise ExportError(
                f"{role}: gives {output_type} for inputs of shapes {shapes}; float32 [batch, ...] is needed"
            )
        if not torch.equal(output, repeat):
            raise ExportError(f"{role}: gives two answers for the same inputs; chance may only enter through z")
    return [output.cpu().numpy() for output in outputs]


def in_blocks(
    module: nn.Module, role: str, first: NDArray[np.float32], label: NDArray[np.int64] | None
) -> list[NDArray[np.float32]]:
    """The same for a batch too large to be run at once."""
    blocks = np.array_split(np.arange(len(first)), -(-len(first) // max(PARITY_BATCHES)))
    parts = [run_module(module, role, first[rows], None if label is None else label[rows]) for rows in blocks]
    return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def to_onnx(
    module: nn.Module,
    role: str,
    inputs: Mapping[str, NDArray[np.generic]],
    outputs: Mapping[str, NDArray[np.float32]],
    folder: Path,
) -> onnx.ModelProto:
    """An ONNX model with a dynamic batch, the same for the same module; its large weights lie in files of `folder`
    (`read_model`).

    Raises ExportError when ONNX Runtime does not give `outputs` for `inputs` at every batch size.
    """
    arguments = _tensors(module, [array[:2] for array in inputs.values()])  # a batch of 1 would be baked in
    with evaluating(module), quiet_exporter():
        try:
            program = torch.onnx.export(
                module,
                tuple(arguments),
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=tuple({0: "batch"} for _ in inputs),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
            assert program is not None  # noqa: S101, only the deprecated exporter returns None
            file = Path(tempfile.mkdtemp(dir=folder)) / f"{role}.onnx"
            program.save(file, external_data=True)
        except Exception as error:  # the exporter fails in its own ways on anybody's module
            raise ExportError(f"{role}: cannot be exported to ONNX: {_one_line(error.__cause__ or error)}") from None
    model = read_model(file)
    strip(model)
    files = mapped(model)
    content: bytes = model.SerializeToString(deterministic=True)
    parse(content, f"{role}.onnx", files)  # refuses random operators
    difference, share = parity(content, inputs, outputs, files)
    if not share <= REFUSED:
        raise ExportError(
            f"{role}: its ONNX graph is off by {difference:.3g}, or its rows depend on what shares their batch"
        )
    if difference > PARITY:
        log.warning("%s: ONNX Runtime and torch differ by up to %.3g", role, difference)
    return model


def parity(
    content: bytes,
    inputs: Mapping[str, NDArray[np.generic]],
    outputs: Mapping[str, NDArray[np.float32]],
    files: Files = NO_FILES,
) -> tuple[float, float]:
    """Largest absolute difference between ONNX Runtime's outputs and `outputs`, over batches of 1, 2, 3, 7 and 64 rows,
    and the largest share of an output's span that it makes."""
    session = load(onnxruntime, content, files, onnxruntime.SessionOptions())
    rows = np.arange(max(PARITY_BATCHES)) % len(next(iter(inputs.values())))
    largest = share = 0.0
    for batch in PARITY_BATCHES:
        got = session.run(list(outputs), {name: array[rows[:batch]] for name, array in inputs.items()})
        for array, expected in zip(got, outputs.values(), strict=True):
            difference = float(np.abs(array - expected[rows[:batch]]).max())
            largest = max(largest, difference)
            share = max(share, difference / (float(np.ptp(expected)) or 1.0))
    return largest, share


def strip(model: onnx.ModelProto) -> None:
    """Remove what does not compute: stack traces, paths and versions would make equal generators differ."""
    model.ClearField("producer_version")
    holders = [model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer]
    for holder in [*holders, *model.graph.input, *model.graph.output, *model.functions]:
        holder.ClearField("doc_string")
        holder.ClearField("metadata_props")
    for function in model.functions:
        for node in function.node:
            node.ClearField("doc_string")
            node.ClearField("metadata_props")


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode within the block; afterwards each part is in the mode it was in."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Without the exporter's remarks on itself; the graph is judged by what it computes."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)


def _tensors(module: nn.Module, arrays: list[NDArray[np.generic]]) -> list[Tensor]:
    held = next((tensor for tensors in (module.parameters(), module.buffers()) for tensor in tensors), None)
    device = held.device if held is not None else torch.device("cpu")
    return [torch.from_numpy(array).to(device) for array in arrays]


def _listed(output: object) -> list[Tensor]:
    return [part for part in (output if isinstance(output, tuple | list) else [output]) if isinstance(part, Tensor)]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
