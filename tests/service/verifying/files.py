"""Files as they are served, and what is found of them."""

from __future__ import annotations

from typing import Any

from latentserve.service.bundle import Column, Latent, SampleSpec
from latentserve.service.encoding.animation import Animation
from latentserve.service.encoding.document import GIF, RAW, Document
from latentserve.service.encoding.documents import make_document, media_types
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Rows
from latentserve.service.opened import OpenedBundle
from latentserve.service.verifying.mark import Mark
from latentserve.service.verifying.reading import Limits, read_file
from latentserve.service.verifying.verdict import Verified, mark_of, unmarked, verification

LIMITS = Limits(1 << 26, 1 << 12)


def document_of(media: str, n: int, bundle: OpenedBundle, provenance: Provenance) -> Document:
    spec = bundle.manifest.sample
    if media == GIF:
        return Animation(GIF, n, spec, provenance, 10, 1e9)
    return make_document(media, n, spec, provenance)


def served(bundle: OpenedBundle, media: str, **asked: Any) -> tuple[bytes, str | None]:
    """A file of rows as a server answers it, and what its header told of it."""
    manifest = bundle.manifest
    request = bundle.request(**asked)
    provenance = Provenance(
        manifest.name, manifest.version, request.seed, request.offset, request.truncation,
        labels=manifest.labels or (), conditions=manifest.condition_names, label_bytes=manifest.label_bytes,
        asked_labels=request.labels, asked_conditions=request.conditions,
    )  # fmt: skip
    document = document_of(media, request.n, bundle, provenance)
    rows = [Rows(part.samples, part.labels, part.conditions) for part in bundle.parts(request)]
    pieces = [document.opening()]
    for part in rows:
        pieces += map(bytes, document.rows(part))
    header = dict(document.headers).get(b"latentserve-mark")
    content = b"".join([*pieces, *map(bytes, document.closing())])
    return content, None if header is None else header.decode()


def found(content: bytes, bundle: OpenedBundle, header: str | None = None, limits: Limits = LIMITS) -> Verified:
    """As the command finds it."""
    brought = read_file(content, limits)
    told = mark_of(brought, None if header is None else Mark.read(header).model_dump(exclude_unset=True))
    if told is None:
        return unmarked()
    steps = verification(brought, told, bundle.manifest, limits, gives_uint8=bundle.gives("sample_uint8"))
    try:
        request = next(steps)
        while True:
            request = steps.send(bundle.made(request))
    except StopIteration as end:
        verified: Verified = end.value
        return verified


def formats(spec: SampleSpec) -> list[str]:
    """All that can be read again: raw values do not say what they are."""
    return [media for media in (*media_types(spec), *([GIF] if spec.kind == "image" else [])) if media != RAW]


COLOUR = SampleSpec(kind="image", shape=[3, 16, 16], value_range=(-1, 1), channels="RGB")
SOUND = SampleSpec(kind="audio", shape=[2, 400], value_range=(-1, 1), sample_rate=8000)
TABLE = SampleSpec(
    kind="table",
    shape=[4],
    columns=[
        Column(name="age", type="int64", decimals=0),
        Column(name="pay"),
        Column(name="rate", type="float64", decimals=2),
        Column(name="job", type="string", categories=["nurse", "clerk", None]),
    ],
)
LATENT = Latent(dim=8)
