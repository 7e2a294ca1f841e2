"""`POST /v1/samples`: what its fields and its `Accept` mean to a model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from pydantic import BaseModel
from starlette.responses import Response

from latentserve.service.bundle import SampleSpec
from latentserve.service.credentials.package import C2PA_IS_THERE, EXTRA
from latentserve.service.encoding.arrays import Dtype
from latentserve.service.encoding.codecs import CODECS
from latentserve.service.encoding.compressed import CODINGS, Compressed
from latentserve.service.encoding.document import (
    CSV,
    JSON,
    NDJSON,
    NPY,
    PNG,
    WAV,
    WEBP,
    Document,
)  # fmt: skip
from latentserve.service.encoding.documents import FORMATS, dtype_of, make_document, media_types
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.encoding.signed import SIGNABLE, Signer
from latentserve.service.errors import InvalidError
from latentserve.service.http.body import NPZ, SamplesBody, accepted
from latentserve.service.http.call import Call
from latentserve.service.http.handler import Asked, SamplesHandler, Understand
from latentserve.service.http.negotiation import named_media, negotiate, taken_codings
from latentserve.service.http.openapi.answers import SamplesAnswer
from latentserve.service.http.openapi.operation import SAMPLING_ERRORS, Operation
from latentserve.service.http.route import Route
from latentserve.service.http.searching import FOUND_ROWS, is_long
from latentserve.service.models import Model
from latentserve.service.sampling.choosing.choice import search_request_steps
from latentserve.service.sampling.pieces import Steps
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.served_graph import Output
from latentserve.service.settings import Settings

SAMPLES = "/v1/samples"

_CHOSEN_BY = ("where", "balance", "select", "allow_fewer")
_OPEN_ENDED = (CSV, NDJSON)  # that do not say first how many rows they have
_COMPRESSED_BYTES = 1 << 15  # of an answer; fewer arrive sooner as they are
PROPERTIES = SamplesBody.model_json_schema()["properties"]
_IN_QUERY = (
    "model", "version", "n", "seed", "offset", "label", "truncation", "deterministic", "dtype", "format", "address",
    "signed",
)  # fmt: skip
ANSWERS: Mapping[str, type[BaseModel] | None] = {**dict.fromkeys(FORMATS.values()), JSON: SamplesAnswer}
_OPERATION = Operation(
    "Draw samples.",
    "A JSON body holds every field. A body of arrays (`.npy`: latents; `.npz`: latents, labels, conditions) holds what "
    "there is one of a row, and the query the others; `condition.NAME` is a number of `condition`.",
    query={name: PROPERTIES[name] for name in _IN_QUERY},
    body={JSON: SamplesBody, **dict.fromkeys((NPY, *NPZ))},
    examples={
        "one": {},
        "rows of a seed": {"n": 4, "seed": 7, "offset": 100},
        "close to the middle": {"n": 2, "seed": 7, "truncation": 0.7, "deterministic": True},
    },
    answers=ANSWERS,
    errors=SAMPLING_ERRORS,
)  # fmt: skip


def samples_route(handler: SamplesHandler, settings: Settings) -> Route:
    """The route."""

    def post(call: Call) -> Awaitable[Response]:
        understand = negotiated(accepted(call), settings, call.headers.get(b"accept-encoding"))
        return handler.respond(call, lambda share: handler.read(call, share), understand)

    return Route(SAMPLES, {"POST": post}, samples=True, operations={"POST": _OPERATION})


def negotiated(
    accept: str | None,
    settings: Settings,
    codings: bytes | None = None,
    offers: Callable[[SampleSpec], Sequence[str]] = media_types,
) -> Understand[SamplesBody]:
    """An answer in the format that is asked for, else in the media type that the client likes best; compressed where it
    takes that, and it helps. `offers` of a kind of sample stand in the server's own order."""

    def understand(model: Model, fields: SamplesBody) -> Steps[Asked]:
        manifest = model.bundle.manifest
        spec = manifest.sample
        named, offered = fields.format, offers(spec)
        media = negotiate(accept, offered) if named is None else named_media(named, offered)
        dtype, output = form_of(media, model, fields.dtype)
        signer = signer_of(media, model, asked=fields.signed)
        request, choice = yield from search_request_steps(
            fields,
            manifest,
            settings.max_n,
            settings.max_budget,
            deterministic=fields.deterministic,
            output=output,
        )
        provenance = provenance_of(model, request)
        if choice is not None:
            provenance = provenance._replace(chosen=True, scored=choice.scored)

        def document(n: int) -> Document:
            address = fields.address or choice is not None
            made = make_document(
                media, n, spec, provenance, dtype, address=address, max_pixels=settings.max_pixels, signer=signer
            )
            if codings is None or not made.text or made.size < _COMPRESSED_BYTES:
                return made
            return coded(made, codings.decode("latin-1"))

        if choice is None:
            return Asked(request, document(request.n))
        if choice.allow_fewer and is_long(choice.n, model) and media not in _OPEN_ENDED:
            others = " or ".join(_OPEN_ENDED)
            said = f"{media} says first how many rows there are: ask for up to {FOUND_ROWS}, or for {others}"
            raise InvalidError("allow_fewer", said)

        def of_fewer(n: int) -> Document:
            if n == 0 and media in (PNG, WEBP, WAV, *CODECS):
                raise InvalidError("allow_fewer", f"no row was found, and {media} holds one at the least")
            return document(n)

        chosen = {name: getattr(fields, name) for name in _CHOSEN_BY if getattr(fields, name) is not None}
        return Asked(request, document(choice.n), choice, of_fewer, {**chosen, "budget": request.n})

    return understand


def coded(document: Document, codings: str) -> Document:
    """A document, compressed where a client takes one of its `codings`."""
    taken = taken_codings(codings, CODINGS)
    return Compressed(document, taken[0]) if taken else document


def form_of(media: str, model: Model, asked: Dtype) -> tuple[Dtype, Output]:
    """Of samples that are written as a media type: their dtype, where that of numbers is `asked` for, and the output
    of the engine that is taken for it. Raises InvalidError."""
    spec = model.bundle.manifest.sample
    if asked == "uint8" and spec.value_range is None:
        raise InvalidError("dtype", "uint8 needs a value_range, which this model's samples do not have")
    dtype = dtype_of(media, spec, asked)
    return dtype, "sample_uint8" if dtype == "uint8" and "sample_uint8" in model.engine.outputs else "sample"


def signer_of(media: str, model: Model, *, asked: bool | None) -> Signer | None:
    """What signs an answer of this type; None: nothing does. `asked`: whether it is to be signed, None: where all are.
    Raises InvalidError: it cannot be."""
    if asked is False or (asked is None and not model.signs_always):
        return None
    if media in SIGNABLE and model.signer is not None:
        return model.signer
    if asked is None:
        return None
    if model.signer is None:
        why = f"needs {EXTRA} on the server" if not C2PA_IS_THERE else "the server has no certificate to sign by"
        raise InvalidError("signed", why)
    raise InvalidError("signed", f"{media} holds no signature; {', '.join(SIGNABLE)} do")


def provenance_of(model: Model, request: RowsRequest, derived: Mapping[str, object] | None = None) -> Provenance:
    """What makes the rows of a request; of those whose latents were worked out here, how."""
    manifest = model.bundle.manifest
    seed, noise_seed, truncation = None, None, None
    if request.latents is None:
        seed, truncation = request.seed, request.truncation
    elif request.seeded(manifest.latent):
        noise_seed = request.seed
    return Provenance(
        model.name,
        model.version,
        seed,
        request.offset,
        truncation,
        noise_seed,
        manifest.labels or (),
        manifest.condition_names,
        manifest.label_bytes,
        producer=model.producer,
        asked_labels=request.labels,
        asked_conditions=request.conditions,
        derived=derived,
    )
