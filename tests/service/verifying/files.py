"""Files as they are served, and what is found of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from latentserve.service.bundle import Column, Latent, SampleSpec
from latentserve.service.encoding.animation import Animation
from latentserve.service.encoding.document import GIF, RAW, Document
from latentserve.service.encoding.documents import make_document, media_types
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.rows import Rows
from latentserve.service.opened import OpenedBundle, open_bundle
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.verifying.mark import Mark
from latentserve.service.verifying.reading import Limits, read_file
from latentserve.service.verifying.verdict import Verified, concluded, mark_of, unmarked, verification
from tests.conftest import make_bundle, make_shower
from tests.generators import dense_generator

LIMITS = Limits(1 << 26, 1 << 12)


def document_of(media: str, n: int, bundle: OpenedBundle, provenance: Provenance) -> Document:
    spec = bundle.manifest.sample
    if media == GIF:
        return Animation(GIF, n, spec, provenance, 10, 1e9)
    return make_document(media, n, spec, provenance)


def provenance_of(bundle: OpenedBundle, request: RowsRequest) -> Provenance:
    manifest = bundle.manifest
    return Provenance(
        manifest.name, manifest.version, request.seed, request.offset, request.truncation,
        labels=manifest.labels or (), conditions=manifest.condition_names, label_bytes=manifest.label_bytes,
        asked_labels=request.labels, asked_conditions=request.conditions,
    )  # fmt: skip


def written(
    bundle: OpenedBundle, media: str, request: RowsRequest, provenance: Provenance, rows: list[Rows]
) -> tuple[bytes, str | None]:
    """A file of these rows, and what its header tells of it."""
    document = document_of(media, request.n, bundle, provenance)
    pieces = [document.opening()]
    for part in rows:
        pieces += map(bytes, document.rows(part))
    header = dict(document.headers).get(b"latentserve-mark")
    content = b"".join([*pieces, *map(bytes, document.closing())])
    return content, None if header is None else header.decode()


def served(bundle: OpenedBundle, media: str, **asked: Any) -> tuple[bytes, str | None]:
    """A file of rows as a server answers it, and what its header told of it."""
    request = bundle.request(**asked)
    rows = [Rows(part.samples, part.labels, part.conditions) for part in bundle.parts(request)]
    return written(bundle, media, request, provenance_of(bundle, request), rows)


def asked(random: np.random.Generator, name: str) -> dict[str, Any]:
    """Rows of any seed, as somebody may ask for them of one of the bundles."""
    n = int(random.integers(1, 6))
    given: dict[str, Any] = {"n": n, "seed": int(random.integers(1 << 53)), "offset": int(random.integers(1 << 20))}
    if random.random() < 0.5:
        given["truncation"] = float(random.uniform(0.3, 1))
    if name in ("grey", "sound"):
        label = random.integers(3)
        if label == 0:
            given["label"] = "photon"
        elif label == 1:
            given["labels"] = random.integers(3, size=n).tolist()
        if random.random() < 0.5:
            given["condition"] = {"energy": float(random.uniform(1, 100))}
    return given


def header_of(header: str | None, given: dict[str, Any]) -> str | None:
    """With the lists that answers of few rows tell in headers of their own."""
    if header is None or "labels" not in given or given["n"] == 1:
        return header
    return json.dumps(json.loads(header) | {"labels": given["labels"]})


def found(content: bytes, bundle: OpenedBundle, header: str | None = None, limits: Limits = LIMITS) -> Verified:
    """As the command finds it."""
    brought = read_file(content, limits)
    told = mark_of(brought, None if header is None else Mark.read(header).model_dump(exclude_unset=True))
    if told is None:
        return unmarked()
    steps = verification(brought, told, bundle.manifest, limits, gives_uint8=bundle.gives("sample_uint8"))
    return concluded(steps, bundle.made)


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
KINDS = ("grey", "sound", "colour", "table", "array")


def open_bundles(folder: Path) -> dict[str, OpenedBundle]:
    """Grey and colour pictures, sounds, a table, arrays; with labels and conditions, with neither. Made here."""
    plain = {"labels": None, "critic": None, "latent": LATENT, "reference_samples": 64}

    def unconditional(name: str, spec: SampleSpec) -> Path:
        generator = dense_generator(dim=8, shape=tuple(spec.shape), labels=None).SerializeToString()
        return make_bundle(folder / name, name, generator=generator, sample=spec, **plain)

    made = {
        "grey": make_shower(folder / "grey", "grey"),
        "sound": make_shower(folder / "sound", "sound", sample=SOUND),
        "colour": unconditional("colour", COLOUR),
        "table": unconditional("table", TABLE),
        "array": unconditional("array", SampleSpec(kind="array", shape=[2, 3])),
    }
    return {name: open_bundle(path) for name, path in made.items()}
