"""What is served, and whether it changed: the pages of `/v1/models` and `/v1/drift`.

A manifest may name tens of thousands of labels: what does not change of a page is serialised once, and the page while
its models are as they were; everybody who reads it reads the same bytes.
"""

from __future__ import annotations

from functools import lru_cache

import orjson

from latentserve.service.models import Model, Models
from latentserve.service.sampling.prompt import Vocabulary

_OWNER = "latentserve"  # a manifest names none
_PROMPTED = ("image", "audio")  # kinds of samples that are asked for by a prompt, too


def list_models(models: Models) -> bytes:
    """`GET /v1/models`."""
    return _page(tuple((model, model.fault) for model in models))


def describe_model(models: Models, name: str) -> bytes:
    """`GET /v1/models/{model}`. Raises NotFoundError."""
    model = models.find(name, None)
    return _description(model, model.fault)


def describe_drift(models: Models) -> bytes:
    """`GET /v1/drift`."""
    verdicts = [{"model": model.name, "version": model.version, **model.judge.verdict()} for model in models]
    return orjson.dumps({"models": verdicts})


@lru_cache(maxsize=4)
def _page(models: tuple[tuple[Model, str | None], ...]) -> bytes:
    """`models`; and, for OpenAI's clients, the same in short."""
    summaries = b",".join(b"{%b}" % _summary(model, fault) for model, fault in models)
    return b'{"models":[%b],"object":"list","data":%b}' % (summaries, orjson.dumps([_entry(one) for one, _ in models]))


@lru_cache(maxsize=16)
def _description(model: Model, fault: str | None) -> bytes:
    manifest = orjson.dumps(model.bundle.manifest.model_dump(mode="json"))
    return b'{%b,%b,"manifest":%b}' % (orjson.dumps(_entry(model))[1:-1], _summary(model, fault), manifest)


def _entry(model: Model) -> dict[str, object]:
    """What OpenAI's clients read of it."""
    created = int(model.bundle.manifest.created.timestamp())
    return {"id": model.name, "object": "model", "created": created, "owned_by": _OWNER}


def _summary(model: Model, fault: str | None) -> bytes:
    """The inside of an object."""
    state = {
        "name": model.name,
        "version": model.version,
        "state": "ready" if fault is None else "not ready",
        "fault": fault,
    }
    return b"%b,%b" % (orjson.dumps(state)[1:-1], _constant(model))


@lru_cache(maxsize=16)
def _constant(model: Model) -> bytes:
    """What does not change of it."""
    manifest, signature = model.bundle.manifest, model.bundle.signature
    conditions = manifest.conditions
    return orjson.dumps(
        {
            "license": manifest.license,
            "signature": None if signature is None else signature.told(),
            "latent": manifest.latent.model_dump(exclude_none=True),
            "labels": manifest.labels,
            "conditions": None if conditions is None else [one.model_dump(exclude_none=True) for one in conditions],
            "prompt": Vocabulary(manifest).example if manifest.sample.kind in _PROMPTED else None,
            "sample": manifest.sample.model_dump(mode="json", exclude_none=True),
        }
    )[1:-1]
