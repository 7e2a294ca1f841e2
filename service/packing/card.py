"""`MODEL_CARD.md`: what a person should know of a bundle, from its manifest."""

from __future__ import annotations

from service.bundle import Golden, Manifest


def model_card(manifest: Manifest, golden: Golden) -> str:
    """Markdown."""
    lineage, sample = manifest.lineage, manifest.sample
    labels = "none (unconditional)" if manifest.labels is None else _listed(manifest.labels)
    monitor = manifest.monitor
    rows = {
        "Kind of sample": f"{sample.kind}, shape {sample.shape}, values in {_range(sample.value_range)}",
        "Latent": f"{manifest.latent.dim} coordinates, {manifest.latent.prior} prior",
        "Labels": labels,
        "Licence": manifest.license or "not stated",
        "Trained on": lineage.dataset or "not stated",
        "SHA-256 of the data": lineage.dataset_sha256 or "not stated",
        "Recipe": lineage.recipe or "not stated",
        "Seed": "not stated" if lineage.seed is None else str(lineage.seed),
        "Images seen": "not stated" if lineage.images_seen is None else f"{lineage.images_seen:,}",
        "Code revision": lineage.code_revision or "not stated",
        "ONNX operator set": str(manifest.onnx.opset),
        "Critic": "yes" if manifest.onnx.critic else "no",
        "Rows independent of their batch": "bit for bit (CPU)" if manifest.onnx.batch_invariant else "within tolerance",
        "Golden probes": f"{len(golden.z)}, off by {golden.measured:.3g} at export, tolerated up to "
        f"{golden.tolerance:.3g}",
        "Reference": "none" if monitor is None else f"{monitor.reference_samples:,} samples",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    evaluation = ""
    if lineage.evaluation:
        lines = "\n".join(f"| {key} | {value} |" for key, value in lineage.evaluation.items())
        evaluation = f"\n## Evaluation\n\n| | |\n|---|---|\n{lines}\n"
    preview = "\n![Samples](preview.png)\n" if sample.kind == "image" else ""
    return f"""# {manifest.name}

Version `{manifest.version}`. Every sample is synthetic: made by a trained generator, not recorded.
{preview}
| | |
|---|---|
{table}
{evaluation}
## Use

```
latentserve check .
latentserve serve .
```
"""


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:20])
    return shown if len(names) <= 20 else f"{shown}, ... ({len(names)} in all)"


def _range(value_range: tuple[float, float] | None) -> str:
    return "any range" if value_range is None else f"[{value_range[0]:g}, {value_range[1]:g}]"
