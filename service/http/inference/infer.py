"""`POST /v2/models/{model}/infer`: rows for inputs, or for a seed in the parameters."""

from __future__ import annotations

from starlette.responses import Response

from latentserve.service.encoding.compressed import CODINGS, Coding, Compressed
from latentserve.service.encoding.document import Document
from latentserve.service.errors import InvalidError
from latentserve.service.http.body import read_body
from latentserve.service.http.call import Call
from latentserve.service.http.handler import Asked, SamplesHandler
from latentserve.service.http.inference.answer import Answer
from latentserve.service.http.inference.request import Inference, as_asked, header_length, parse_request
from latentserve.service.http.inference.tensors import HEADER_BYTES
from latentserve.service.http.negotiation import taken_codings
from latentserve.service.models import Model
from latentserve.service.sampling.fields import rows_request_steps
from latentserve.service.sampling.pieces import Steps, at_once
from latentserve.service.sampling.unsent import Share
from latentserve.service.settings import Settings

_COMPRESSED_BYTES = 1 << 10  # of an answer; fewer are not worth it
_DECODED: tuple[Coding, ...] = ("gzip", "deflate")  # by the protocol's clients, whatever more their library offers


class Infer:
    """Answers inference requests."""

    def __init__(self, handler: SamplesHandler, settings: Settings) -> None:
        self._handler = handler
        self._settings = settings

    async def __call__(self, call: Call) -> Response:
        """The answer to one."""
        accepted = call.headers.get(b"accept-encoding", b"").decode("latin-1")

        def understand(model: Model, asked: Inference) -> Steps[Asked]:
            return self._understand(model, asked, accepted)

        return await self._handler.respond(call, lambda share: self._read(call, share), understand)

    async def _read(self, call: Call, share: Share) -> Inference:
        """The fields of a call; long bodies are read in turns. Raises what `read_body` and `parse_request` do."""
        content = await read_body(call, self._settings.max_latents_bytes, share)
        length = header_length(call.headers.get(b"inference-header-content-length"), content)
        steps = parse_request(content, length, call.parameters["model"], call.parameters.get("version"))
        text = len(content) if length is None else length
        if text <= HEADER_BYTES:
            return at_once(steps)
        share.take(4 * text)  # a number of two characters takes four bytes, and as many when it is looked at
        return await self._handler.readers.result(steps)

    def _understand(self, model: Model, asked: Inference, accepted: str) -> Steps[Asked]:
        manifest = model.bundle.manifest
        try:
            request = yield from rows_request_steps(
                asked.fields, manifest, self._settings.max_n, deterministic=asked.deterministic
            )
        except InvalidError as error:
            raise as_asked(error) from None
        document: Document = Answer(request, manifest, asked.id, binary=asked.binary)
        coding = _coding(accepted, binary=asked.binary)
        if coding is not None and document.size >= _COMPRESSED_BYTES:
            document = Compressed(document, coding)
        return Asked(request, document)


def _coding(accepted: str, *, binary: bool) -> Coding | None:
    """What an answer is compressed by. Numbers of a generator as bytes hardly become smaller: they are compressed for
    clients that name one coding, as somebody does who wants it, and not for all those whose library names what it
    knows."""
    if not accepted or (binary and accepted.strip() not in CODINGS):
        return None
    taken = taken_codings(accepted, CODINGS if accepted.strip() in CODINGS else _DECODED)
    return taken[0] if taken else None
