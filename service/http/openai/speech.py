"""`POST /v1/audio/speech`: a sound of a prompt."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from typing import Annotated, Any, ClassVar, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from starlette.responses import Response

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding import audio
from latentserve.service.encoding.codecs import AUDIO_IS_THERE, EXTRA, LEAST_RATE, codecs_of
from latentserve.service.encoding.document import FLAC, JSON, MP3, OGG, WAV, Document, Piece
from latentserve.service.encoding.documents import make_document
from latentserve.service.encoding.frames import Frames, Resampler, frames
from latentserve.service.encoding.rows import Rows
from latentserve.service.errors import InvalidError
from latentserve.service.http.call import Call
from latentserve.service.http.handler import Asked, SamplesHandler
from latentserve.service.http.openai.errors import openai_error
from latentserve.service.http.openai.prompted import Hint, PromptedBody, read_prompted
from latentserve.service.http.openapi.operation import SAMPLING_ERRORS, Operation
from latentserve.service.http.route import Route
from latentserve.service.http.samples import provenance_of, signer_of
from latentserve.service.models import Model
from latentserve.service.sampling.pieces import Steps
from latentserve.service.sampling.unsent import Share
from latentserve.service.settings import Settings

SPEECH = "/v1/audio/speech"

Form = Literal["mp3", "opus", "flac", "wav", "pcm"]

_PROMPT_CHARACTERS = 4096
_PCM = "audio/pcm"
_PCM_RATE = 24_000  # Hz, that OpenAI's clients play it at: nothing in it says so
_MEDIA: dict[Form, str] = {"mp3": MP3, "opus": OGG, "flac": FLAC, "wav": WAV}


class SpeechBody(PromptedBody):
    """What OpenAI's clients may ask for. A sound is not streamed as events, and no voice says it."""

    prompt_field: ClassVar = "input"

    input: Annotated[str, Field(max_length=_PROMPT_CHARACTERS)]
    response_format: Form | None = None
    speed: float | None = None
    stream_format: Literal["audio"] | None = None
    voice: Hint | dict[str, Any] = None
    instructions: Hint = None


_OPERATION = Operation(
    "A sound of a prompt, as OpenAI's clients ask for it.",
    "`input` is a label's name, conditions in words, or both; of a model without either it is empty, or its own name. "
    "All but WAV need the server's extra `audio`.",
    body={JSON: SpeechBody},
    answers=dict.fromkeys((*_MEDIA.values(), _PCM)),
    errors=SAMPLING_ERRORS,
)


def speech_route(handler: SamplesHandler, settings: Settings) -> Route:
    """The route."""

    def understand(model: Model, body: SpeechBody) -> Steps[Asked]:
        yield from ()
        spec = model.bundle.manifest.sample
        form = form_of(body, spec, model.name)
        request = body.rows(model, 1, settings)
        if form == "pcm":
            return Asked(request, Pcm(spec))
        media = _MEDIA[form]
        signer = signer_of(media, model, asked=None)
        return Asked(request, make_document(media, 1, spec, provenance_of(model, request), signer=signer))

    async def post(call: Call) -> Response:
        def read(share: Share) -> Awaitable[SpeechBody]:
            return read_prompted(call, SpeechBody, settings, share, handler.readers)

        return await handler.respond(call, read, understand)

    return Route(SPEECH, {"POST": post}, samples=True, members=openai_error, operations={"POST": _OPERATION})


def form_of(body: SpeechBody, spec: SampleSpec, name: str) -> Form:
    """How the sound is written. Raises InvalidError."""
    if not audio.is_wav(spec):
        raise InvalidError("model", f"{name} makes no sounds: its samples are of kind {spec.kind}, shape {spec.shape}")
    if body.speed not in (None, 1):
        raise InvalidError("speed", f"{name} makes sounds of one speed: 1 is taken")
    form = body.response_format or "mp3"
    taken = [one for one in get_args(Form) if _holds(one, spec)]
    if form in taken:
        return form
    if AUDIO_IS_THERE:
        held = f"{audio.channels_of(spec)} channels at {spec.sample_rate} Hz"
        raise InvalidError("response_format", f"{form} does not hold {held}; {', '.join(taken)} can be asked for")
    said = form if body.response_format else f"{form}, which is meant where nothing is said,"
    raise InvalidError("response_format", f"{said} needs {EXTRA}; {', '.join(taken)} can be asked for without it")


def _holds(form: Form, spec: SampleSpec) -> bool:
    if form == "pcm":
        rate = spec.sample_rate or 0
        return rate == _PCM_RATE or (AUDIO_IS_THERE and rate >= LEAST_RATE)
    return form == "wav" or _MEDIA[form] in codecs_of(spec)


class Pcm(Document):
    """Nothing but 16-bit values, little-endian: one channel, the mean of the sample's, at 24 kHz."""

    headers = ((b"content-type", f"{_PCM};rate={_PCM_RATE};channels=1".encode()),)

    def __init__(self, spec: SampleSpec) -> None:
        rate = spec.sample_rate or 0
        self._spec = spec
        self._resampler = Resampler(rate, _PCM_RATE, 1)
        self.size = 2 * (spec.shape[-1] * _PCM_RATE // rate + 1)

    def rows(self, part: Rows) -> Iterator[Piece]:
        """The values."""
        for some in frames(cast("NDArray[np.float32]", part.samples), self._spec):
            mean = some.mean(axis=1, keepdims=True, dtype=np.float32).round().astype(np.int16)
            yield _written(self._resampler.take(mean))

    def closing(self) -> Iterator[Piece]:
        """The rest of them."""
        yield _written(self._resampler.end())


def _written(values: Frames) -> bytes:
    return values.astype("<i2", copy=False).tobytes()
