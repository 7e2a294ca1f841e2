"""What a client says and what it makes of the answers, whoever sends and waits: generators that yield what is to be
done and are sent what came of it."""

from __future__ import annotations

import io
import math
import random
import secrets
from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray

from latentserve.service.bundle import Manifest
from latentserve.service.client.rows import Samples, read_samples
from latentserve.service.client.scored import scored_parts, with_what_is_known
from latentserve.service.client.server import Server, ServerError
from latentserve.service.errors import one_line
from latentserve.service.sampling.latents import SEED_LIMIT

if TYPE_CHECKING:
    from latentserve.service.client.scored import Scored

SAMPLES, INTERPOLATIONS, VARIATIONS = "/v1/samples", "/v1/interpolations", "/v1/variations"

_SCORES = "/v1/scores"
_JSON, _NPZ, _NPY = "application/json", "application/x-npz", "application/x-npy"
_ARRAYS = ("samples", "latents", "labels", "conditions")
_PART_BYTES = 8 << 20  # of rows that are asked for at a time
_PART_ROWS = 1 << 16
_SEARCHED_ROWS = 1_000  # likewise, of those that are looked for
_LATER = (429, 502, 503, 504)  # that may be otherwise after a while
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0
_JUDGED = ("model", "version", "cause", "sentence", "evidence")

Made = TypeVar("Made")


@dataclass(frozen=True)
class Ask:
    """A request to send; what is sent back is its answer, read, or why there is none."""

    path: str
    method: str = "GET"
    params: Mapping[str, Any] = field(default_factory=dict)
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pause:
    """So many seconds to wait; nothing is sent back."""

    seconds: float


Answer = httpx.Response | httpx.HTTPError | None
Talk = Generator[Ask | Pause, Answer, Made]


class Course:
    """Rows that are asked for a part at a time."""

    def __init__(self, fields: dict[str, Any], part: int, left: int | None) -> None:
        """`left` rows, None: without an end; up to `part` at a time."""
        self._fields, self._part, self._left = fields, part, left

    def next(self) -> dict[str, Any] | None:
        """The fields of the next part; None: there is none."""
        if self._left == 0:
            return None
        return {**self._fields, "n": self._part if self._left is None else min(self._part, self._left)}

    def took(self, some: Samples) -> None:
        """Go on behind them: where a search says, else with the row that follows."""
        if self._left is not None:
            self._left -= len(some)
        onward = some.next_offset
        self._fields["offset"] = self._fields["offset"] + len(some) if onward is None else onward


class Conversation:
    """With one server, about one model, or the only one. What fails and may go well later is asked again, up to
    `retries` times, after the time that the server says."""

    def __init__(self, server: Server, model: str | None, retries: int) -> None:
        self._server = server
        self._model = model
        self._retries = retries
        self._about: dict[tuple[str, str], dict[str, Any]] = {}

    def models(self) -> Talk[list[dict[str, Any]]]:
        """What `GET /v1/models` says of each model: its name, and more. Raises ServerError."""
        return self._list("/v1/models", ("name",))

    def drift(self) -> Talk[list[dict[str, Any]]]:
        """What `GET /v1/drift` says of each model: model, version, cause, sentence and evidence. Raises ServerError."""
        return self._list("/v1/drift", _JUDGED)

    def _list(self, path: str, needed: tuple[str, ...]) -> Talk[list[dict[str, Any]]]:
        """The models of a page, each with what is needed of it."""
        answer = yield from self._asked(Ask(path))
        with suppress(ValueError, KeyError, TypeError):
            if answer.status_code == httpx.codes.OK:
                return [{**{name: model[name] for name in needed}, **model} for model in answer.json()["models"]]
        refusal = self._server.refusal(answer)
        said = refusal.problem.get("detail") if answer.status_code != httpx.codes.NOT_FOUND else None
        message = f"{self._server.url}: {said or 'no latentserve server'} ({answer.status_code} to GET {path})"
        raise ServerError(message, answer.status_code, refusal.problem)

    def manifest(self) -> Talk[Manifest]:
        """The manifest of the model, as `GET /v1/models/{model}` has it. Raises ServerError."""
        name = (yield from self._model_asked(self._model))["name"]
        answer = yield from self._granted(Ask(f"/v1/models/{quote(name, safe='')}"))
        try:
            return Manifest.model_validate(answer.json()["manifest"])
        except (ValueError, KeyError, TypeError):
            raise ServerError(f"{self._server.url}: what it says of {name} is not read by this release") from None

    def rows(self, path: str, fields: Mapping[str, Any]) -> Talk[Samples]:
        """The rows of one request: of `SAMPLES`, `INTERPOLATIONS` or `VARIATIONS`. Raises ServerError."""
        answer = yield from self._granted(_request(path, self._named(fields), _NPZ))
        about = yield from self._of(answer.headers["latentserve-model"], answer.headers["latentserve-version"])
        return read_samples(answer.content, answer.headers, about)

    def score(self, samples: Scored, fields: Mapping[str, Any]) -> Talk[NDArray[np.float32]]:
        """The critic's scores of samples, of one request or several. Raises ServerError."""
        known = self._named(with_what_is_known(samples, fields))
        names: list[str] = []
        if known.get("conditions") is not None:
            model = yield from self._model_asked(known.get("model"))
            names = [one["name"] for one in model["conditions"] or ()]
        parts: list[NDArray[np.float32]] = []
        for part in scored_parts(samples, known, names):
            answer = yield from self._granted(_request(_SCORES, part, _NPY))
            parts.append(np.load(io.BytesIO(answer.content), allow_pickle=False))
        return np.concatenate(parts)

    def course(self, n: int | None, fields: Mapping[str, Any]) -> Talk[Course]:
        """Of n rows, None: without an end; of a seed that is known from now on. Raises ServerError."""
        known = {"seed": secrets.randbelow(SEED_LIMIT), "offset": 0} | {
            name: value for name, value in fields.items() if value is not None
        }
        model = yield from self._model_asked(known.get("model", self._model))
        numbers = math.prod(model["sample"]["shape"])
        searched = any(known.get(name) is not None for name in ("where", "balance", "select"))
        part = _SEARCHED_ROWS if searched else max(1, min(_PART_ROWS, _PART_BYTES // (4 * numbers)))
        return Course(known, part, n)

    def _model_asked(self, name: str | None) -> Talk[dict[str, Any]]:
        models = yield from self.models()
        found = [one for one in models if name in (None, one["name"])]
        if len(found) != 1:
            served = ", ".join(one["name"] for one in models)
            raise ServerError(f"{self._server.url}: model: {'one of' if name is None else repr(name) + ' of'} {served}")
        return found[0]

    def _of(self, name: str, version: str) -> Talk[dict[str, Any]]:
        """What is said of a model, asked once."""
        if (name, version) not in self._about:
            for one in (yield from self.models()):
                self._about[one["name"], one["version"]] = one
        return self._about[name, version]

    def _named(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        named = {"model": self._model, **fields}
        return {name: value for name, value in named.items() if value is not None}

    def _granted(self, ask: Ask) -> Talk[httpx.Response]:
        """The answer, which is no refusal. Raises ServerError."""
        answer = yield from self._asked(ask)
        if answer.status_code != httpx.codes.OK:
            raise self._server.refusal(answer)
        return answer

    def _asked(self, ask: Ask) -> Talk[httpx.Response]:
        """The answer, whatever it is, once there is no use in asking again. Raises ServerError: there is none."""
        for attempt in range(self._retries + 1):
            answer = yield ask
            if isinstance(answer, httpx.Response) and answer.status_code not in _LATER:
                return answer
            if attempt < self._retries:
                yield Pause(_pause(answer, attempt))
        if isinstance(answer, httpx.Response):
            return answer
        raise ServerError(f"{self._server.url}: {'no answer' if answer is None else one_line(answer)}")


def _pause(answer: Answer, attempt: int) -> float:
    """As the server says; else twice as long each time, and not everybody's at once."""
    with suppress(KeyError, ValueError, AttributeError):
        return min(_LONGEST_PAUSE, max(0.0, float(answer.headers["retry-after"])))  # type: ignore[union-attr]
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt) * random.uniform(0.5, 1.0)  # noqa: S311


def _request(path: str, fields: dict[str, Any], accept: str) -> Ask:
    """A request in JSON, or what comes in arrays as an `.npz` body and the rest in the query."""
    headers = {"Accept": accept}
    arrays = {name: fields.pop(name) for name in _ARRAYS if isinstance(fields.get(name), np.ndarray)}
    if not arrays:
        return Ask(path, "POST", content=_json(fields), headers=headers | {"Content-Type": _JSON})
    body = io.BytesIO()
    np.savez(body, **arrays)
    condition = fields.pop("condition", {})
    params = {name: _in_query(value) for name, value in fields.items()}
    params |= {f"condition.{name}": _in_query(value) for name, value in condition.items()}
    return Ask(path, "POST", params, body.getvalue(), headers | {"Content-Type": _NPZ})


def _json(fields: Mapping[str, Any]) -> bytes:
    """Raises ServerError: a field holds what JSON has no form for."""
    try:
        return orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError as error:
        raise ServerError(f"a field cannot be sent: {one_line(error)}") from None


def _in_query(value: object) -> object:
    """As the query has it."""
    return str(value).lower() if isinstance(value, bool) else value
