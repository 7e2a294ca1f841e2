"""From somebody else's ONNX file to a bundle, step by step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from latentserve.service.bundle import Inputs, Manifest
from latentserve.service.bundle.manifest import Prior
from latentserve.service.errors import BundleError
from latentserve.service.packing.assemble import assemble_bundle
from latentserve.service.packing.bounds import output_bounds
from latentserve.service.packing.closing import choose_output, close
from latentserve.service.packing.describe import SampleHints, describe_output
from latentserve.service.packing.foreign.adapt import adapt_inputs
from latentserve.service.packing.foreign.fixed_batch import in_blocks, set_free
from latentserve.service.packing.foreign.original import Original, draw_rows
from latentserve.service.packing.foreign.prune import keep_output, without_bfloat16
from latentserve.service.packing.foreign.roles import RoleError
from latentserve.service.packing.foreign.understood import Noise, Understood, understand
from latentserve.service.packing.probes import golden_inputs
from latentserve.service.packing.probing import probe_rows
from latentserve.service.packing.real import read_real
from latentserve.service.packing.recognise import recognise
from latentserve.service.packing.storing import read_model, store, workroom
from latentserve.service.sampling.latents import Span, draw_noise_of

_LABEL_LIMIT = 65_536
_DEPENDENT = 0.02  # of the span, root mean square of a row: further off, and it is no rounding
_MUCH_NOISE = 4096  # numbers a row: the time that fewer take is nobody's matter
_SAME = 1e-3  # of the span, root mean square of a row: further off, a graph that was set free computes something else


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
    model = _load(file)
    output, remarks = choose_output(model, source, options.output)
    bounds = output_bounds(model, output.name)
    keep_output(model, output.name)
    without_bfloat16(model)
    found = understand(model, source, options.inputs, options.labels, options.prior, options.noise)
    for line in found.lines:
        say(line)
    signature, labels = found.signature, _labels(found.original, source, options.labels)
    count = None if labels is None else len(labels)
    original = found.original = found.original.anew()
    rows = probe_rows(original.run, source, signature.latent, count, signature.conditions)
    form, sample, guessed = describe_output(rows, source, options, bounds=bounds)
    inputs = golden_inputs(signature.latent, count, signature.conditions, sample.shape)
    golden = _alone_and_together(original, source, inputs)
    if (costly := _cost_of_noise(original, inputs)) is not None:
        say(costly)
    generator, cost = _for_any_rows(found, source, count or 1, say)
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
    if not model.graph.node and not model.graph.output:
        raise BundleError(f"{file}: not an ONNX file (it holds no graph)")
    return model


def _labels(original: Original, source: str, told: list[str] | None) -> list[str] | None:
    """The label names: those told, if the graph takes as many; else as many numbers as it takes."""
    label = original.signature.label
    if label is None:
        if told is not None:
            raise BundleError(f"{source}: --labels was given, but the graph has no label input")
        return None
    one, role = label
    if role.form == "one-hot":
        if told is not None and len(told) != one.width:
            raise BundleError(f"{source}: --labels names {len(told)} labels; the label {one} has {one.width}")
        return told or [str(index) for index in range(one.width)]
    if told is not None:
        if not original.takes(len(told) - 1):
            raise BundleError(f"{source}: --labels names {len(told)} labels; the graph takes fewer")
        return told
    if original.takes(_LABEL_LIMIT):
        raise BundleError(
            f"{source}: {one.name} takes any label, so their number cannot be probed; say --labels, or where it is no "
            f"label --input {one.name}=condition:LO..HI or {one.name}=constant:VALUE"
        )
    low, high = 0, _LABEL_LIMIT  # takes low, does not take high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if original.takes(middle) else (low, middle)
    return [str(index) for index in range(low + 1)]


def _alone_and_together(original: Original, source: str, inputs: Inputs) -> NDArray[Any]:
    """What the file gives for these rows. Raises BundleError: a row is another beside others."""
    rows = original.rows(inputs)
    few = original.run(inputs.take(slice(0, 2)))
    off = _off(few, rows[:2].astype(np.float64))
    if off > _DEPENDENT * float(np.ptp(rows.astype(np.float64))):
        raise BundleError(
            f"{source}: a row's sample is another in a batch of 1 than in one of 2 (off by {off:.3g}, root "
            "mean square); rows must not depend on their batch"
        )
    return rows


def _cost_of_noise(original: Original, inputs: Inputs) -> str | None:
    """What is to be said of noise that takes longer to draw than half of what the network takes."""
    latent = original.signature.latent
    numbers = latent.dim - latent.width
    rows = original.batch or 1
    if numbers < _MUCH_NOISE:
        return None
    drawing = _seconds(lambda: draw_noise_of(latent, [Span(0, 0, rows)])) / rows
    running = _seconds(lambda: original.run(inputs.take(np.arange(rows) % len(inputs.z)))) / rows
    if drawing < running / 2:
        return None
    return (
        f"noise: {numbers:,} numbers a row take {drawing * 1e3:.2g} ms to draw, and the network {running * 1e3:.2g} ms "
        "on this processor; --noise constant draws them once for all rows"
    )


def _seconds(act: Callable[[], object]) -> float:
    """How long it takes, at best."""
    best = np.inf
    for _ in range(3):
        began = time.perf_counter()
        act()
        best = min(best, time.perf_counter() - began)
    return best


def _for_any_rows(
    found: Understood, source: str, labels: int, say: Callable[[str], None]
) -> tuple[onnx.ModelProto, list[str]]:
    """The graph with a bundle's inputs, of any number of rows; and where it runs so many of them at a time, what that
    costs."""
    model, signature, batch = found.model, found.signature, found.batch
    if batch is None:
        adapt_inputs(model, signature)
        return model, []
    free = set_free(model, batch)
    if (off := _differs(found.original, free, source, labels)) is not None:
        say(f"batch: {batch} in the file; set free, it gives the same rows (off by {off:.2g} of their span)")
        adapt_inputs(free, signature)
        return free, []
    adapt_inputs(model, signature, batch)
    cost = (
        "one by one, and a large batch is no cheaper a row"
        if batch == 1
        else (f"in blocks of {batch}, and a single row costs as much as {batch}")
    )
    return in_blocks(model, batch), [
        f"the graph takes {batch} row{'s' * (batch > 1)} at a time, and fails or gives others for any other number: "
        f"rows run {cost}; export it with a dynamic batch if that is too slow"
    ]


def _differs(original: Original, free: onnx.ModelProto, source: str, labels: int) -> float | None:
    """How far rows of a graph that was set free are from the original's, root mean square, as a share of their span;
    None: too far, or it does not run."""
    batch = original.batch or 1
    inputs = draw_rows(original.signature, batch + 2, labels)
    wanted = original.run(inputs).astype(np.float64)
    span = float(np.ptp(wanted)) or 1.0
    try:
        freed = Original(free, source, original.signature, None)
        made = [freed.run(inputs.take(slice(0, size))) for size in (1, batch + 2)]
    except BundleError:
        return None
    worst = max(_off(rows, wanted[: len(rows)]) for rows in made) / span
    return worst if worst <= _SAME else None


def _off(rows: NDArray[np.generic], wanted: NDArray[np.float64]) -> float:
    if rows.shape != wanted.shape:
        return np.inf
    return float(np.sqrt(((rows.astype(np.float64) - wanted) ** 2).reshape(len(rows), -1).mean(axis=1)).max())
