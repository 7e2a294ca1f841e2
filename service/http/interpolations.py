"""`POST /v1/interpolations` and `POST /v1/variations`: rows made from other rows' latents, in every format."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field
from starlette.responses import Response

from latentserve.service.encoding.animation import ANIMATIONS, Animation
from latentserve.service.encoding.arrays import Dtype
from latentserve.service.encoding.document import GIF, JSON, Document
from latentserve.service.encoding.documents import FORMATS, Format, make_document, media_types
from latentserve.service.encoding.signed import Signed
from latentserve.service.errors import InvalidError
from latentserve.service.http.body import AnswerFields, accepted, read_answered
from latentserve.service.http.call import Call
from latentserve.service.http.handler import Asked, SamplesHandler, Understand
from latentserve.service.http.negotiation import named_media, negotiate
from latentserve.service.http.openapi.operation import SAMPLING_ERRORS, Operation
from latentserve.service.http.route import Route
from latentserve.service.http.samples import ANSWERS, form_of, provenance_of, signer_of
from latentserve.service.models import Model
from latentserve.service.sampling.arithmetic.interpolation import InterpolationFields, interpolation_request_steps
from latentserve.service.sampling.arithmetic.variations import VariationFields, variation_request_steps
from latentserve.service.sampling.pieces import Steps
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.unsent import Share
from latentserve.service.settings import Settings

INTERPOLATIONS, VARIATIONS = "/v1/interpolations", "/v1/variations"

_BODY_BYTES = 1 << 18  # of JSON: a thousand ends
_FPS = 10.0
_OF_ANSWERS = {*AnswerFields.model_fields, "fps"}
_TOLD_ENDS = 64  # that a mark holds
_MOST_FPS = 50  # that GIF can tell, in hundredths of a second

AnimatedFormat = Format | Literal["gif"]
_FORMATS: Mapping[str, str] = dict[str, str](FORMATS.items()) | {"gif": GIF}


class _Answered(AnswerFields):
    """What says nothing of the rows is the answer's."""

    @property
    def long(self) -> bool:
        """Latents may have any number of columns."""
        return True


class _Animated(_Answered):
    format: AnimatedFormat | None = Field(  # type: ignore[assignment]
        default=None, description="Of the answer, by name, instead of Accept; webp and gif are animations."
    )
    fps: Annotated[float, Field(ge=0.1, le=_MOST_FPS, allow_inf_nan=False)] | None = Field(
        default=None, description="Frames of an animation a second: 10 by default."
    )


class InterpolationBody(InterpolationFields, _Animated):
    """A path from row to row, and how its frames are to be answered."""


class VariationBody(VariationFields, _Answered):
    """Rows around one, and how they are to be answered."""


Body = TypeVar("Body", bound=_Answered)

_INTERPOLATE = Operation(
    "Rows on the way from row to row.",
    "Each end is a seed and a row, or a latent, and a frame of its own. As `image/webp` and `image/gif` the frames are "
    "an animation, as `image/png` a contact sheet.",
    body={JSON: InterpolationBody},
    examples={
        "from one seed to another": {"ends": [{"seed": 7}, {"seed": 8, "row": 3}], "frames": 5},
        "there and back": {"ends": [{"seed": 7}, {"seed": 8}], "frames": 8, "loop": True, "curve": "linear"},
    },
    answers={**ANSWERS, GIF: None},
    errors=SAMPLING_ERRORS,
)
_VARY = Operation(
    "Rows around a row.",
    "Each is a pure function of the row, `variation_seed`, its number and `strength`.",
    body={JSON: VariationBody},
    examples={"close to a row": {"seed": 7, "row": 2, "n": 4, "strength": 0.1}},
    answers=ANSWERS,
    errors=SAMPLING_ERRORS,
)


def interpolations_route(handler: SamplesHandler, settings: Settings) -> Route:
    """The route."""
    return _route(INTERPOLATIONS, handler, settings, InterpolationBody, _Animated, interpolated, _INTERPOLATE)


def variations_route(handler: SamplesHandler, settings: Settings) -> Route:
    """The route."""
    return _route(VARIATIONS, handler, settings, VariationBody, _Answered, varied, _VARY)


def interpolated(accept: str, settings: Settings) -> Understand[InterpolationBody]:
    """Frames in the format that is asked for, else in the media type that the client likes best."""

    def understand(model: Model, body: InterpolationBody) -> Steps[Asked]:
        manifest = model.bundle.manifest
        spec = manifest.sample
        offers = [*media_types(spec), *([GIF] if spec.kind == "image" else [])]
        media = _media(accept, body, offers)
        animated = media in ANIMATIONS
        if body.fps is not None and not animated:
            raise InvalidError("fps", "is of animations: the formats webp and gif")
        dtype, output = form_of(media, model, body.dtype)
        request = yield from interpolation_request_steps(
            body, manifest, settings.max_n, settings.max_latents_bytes,
            deterministic=body.deterministic, output=output,
        )  # fmt: skip
        if not animated:
            return _asked(model, "interpolation", body, request, media, dtype, settings)
        provenance = provenance_of(model, request, derived_by("interpolation", body))
        fps = body.fps or _FPS
        document: Document = Animation(media, request.n, spec, provenance, fps, settings.max_pixels)
        if (signer := signer_of(media, model, asked=body.signed)) is not None:
            document = Signed(document, media, request.n, provenance, signer)
        return Asked(request, document, more=_more(body))

    return understand


def varied(accept: str, settings: Settings) -> Understand[VariationBody]:
    """Variations, likewise."""

    def understand(model: Model, body: VariationBody) -> Steps[Asked]:
        manifest = model.bundle.manifest
        media = _media(accept, body, media_types(manifest.sample))
        dtype, output = form_of(media, model, body.dtype)
        request = yield from variation_request_steps(
            body, manifest, settings.max_n, settings.max_latents_bytes,
            deterministic=body.deterministic, output=output,
        )  # fmt: skip
        return _asked(model, "variation", body, request, media, dtype, settings)

    return understand


def _media(accept: str, body: _Answered, offers: Sequence[str]) -> str:
    """What is answered. Raises NotAcceptableError."""
    return negotiate(accept, offers) if body.format is None else named_media(body.format, offers, _FORMATS)


def derived_by(way: str, body: _Answered) -> dict[str, object] | None:
    """What a mark says of rows that were worked out from others: the fields that made them; None: they are many, or
    hold latents, which a client keeps.
    """
    fields = {name: value for name, value in body if name not in _OF_ANSWERS and value is not None}
    ends = fields.get("ends", [fields])
    if not isinstance(ends, list) or len(ends) > _TOLD_ENDS or any("latent" in end for end in ends):
        return None
    if not all(isinstance(end.get("condition", {}), dict) for end in (fields, *ends)):
        return None  # it is so long that it was read in turns
    return {way: fields}


def _asked(
    model: Model, way: str, body: _Answered, request: RowsRequest, media: str, dtype: Dtype, settings: Settings
) -> Asked:
    spec, provenance = model.bundle.manifest.sample, provenance_of(model, request, derived_by(way, body))
    document = make_document(
        media, request.n, spec, provenance, dtype, address=body.address, max_pixels=settings.max_pixels,
        signer=signer_of(media, model, asked=body.signed),
    )  # fmt: skip
    return Asked(request, document, more=_more(body))


def _more(body: _Answered) -> Mapping[str, Any]:
    """What says which rows they are."""
    kind, fields = "variation", VariationFields.model_fields
    if isinstance(body, InterpolationFields):
        kind, fields = "interpolation", InterpolationFields.model_fields
    return {kind: body.model_dump(include=set(fields), exclude_none=True)}


def _route(
    path: str,
    handler: SamplesHandler,
    settings: Settings,
    kind: type[Body],
    answered: type[_Answered],
    understood: Callable[[str, Settings], Understand[Body]],
    operation: Operation,
) -> Route:
    limit = min(_BODY_BYTES, settings.max_body_bytes)

    async def post(call: Call) -> Response:
        def read(share: Share) -> Awaitable[Body]:
            return read_answered(call, limit, share, kind, answered, handler.readers)

        return await handler.respond(call, read, understood(accepted(call), settings))

    return Route(path, {"POST": post}, samples=True, operations={"POST": operation})
