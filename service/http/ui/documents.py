"""What the page asks for beside `/v1`: what is served, in as few bytes as it takes to show it, and files of bundles."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson

from latentserve.service.bundle.files import CARD
from latentserve.service.encoding.documents import FORMATS, media_types
from latentserve.service.errors import BundleError, NotFoundError
from latentserve.service.models import Model, Models
from latentserve.service.settings import Settings

_PICTURES = {".png": "image/png", ".webp": "image/webp", ".jpg": "image/jpeg"}
_MOST_LABELS = 1_000  # that are told by name: of more, one is typed


def models_document(models: Models, settings: Settings) -> bytes:
    """What may be asked for of each model, and how it is answered."""
    return orjson.dumps(
        {"max_n": settings.max_n, "models": [{**_constant(model), "fault": model.fault} for model in models]}
    )


@lru_cache(maxsize=64)
def _constant(model: Model) -> dict[str, Any]:
    manifest = model.bundle.manifest
    offered = media_types(manifest.sample)
    labels = manifest.labels or []
    return {
        "name": model.name,
        "version": model.version,
        "sample": manifest.sample.model_dump(mode="json", exclude_none=True),
        "labels": labels[:_MOST_LABELS] if manifest.labels else None,
        "label_count": len(labels),
        "conditions": [one.model_dump(mode="json", exclude={"quantiles"}) for one in manifest.conditions or ()],
        "critic": manifest.onnx.critic is not None,
        "formats": [name for name, media in FORMATS.items() if media in offered],
        "pictures": [name for name in manifest.sha256 if _picture(name) is not None],
        "card": CARD in manifest.sha256,
    }


def picture_of(model: Model, name: str) -> tuple[bytes, str]:
    """A picture of a bundle and its media type. Raises NotFoundError."""
    media = _picture(name)
    if media is None:
        raise NotFoundError(f"{name[:100]!r} is no picture")
    return _file_of(model, name), media


def card_of(model: Model) -> str:
    """The model's card, Markdown. Raises NotFoundError."""
    return _file_of(model, CARD).decode("utf-8", "replace")


def _file_of(model: Model, name: str) -> bytes:
    """A file of the bundle, as the manifest has it. Raises NotFoundError: there is none, or another by now."""
    if (file := model.bundle.others.get(name)) is None:
        raise NotFoundError(f"the bundle of {model.name} has no {name}")
    try:
        return file.read()
    except BundleError as error:
        raise NotFoundError(str(error)) from None


def _picture(name: str) -> str | None:
    return next((media for suffix, media in _PICTURES.items() if name.endswith(suffix)), None)
