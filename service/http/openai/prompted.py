"""What the documents of OpenAI's that ask for samples have in common: a prompt -> rows of a model."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, ClassVar, TypeVar

from pydantic import Field

from latentserve.service.errors import InvalidError
from latentserve.service.http.body import parse_in_turns, read_json
from latentserve.service.http.call import Call
from latentserve.service.http.turns import Turns
from latentserve.service.models import Model
from latentserve.service.sampling.fields import (
    NameField,
    SampleFields,
    SeedField,
    StrictFields,
    TruncationField,
    rows_request,
)
from latentserve.service.sampling.prompt import Vocabulary
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.served_graph import Output
from latentserve.service.sampling.unsent import Share
from latentserve.service.settings import Settings

_BODY_BYTES = 1 << 18  # the longest prompt takes less, however it is escaped

Hint = Annotated[str, Field(max_length=32_000)] | None  # what a generator may pass over
Kind = TypeVar("Kind", bound="PromptedBody")


class PromptedBody(StrictFields):
    """A body with a prompt. Beside OpenAI's fields there are some of `POST /v1/samples`, which address rows."""

    prompt_field: ClassVar[str]  # what its prompt is called

    model: NameField | None = None
    version: NameField | None = None
    seed: SeedField | None = None
    offset: SeedField | None = None
    truncation: TruncationField | None = None
    deterministic: bool = False

    @property
    def long(self) -> bool:
        """It is not."""
        return False

    def rows(self, model: Model, n: int, settings: Settings, output: Output = "sample") -> RowsRequest:
        """The rows that it asks for. Raises InvalidError, TooLargeError."""
        field = self.prompt_field
        said = vocabulary(model).read(getattr(self, field), field)
        fields = SampleFields(
            n=n,
            seed=self.seed,
            offset=self.offset,
            truncation=self.truncation,
            label=said.label,
            condition=said.condition,
        )
        try:
            return rows_request(
                fields, model.bundle.manifest, settings.max_n, deterministic=self.deterministic, output=output
            )
        except InvalidError as error:
            part, _, name = error.field.partition(".")
            if part == "condition":
                raise InvalidError(field, f"{name} {error.reason}") from None
            raise


async def read_prompted(call: Call, kind: type[Kind], settings: Settings, share: Share, readers: Turns) -> Kind:
    """The body of a call. Raises what `read_json` does, MalformedError, InvalidError."""
    content = await read_json(call, min(_BODY_BYTES, settings.max_body_bytes), share)
    return await parse_in_turns(content, kind, readers)


@lru_cache(maxsize=16)
def vocabulary(model: Model) -> Vocabulary:
    """What is understood of a model's prompts."""
    return Vocabulary(model.bundle.manifest)
