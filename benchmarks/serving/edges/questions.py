"""What the clients of a soak ask for, and how each answer is compared with the engine's rows."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from benchmarks.serving.edges.line import Answer
from latentserve.service.benching.requests import SAMPLES, post
from latentserve.service.bundle import Bundle, read_bundle
from latentserve.service.encoding.document import ARROW, CSV, JSON, NDJSON, NPY, PNG, RAW, WEBP
from latentserve.service.encoding.documents import media_types
from latentserve.service.encoding.images import contact_sheet, to_uint8
from latentserve.service.opened import open_bundle

_SEEDS = 24  # of each form: their rows are made beforehand
_STREAM_SEEDS = 2

Rows = NDArray[np.float32] | NDArray[np.uint8]


@dataclass(frozen=True)
class Form:
    """A kind of request, and how often it is asked beside the others."""

    model: str
    media: str
    rows: int
    share: int
    deterministic: bool = False
    dtype: str = "float32"
    labelled: bool = False

    @property
    def name(self) -> str:
        """As the tables have it."""
        exact = ", deterministic" if self.deterministic else ""
        return f"{self.model}, {self.media.split('/')[1]}, {self.rows} row(s), {self.dtype}{exact}"

    @property
    def streams(self) -> bool:
        """Whether the answer is a large one."""
        return self.rows > 256


FORMS = (
    Form("digits", RAW, 1, 30),
    Form("digits", RAW, 1, 6, deterministic=True),
    Form("digits", RAW, 16, 6, deterministic=True),
    Form("digits", RAW, 8, 4, dtype="uint8"),
    Form("digits", NPY, 4, 8),
    Form("digits", JSON, 1, 8),
    Form("digits", PNG, 1, 8),
    Form("digits", PNG, 9, 2, deterministic=True),
    Form("digits", WEBP, 1, 2),
    Form("digits", RAW, 700, 1),
    Form("showers", JSON, 10, 6, labelled=True),
    Form("showers", CSV, 20, 6),
    Form("showers", ARROW, 20, 6, deterministic=True),
    Form("showers", NDJSON, 20, 4),
    Form("showers", RAW, 1, 6, labelled=True),
    Form("showers", CSV, 3000, 1),
    Form("showers", JSON, 3000, 1),
)


@dataclass(frozen=True)
class Question:
    """A request as bytes, and `wrong(answer)`: what is not as it should be, None where all is."""

    form: Form
    request: bytes
    wrong: Callable[[Answer], str | None]


def questions(folder: Path, seed: int = 0) -> Iterator[Question]:
    """Of the bundles FOLDER/digits and FOLDER/showers, without an end; what the kind of sample is never answered as is
    left out."""
    asked = []
    for form in FORMS:
        bundle = read_bundle(folder / form.model)
        if form.media in media_types(bundle.manifest.sample):
            asked.append((form, [_question(bundle, folder / form.model, form, number) for number in _seeds(form)]))
    shares = np.array([form.share for form, _ in asked], float)
    rng = np.random.default_rng(seed)
    for _ in count():
        for place in rng.choice(len(asked), size=1000, p=shares / shares.sum()).tolist():
            ready = asked[place][1]
            yield ready[int(rng.integers(len(ready)))]


def _seeds(form: Form) -> list[int]:
    """No two forms have one in common: an answer to another one's request is a wrong one."""
    first = 1000 * (1 + FORMS.index(form))
    return list(range(first, first + (_STREAM_SEEDS if form.streams else _SEEDS)))


def _question(bundle: Bundle, path: Path, form: Form, seed: int) -> Question:
    fields: dict[str, object] = {"seed": seed}
    if form.labelled:
        fields["labels"] = [(seed + row) % 7 for row in range(form.rows)]
        fields["condition"] = {"energy": 10 + seed % 50}
    rows = _opened(path).sample(**(fields if form.labelled else fields | {"n": form.rows}))
    spec = bundle.manifest.sample
    if form.media in (PNG, WEBP) or form.dtype == "uint8" or (form.media, spec.kind) == (JSON, "image"):
        rows = to_uint8(rows, spec.value_range)
    if form.media in (PNG, WEBP):
        rows = contact_sheet(rows)
    allowed = 0.0 if form.deterministic else 1.0 if rows.dtype == np.uint8 else bundle.golden.tolerance
    if form.deterministic:
        fields["deterministic"] = True
    if form.dtype != "float32":
        fields["dtype"] = form.dtype
    body = {"model": form.model, "n": form.rows, **fields}

    def wrong(answer: Answer) -> str | None:
        if answer.headers.get("latentserve-seed") != str(seed):
            return f"seed {answer.headers.get('latentserve-seed')}, not {seed}"
        try:
            came = _READ[form.media](answer, spec.kind)
        except Exception as error:  # whatever a reader says of bytes that are not its own
            return f"not read: {type(error).__name__}: {str(error)[:100]}"
        if came.shape != rows.shape or came.dtype.kind not in "uif":
            return f"{came.dtype} {came.shape}, not {rows.shape}"
        # An endless number is no closer than any other.
        off = np.abs(came.astype(np.float64) - rows)
        return None if (off <= allowed).all() else f"off by {off.max():.3g}"

    return Question(form, post(SAMPLES, json.dumps(body).encode(), form.media), wrong)


_opened = cache(open_bundle)


def _raw(answer: Answer, _kind: str) -> Rows:
    shape = [int(size) for size in answer.headers["latentserve-shape"].split(",")]
    return np.frombuffer(answer.body, answer.headers["latentserve-dtype"]).reshape(shape)


def _npy(answer: Answer, _kind: str) -> Rows:
    return np.load(io.BytesIO(answer.body), allow_pickle=False)


def _json(answer: Answer, kind: str) -> Rows:
    samples = json.loads(answer.body)["samples"]
    if kind == "image":
        return np.stack([_pixels(base64.b64decode(one)) for one in samples])
    return np.array(samples, np.float32)


def _picture(answer: Answer, _kind: str) -> Rows:
    return _pixels(answer.body)


def _pixels(content: bytes) -> NDArray[np.uint8]:
    """uint8 [C, H, W]; lossless WebP has three equal channels of a grey picture."""
    with Image.open(io.BytesIO(content)) as picture:
        pixels = np.asarray(picture.convert("L"))
    return pixels[None]


def _csv(answer: Answer, _kind: str) -> Rows:
    text = answer.body.decode()
    return np.loadtxt(io.StringIO(text), np.float32, delimiter=",", skiprows=1, ndmin=2)


def _ndjson(answer: Answer, _kind: str) -> Rows:
    return np.array([list(json.loads(line)["sample"].values()) for line in answer.body.splitlines()], float)


def _arrow(answer: Answer, _kind: str) -> Rows:
    with pa.ipc.open_stream(answer.body) as stream:
        columns = stream.read_all()
    return np.stack([column.to_numpy() for column in columns.columns], axis=1)


_READ: dict[str, Callable[[Answer, str], Rows]] = {
    RAW: _raw, NPY: _npy, JSON: _json, PNG: _picture, WEBP: _picture, CSV: _csv, NDJSON: _ndjson, ARROW: _arrow,
}  # fmt: skip
