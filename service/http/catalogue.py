"""What is served, and whether it changed: the pages of `/v1/models` and `/v1/drift`."""

from __future__ import annotations

from latentserve.service.models import Model, Models


def list_models(models: Models) -> dict[str, object]:
    """`GET /v1/models`."""
    return {"models": [_summary(model) for model in models]}


def describe_model(models: Models, name: str) -> dict[str, object]:
    """`GET /v1/models/{model}`. Raises NotFoundError."""
    model = models.find(name, None)
    return {**_summary(model), "manifest": model.bundle.manifest.model_dump(mode="json")}


def describe_drift(models: Models) -> dict[str, object]:
    """`GET /v1/drift`."""
    return {"models": [{"model": model.name, "version": model.version, **model.judge.verdict()} for model in models]}


def _summary(model: Model) -> dict[str, object]:
    manifest = model.bundle.manifest
    conditions = manifest.conditions
    return {
        "name": model.name,
        "version": model.version,
        "state": "ready" if model.fault is None else "not ready",
        "fault": model.fault,
        "license": manifest.license,
        "latent": manifest.latent.model_dump(exclude_none=True),
        "labels": manifest.labels,
        "conditions": None if conditions is None else [one.model_dump(exclude_none=True) for one in conditions],
        "sample": manifest.sample.model_dump(mode="json", exclude_none=True),
    }
