"""`MODEL_CARD.md`: what a person should know of a bundle, from its manifest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from latentserve.service.bundle import Condition, Golden, Latent, LatentPart, Manifest
from latentserve.service.sampling.prompt import Vocabulary
from latentserve.service.watching.reference import Reference
from latentserve.service.watching.signals import MOST_COLUMNS

_MOST_LABELS = 1000  # that are listed


def model_card(
    manifest: Manifest,
    golden: Golden,
    reference: Reference,
    remarks: Sequence[str] = (),
    clipped: float | None = None,
) -> str:
    """Markdown. `remarks` are what was guessed of the generator; `clipped` is the share of values beyond the sample's
    value range."""
    lineage, sample = manifest.lineage, manifest.sample
    labels = "none (unconditional)" if manifest.labels is None else _listed(manifest.labels)
    rows = {
        "Kind of sample": f"{sample.kind}, shape {sample.shape}, values in {_range(sample.value_range)}",
        **({} if clipped is None else {"Values beyond that range, which are clipped": _share(clipped)}),
        **_latent(manifest.latent),
        "Labels": labels,
        **({} if manifest.conditions is None else {"Conditions": "; ".join(map(_condition, manifest.conditions))}),
        "Licence": manifest.license or "not stated",
        "Trained on": lineage.dataset or "not stated",
        "SHA-256 of the data": lineage.dataset_sha256 or "not stated",
        "Recipe": lineage.recipe or "not stated",
        "Seed": "not stated" if lineage.seed is None else str(lineage.seed),
        "Images seen": "not stated" if lineage.images_seen is None else f"{lineage.images_seen:,}",
        **({"SHA-256 of the weights it began from": _listed(began)} if (began := lineage.pretrained_sha256) else {}),
        "Code revision": lineage.code_revision or "not stated",
        "ONNX operator set": str(manifest.onnx.opset),
        **({} if (fixed := manifest.onnx.batch) is None else {"Rows that it takes at a time": _fixed(fixed)}),
        "Critic": "yes" if manifest.onnx.critic else "no",
        "Rows independent of their batch": "bit for bit (CPU)" if manifest.onnx.batch_invariant else "within tolerance",
        "Golden probes": _probes(manifest, golden),
        **_reference(manifest, reference),
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    evaluation = ""
    if figures := _but_privacy(lineage.evaluation or {}):
        lines = "\n".join(f"| {key} | {value} |" for key, value in figures.items())
        evaluation = f"\n## Evaluation\n\n| | |\n|---|---|\n{lines}\n"
    evaluation += _privacy(lineage.evaluation or {})
    guessed = "".join(f"- {remark}\n" for remark in remarks)
    guessed = f"\n## What was guessed\n\n{guessed}" if guessed else ""
    prompts = _prompts(manifest) if sample.kind in ("image", "audio") else ""
    preview = "\n![Samples](preview.png)\n" if sample.kind == "image" else ""
    return f"""# {manifest.name}

Version `{manifest.version}`. Every sample is synthetic: made by a trained generator, not recorded.
{preview}
| | |
|---|---|
{table}
{guessed}{evaluation}{prompts}
## Use

```
latentserve check .
latentserve serve .
```
"""


def _privacy(evaluation: dict[str, Any]) -> str:
    """What samples give away of the training data, as far as that was measured at export; of a variant its original."""
    found = evaluation.get("privacy") or (evaluation.get("evaluation_of_original") or {}).get("privacy")
    if not found:
        return ""
    if "unmeasured" in found:
        return f"\n## Privacy\n\nNot measured: {found['unmeasured']}.\n"
    dcr, membership = found["dcr"], found["membership"]
    rows = (
        ("Samples whose closest record was trained on, among as many held-out ones (DCR)", dcr),
        ("Pairs of a training record and another that a membership inference (DOMIAS) tells apart", membership),
        (
            "Training records that it recognises, mistaking 1 % of others",
            {"value": membership["recognised"], "interval": None, "floor": membership["recognised_floor"]},
        ),
    )
    lines = "\n".join(
        f"| {name} | {each['value']:.1%} | {_interval(each['interval'])} | {each['floor']:.1%} |" for name, each in rows
    )
    whose = "" if evaluation.get("privacy") else " of the original"
    return f"""
## Privacy

| | {dcr["n"]:,} samples{whose} | 95 % | held-out records in their place |
|---|---|---|---|
{lines}

By distances in the features `{dcr["space"]}`; 50 % where samples give nothing away, in the last line 1 %. These numbers
promise nothing: other attacks, or more samples, may tell more, and somebody who stands out may be recognised where the
average is not. The training was not differentially private.
"""


def _interval(ends: list[float] | None) -> str:
    return "" if ends is None else f"{ends[0]:.1%} to {ends[1]:.1%}"


def _but_privacy(evaluation: dict[str, Any]) -> dict[str, Any]:
    """What is listed as it is."""
    return {
        key: _but_privacy(value) if isinstance(value, dict) else value
        for key, value in evaluation.items()
        if key != "privacy"
    }


def _prompts(manifest: Manifest) -> str:
    """What may be said to OpenAI's routes."""
    words = Vocabulary(manifest)
    example = f"`{words.example}` is one; " if words.example else ""
    return f"\n## Prompts\n\n{example}{words.taken(_MOST_LABELS)}.\n"


def _latent(latent: Latent) -> dict[str, str]:
    """What `z` is drawn from, part by part where it has parts."""
    if latent.parts is None:
        return {"Latent": f"{latent.dim} coordinates, {latent.prior} prior"}
    parts = [part for part in latent.parts if not part.noise]
    noise = [part for part in latent.parts if part.noise]
    told = {"Latent": f"{latent.width:,} coordinates: {'; '.join(map(_part, parts))}"}
    if noise:
        count = latent.dim - latent.width
        told["Noise, drawn for each row beside it"] = f"{count:,} numbers: {'; '.join(map(_part, noise))}"
    return told


def _part(part: LatentPart) -> str:
    """In words: `style [512], normal, times 2, plus 0.5`."""
    words = [f"{part.name} {part.shape}"]
    if part.prior == "uniform":
        words.append(f"uniform on ({part.shift - part.scale:g}, {part.shift + part.scale:g})")
    else:
        words.append("normal")
        words += [f"of deviation {part.scale:g}"] * (part.scale != 1) + [f"around {part.shift:g}"] * (part.shift != 0)
    if part.truncation < 1 and not part.noise:
        words.append(f"its central {part.truncation:g} kept")
    return ", ".join(words)


def _condition(condition: Condition) -> str:
    low, high = condition.range
    unit = f" {condition.unit}" if condition.unit else ""
    prior = f"{len(condition.quantiles)} quantiles" if condition.quantiles else condition.prior
    return f"{condition.name}, {low:g} to {high:g}{unit}, drawn {prior} where it is not asked for"


def _fixed(batch: int) -> str:
    return (
        f"{batch}: fewer are filled up, so one row costs as much as {batch}" if batch > 1 else "1: rows run one by one"
    )


def _probes(manifest: Manifest, golden: Golden) -> str:
    without = max(0, len(manifest.labels or []) - len(golden.z))
    missing = f" ({without:,} labels have none)" if without else ""
    return f"{len(golden.z)}{missing}, off by {golden.measured:.3g} at export, tolerated up to {golden.tolerance:.3g}"


def _reference(manifest: Manifest, reference: Reference) -> dict[str, str]:
    """What drift is measured against."""
    plain = [cell.samples for cell in reference.cells if cell.truncation == 1]
    others = [f"{cell.truncation:g} ({cell.samples:,})" for cell in reference.cells if cell.truncation != 1]
    labels = ""
    if reference.pooled:
        labels = "; labels pooled, each has too few samples for a reference of its own: another mix shows as drift"
    elif len(plain) > 1:
        labels = f"; by label, {min(plain):,} each at least"
    listed = ", ".join(reference.signals)
    left_out = len(manifest.sample.columns or []) - MOST_COLUMNS
    if left_out > 0:
        listed += f"; the last {left_out} columns are left out"
    if manifest.conditions is not None:
        labels += "; conditions drawn from their priors: rows that are asked for with others are not compared with it"
    told = {
        "Reference": f"{reference.samples:,} samples{labels}",
        "Truncations with a reference": ", ".join(["1", *others]),
        "Signals": listed,
    }
    if (spots := reference.spots) is not None:
        told["Rows that are made again"] = f"{len(spots):,}, of each {len(spots.places)} values recorded"
    if reference.features is not None:
        head = reference.features
        whose = "the critic's" if head.space.source == "critic" else "random Fourier features of the sample"
        told["Features"] = f"{whose}, {len(head.center)}; {head.size} whitened components"
    if manifest.labels is not None and len(manifest.labels) > 1:
        told["Small classifier of labels"] = _classifier(reference)
    if reference.real is not None:
        value, low, high = reference.real.distance
        told["Kernel distance from real samples"] = (
            f"{value:.4g} (95 % from {low:.4g} to {high:.4g}), {len(reference.real.features):,} of "
            f"{reference.real.samples:,} real samples"
        )
    return told


def _classifier(reference: Reference) -> str:
    found = reference.classifier
    if found is None:
        return "none: too many labels, or too few samples of each"
    accuracy = f"right on {found.accuracy:.1%} of held-out samples, chance on {found.chance:.1%}"
    return accuracy if found.useful else f"{accuracy}: too poor, so label_margin is no signal"


def _share(clipped: float) -> str:
    return f"{clipped:.2%}" if clipped >= 1e-4 or not clipped else "less than 0.01%"


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:20])
    return shown if len(names) <= 20 else f"{shown}, ... ({len(names)} in all)"


def _range(value_range: tuple[float, float] | None) -> str:
    return "any range" if value_range is None else f"[{value_range[0]:g}, {value_range[1]:g}]"
