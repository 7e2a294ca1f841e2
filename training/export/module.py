"""From torch modules to a bundle: `export_bundle`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentserve.service.bundle import Column, Condition, Inputs, Latent, Lineage, Manifest, SampleSpec
from latentserve.service.bundle.files import CRITIC
from latentserve.service.errors import BundleError
from latentserve.service.packing.assemble import assemble_bundle
from latentserve.service.packing.bounds import output_bounds
from latentserve.service.packing.closing import Form, Layout, close
from latentserve.service.packing.describe import SampleHints, describe_output
from latentserve.service.packing.foreign.names import set_apart
from latentserve.service.packing.foreign.roles import RoleError
from latentserve.service.packing.layout import Kind
from latentserve.service.packing.probes import golden_inputs
from latentserve.service.packing.probing import probe_rows
from latentserve.service.packing.progress import stage
from latentserve.service.packing.real import RealRows, keep_real
from latentserve.service.packing.spans import share_off
from latentserve.service.packing.storing import store, whole, workroom
from latentserve.training.errors import ExportError
from latentserve.training.export.adapter import Adapter, evaluating
from latentserve.training.export.complex_numbers import weights_in_parts
from latentserve.training.export.dependence import depends, is_dependent, told_dependence
from latentserve.training.export.fit import Told, fit, listed, one_line, rows_of
from latentserve.training.export.graph import export_graph, rows_within, to_onnx
from latentserve.training.export.target import Target, find_target

_FEW = 4  # rows that are run alone and together
_ALONE = 8  # rows of which all but the first are run alone

log = logging.getLogger(__name__)


def export_bundle(
    module: nn.Module | Callable[..., Any],
    out: Path | str,
    *,
    name: str,
    latent_dim: int | None = None,
    latent_shape: Sequence[int] | None = None,
    prior: Literal["normal", "uniform"] = "normal",
    inputs: Mapping[str, str] | None = None,
    call: str | Callable[..., Any] | None = None,
    output: str | int | None = None,
    noise: Literal["random", "constant"] = "random",
    labels: list[str] | None = None,
    label_prior: list[float] | None = None,
    conditions: Sequence[Condition] | None = None,
    critic: nn.Module | None = None,
    kind: Kind | None = None,
    layout: Layout | None = None,
    shape: Sequence[int] | None = None,
    value_range: tuple[float, float] | None = None,
    columns: Sequence[str | Column] | None = None,
    sample_rate: int | None = None,
    license_id: str | None = None,
    lineage: Lineage | None = None,
    reference_samples: int | None = None,
    real: RealRows | None = None,
) -> Manifest:
    """Export any generator to the bundle folder `out`. Modules are run in eval mode and left as they were.

    Args:
        module: A module, or anything that can be called: with a latent [B, ...], a label if there are labels, and
            conditions if there are, by place or by the names of its parameters. What wraps it (DataParallel,
            torch.compile) is taken off. It gives samples [B, ...], alone or in a tuple, dict or dataclass; a row does
            not depend on what shares its batch. Where it has `export_arguments`, they stand for arguments that are not
            given. What it draws from torch itself (randn, dropout, gumbel_softmax)
            becomes noise that is drawn from the row's own seed.
        out: The folder; an older bundle there is replaced.
        name: What the model is served as.
        latent_dim: Numbers of a latent, tried as [B, d], [B, d, 1, 1], [B, 1, d], [B, 1, 1, d] and [B, d, 1].
        latent_shape: The shape of a row's latent instead, of which nothing is tried.
        prior: What latents that are told none are drawn from: N(0, 1), or uniform on (-1, 1).
        inputs: What parameters are, by name, in the words of `latentserve pack --input`: `{"y": "label:one-hot",
            "psi": "constant:0.7", "energy": "condition:1..100,log-uniform,GeV", "noise": "noise:1x8x8"}`. Those with a
            default that are not told keep it.
        call: The method that is called, by name (`decode`), or a function of the module and the inputs.
        output: Which of several outputs is the sample: its place, or its name.
        noise: What the module draws is drawn for each row, or once for all.
        labels: One name a class; None for an unconditional generator. Given as an index [B], or one-hot.
        label_prior: Shares of the classes when no label is asked for; None for equal ones.
        conditions: Numbers that a row is made for, each with its range and prior: a parameter each where parameters
            have their names, else one parameter [B, k].
        critic: forward(sample), with label and condition after it where the generator has them, giving score [B] or
            (score [B], features [B, d]).
        kind: What a sample is. None: an image if its shape is one of a picture, else an array.
        layout: Which axis is what: "nhwc" and "nhw" of pictures, "ntc" of sound are turned. None: by the shape.
        shape: In which the numbers of a row are read before that.
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
    own: dict[str, Any] = getattr(module, "export_arguments", {})
    labels = own.get("labels") if labels is None else labels
    label_prior = own.get("label_prior") if label_prior is None else label_prior
    kind = own.get("kind") if kind is None else kind
    columns = own.get("columns") if columns is None else columns
    lineage = own.get("lineage") if lineage is None else lineage
    told = Told(
        latent_shape=None if latent_shape is None else tuple(latent_shape),
        latent_dim=latent_dim,
        prior=prior,
        inputs=inputs,
        labels=None if labels is None else len(labels),
        conditions=conditions,
        output=output,
        constant_noise=noise == "constant",
        latent=own.get("latent"),
    )
    hints = SampleHints(kind, value_range, columns, sample_rate, layout, shape)
    with workroom(Path(out)) as folder:
        made = _generator(find_target(module, call), told, hints, folder)
        critic_onnx = golden_score = None
        if critic is not None:
            model, golden_score = _critic(critic, made.golden, made.probes, folder)
            critic_onnx = whole(model, CRITIC)
        return assemble_bundle(
            Path(out),
            name=name,
            generator=store(made.model, folder),
            critic=critic_onnx,
            latent=made.latent,
            labels=labels,
            label_prior=label_prior,
            conditions=made.conditions,
            batch=made.batch,
            sample=made.sample,
            golden_sample=made.golden,
            golden_score=golden_score,
            lineage=lineage or Lineage(),
            license_id=license_id,
            reference_samples=reference_samples,
            real=None if real is None else keep_real(real, made.sample, "real"),
            remarks=made.remarks,
        )


class _Made(NamedTuple):
    """A generator's graph, and what it is."""

    model: onnx.ModelProto
    batch: int | None
    latent: Latent
    conditions: list[Condition] | None
    sample: SampleSpec
    probes: Inputs
    golden: NDArray[np.float32]
    remarks: list[str]


def _generator(target: Target, told: Told, hints: SampleHints, folder: Path) -> _Made:
    with weights_in_parts(target.modules), target.in_float32() as remarks, torch.random.fork_rng(target.cuda):
        adapter, guessed = fit(target, told)
        if unset := target.unset:
            guessed.append(
                f"its {listed(unset)} normalise by a mean of 0 and a variance of 1, as before any data: were weights "
                "loaded with their buffers?"
            )
        try:
            latent, conditions = adapter.signature.latent, adapter.signature.conditions
            stage("probing: the module is run on latents from its prior")
            few = adapter.run(golden_inputs(latent, told.labels, conditions).take(slice(0, 1)))
            rows = probe_rows(adapter.run, "generator", latent, told.labels, conditions, rows_within(few))
        except (RoleError, BundleError) as error:
            said = str(error)
            raise ExportError(said if said.startswith("generator:") else f"generator: {said}") from None
        probes = golden_inputs(latent, told.labels, conditions, rows.shape[1:])
        golden = _golden(adapter, probes)
        fed = probes.feed()
        named = {name: fed[name] for name in adapter.names}
        model, batch, traced = export_graph(
            adapter, "generator", named, {"sample": golden}, folder, only=adapter.batch, dtype=target.dtype
        )
    cost = [f"it {traced}"] if traced else []
    if batch is not None:
        why = (
            "it gives no rows for any other number"
            if adapter.batch
            else "torch's exporters give none for other numbers"
        )
        cost.append(
            f"the graph takes {batch} row{'s' * (batch > 1)} at a time, for {why}: rows run "
            + ("one by one, and a large batch is no cheaper a row" if batch == 1 else "in blocks of so many")
        )
    described = describe_output(rows, "generator", hints, bounds=output_bounds(model, "sample"))
    if described.form != Form.plain(rows.shape[1:]) or rows.dtype != np.float32:
        renamed = set_apart(model.graph, "sample/", "sample")
        close(model, renamed("sample"), described.form)
    remarks = [*remarks, *guessed, *cost, *described.remarks]
    return _Made(model, batch, latent, conditions, described.sample, probes, described.form.apply(golden), remarks)


def _golden(adapter: Adapter, inputs: Inputs) -> NDArray[Any]:
    """What the module gives for the probes. Raises ExportError: they are not finite, or others beside other rows."""
    four = inputs.take(np.arange(_FEW) % len(inputs.z))
    try:
        rows = rows_of(adapter, inputs, rows_within(adapter.run(four)))
        places = range(1, min(_ALONE, len(inputs.z)))
        alone = np.concatenate([adapter.run(inputs.take(slice(place, place + 1))) for place in places])
        share = depends(adapter, four)
    except Exception as error:
        raise ExportError(f"generator: does not run: {one_line(error)}") from None
    if not np.isfinite(rows).all():
        raise ExportError("generator: gives values that are not finite for latents from the prior")
    share = max(share, share_off(alone, rows[1 : 1 + len(alone)], rows))
    if is_dependent(share):
        raise ExportError(told_dependence(adapter, four, share))
    return rows


class ScoreOnly(nn.Module):
    """A critic that gives no features, with its score as the only one: (score [B], features [B, 1])."""

    def __init__(self, critic: nn.Module) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        output = self.critic(*inputs)
        score: Tensor = output[0] if isinstance(output, tuple | list) else output
        return score, score.unsqueeze(-1)


def _critic(
    critic: nn.Module, samples: NDArray[np.float32], inputs: Inputs, folder: Path
) -> tuple[onnx.ModelProto, NDArray[np.float32]]:
    """The critic's graph, and its scores of the golden samples."""
    named: dict[str, NDArray[Any]] = {"sample": samples}
    named |= {name: array for name, array in inputs.feed().items() if name != "z"}
    outputs = _scores(critic, named)
    if len(outputs) == 1:
        critic = ScoreOnly(critic)
        outputs = _scores(critic, named)
    if len(outputs) != 2 or outputs[0].ndim != 1 or outputs[1].ndim != 2:
        shapes = " and ".join(str(list(one.shape)) for one in outputs)
        raise ExportError(f"critic: gives {shapes}; a score [batch] and features [batch, d] are needed")
    score, features = outputs
    return to_onnx(critic, "critic", named, {"score": score, "features": features}, folder), score


def _scores(critic: nn.Module, named: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
    """What a critic gives for rows, a bounded number at a time."""
    most = rows_within(*named.values())
    starts = range(0, len(named["sample"]), most)
    parts = [_run_critic(critic, [array[start : start + most] for array in named.values()]) for start in starts]
    return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def _run_critic(critic: nn.Module, arrays: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
    held = next((tensor for tensors in (critic.parameters(), critic.buffers()) for tensor in tensors), None)
    device = held.device if held is not None else torch.device("cpu")
    shapes = ", ".join(str(list(array.shape)) for array in arrays)
    with evaluating(critic), torch.no_grad():
        try:
            first, again = (critic(*(torch.from_numpy(array).to(device) for array in arrays)) for _ in range(2))
        except Exception as error:  # the module is anybody's
            raise ExportError(f"critic: forward of shapes {shapes} fails: {one_line(error)}") from None
    outputs, repeated = _listed(first), _listed(again)
    for output, repeat in zip(outputs, repeated, strict=True):
        if output.dtype != torch.float32 or output.shape[:1] != (len(arrays[0]),):
            given = f"{output.dtype} {list(output.shape)}"
            raise ExportError(f"critic: gives {given} for inputs of shapes {shapes}; float32 [batch, ...] is needed")
        if not torch.isfinite(output).all():
            raise ExportError("critic: gives values that are not finite")
        if not torch.equal(output, repeat):
            raise ExportError("critic: gives two answers for the same inputs")
    return [output.cpu().numpy() for output in outputs]


def _listed(output: object) -> list[Tensor]:
    return [part for part in (output if isinstance(output, tuple | list) else [output]) if isinstance(part, Tensor)]
