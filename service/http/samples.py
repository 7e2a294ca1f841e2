"""`POST /v1/samples`: what its fields and its `Accept` mean to a model."""

from __future__ import annotations

from collections.abc import Awaitable

from starlette.responses import Response

from latentserve.service.encoding.documents import dtype_of, make_document, media_types
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.errors import InvalidError
from latentserve.service.http.body import SamplesBody
from latentserve.service.http.call import Call
from latentserve.service.http.handler import Asked, SamplesHandler, Understand
from latentserve.service.http.negotiation import chosen
from latentserve.service.http.route import Route
from latentserve.service.models import Model
from latentserve.service.sampling.fields import rows_request_steps
from latentserve.service.sampling.pieces import Steps
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.settings import Settings

SAMPLES = "/v1/samples"


def samples_route(handler: SamplesHandler, settings: Settings) -> Route:
    """The route."""

    def post(call: Call) -> Awaitable[Response]:
        accept = call.headers.get(b"accept", b"").decode("latin-1")
        return handler.respond(call, lambda share: handler.read(call, share), negotiated(accept, settings))

    return Route(SAMPLES, {"POST": post}, samples=True)


def negotiated(accept: str | None, settings: Settings) -> Understand[SamplesBody]:
    """An answer in the format that is asked for, else in the media type that the client likes best."""

    def understand(model: Model, fields: SamplesBody) -> Steps[Asked]:
        manifest = model.bundle.manifest
        spec = manifest.sample
        media = chosen(fields.format, accept, media_types(spec))
        dtype = dtype_of(media, spec, fields.dtype)
        request = yield from rows_request_steps(
            fields,
            manifest,
            settings.max_n,
            deterministic=fields.deterministic,
            output="sample_uint8" if dtype == "uint8" and "sample_uint8" in model.engine.outputs else "sample",
        )
        if fields.dtype == "uint8" and spec.value_range is None:
            raise InvalidError("dtype", "uint8 needs a value_range, which this model's samples do not have")
        document = make_document(
            media,
            request.n,
            spec,
            provenance_of(model, request),
            dtype,
            address=fields.address,
            max_pixels=settings.max_pixels,
        )
        return Asked(request, document)

    return understand


def provenance_of(model: Model, request: RowsRequest) -> Provenance:
    """What makes the rows of a request."""
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
    )
