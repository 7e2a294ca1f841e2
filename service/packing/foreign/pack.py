"""From somebody else's ONNX file to a bundle, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from latentserve.service.bundle import Manifest, check_place
from latentserve.service.bundle.manifest import Prior
from latentserve.service.errors import BundleError
from latentserve.service.packing.assemble import assemble_bundle
from latentserve.service.packing.bounds import output_bounds
from latentserve.service.packing.closing import choose_output, close
from latentserve.service.packing.describe import SampleHints, describe_output
from latentserve.service.packing.foreign.any_rows import alone_and_together, for_any_rows
from latentserve.service.packing.foreign.claims import check_claims
from latentserve.service.packing.foreign.header import settle_header
from latentserve.service.packing.foreign.inputs import drop_defaults
from latentserve.service.packing.foreign.labels import beyond, label_names
from latentserve.service.packing.foreign.noise_cost import noise_cost
from latentserve.service.packing.foreign.prune import keep_output, without_bfloat16
from latentserve.service.packing.foreign.roles import RoleError
from latentserve.service.packing.foreign.rows_axis import give_rows, put_rows_first
from latentserve.service.packing.foreign.understood import Noise, understand
from latentserve.service.packing.probes import golden_inputs
from latentserve.service.packing.probing import probe_rows
from latentserve.service.packing.real import read_real
from latentserve.service.packing.recognise import recognise
from latentserve.service.packing.storing import read_model, store, workroom


@dataclass(frozen=True)
class PackOptions(SampleHints):
    """What the user says of the file besides; None: probe it.

    Attributes:
        inputs: what some of its inputs are, in words (`roles.parse_role`).
        prior: of latents of which it is not said.
        labels: their names.
        noise: drawn for each row, or once for all.
        output: which one the samples are.
    """

    inputs: Mapping[str, str] = field(default_factory=dict)
    prior: Prior = "normal"
    labels: list[str] | None = None
    noise: Noise = "random"
    output: str | None = None


def pack_foreign(
    file: Path,
    out: Path,
    name: str,
    options: PackOptions,
    license_id: str | None = None,
    reference_samples: int | None = None,
    real: Path | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> Manifest:
    """Make a bundle of an ONNX file, with a reference of so many samples and (`read_real`) the real ones at `real`.

    `say` is told what is understood of each input, a line each. Raises BundleError naming the file, and what to tell
    where probing fails.
    """
    try:
        return _pack(file, out, name, options, license_id, reference_samples, real, say)
    except RoleError as error:
        raise BundleError(f"{file}: {error}") from None


def _pack(
    file: Path,
    out: Path,
    name: str,
    options: PackOptions,
    license_id: str | None,
    reference_samples: int | None,
    real: Path | None,
    say: Callable[[str], None],
) -> Manifest:
    source = str(file)
    check_place(out.resolve())
    model = _load(file)
    check_claims(model, source)
    drop_defaults(model, options.inputs)
    output, remarks = choose_output(model, source, options.output)
    bounds = output_bounds(model, output.name)
    keep_output(model, output.name)
    for line in [*give_rows(model, options.inputs), *put_rows_first(model)]:
        say(line)
    without_bfloat16(model)
    found = understand(model, source, options.inputs, options.labels, options.prior, options.noise)
    for line in found.lines:
        say(line)
    signature, labels = found.signature, label_names(found.original, source, options.labels)
    remarks += [] if options.labels is None else beyond(labels, found.original)
    count = None if labels is None else len(labels)
    original = found.original = found.original.anew()
    rows = probe_rows(original.run, source, signature.latent, count, signature.conditions)
    form, sample, guessed = describe_output(rows, source, options, bounds=bounds)
    inputs = golden_inputs(signature.latent, count, signature.conditions, sample.shape)
    golden = alone_and_together(original, source, inputs)
    if (costly := noise_cost(original, inputs)) is not None:
        say(costly)
    generator, cost = for_any_rows(found, source, count or 1, say)
    keep_output(generator, generator.graph.output[0].name)
    close(generator, generator.graph.output[0].name, form)
    batch = found.batch if cost else None
    del found, original  # with what the session has taken
    with workroom(out) as folder:
        return assemble_bundle(
            out,
            name=name,
            generator=store(generator, folder),
            latent=signature.latent,
            labels=labels,
            conditions=signature.conditions,
            batch=batch,
            sample=sample,
            golden_sample=form.apply(golden),
            remarks=[*remarks, *cost, *guessed],
            license_id=license_id,
            reference_samples=reference_samples,
            real=None if real is None else read_real(real, sample),
        )


def _load(file: Path) -> onnx.ModelProto:
    if (what := recognise(file)) is not None:
        raise BundleError(f"{file}: {what}")
    model = read_model(file)
    settle_header(model)
    return model
