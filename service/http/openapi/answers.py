"""What JSON answers hold."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from latentserve.service.bundle import Condition, Latent, SampleSpec
from latentserve.service.watching.verdict import Cause


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow")  # a client that is older than its server passes over what is new


class ProblemAnswer(_Answer):
    """A refusal or a failure (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    retry_after: int | None = None
    looked_at: int | None = None
    passed: int | None = None


class SamplesAnswer(_Answer):
    """Samples: pictures as base64 of PNG files, rows of a table as lists, other arrays as nested numbers."""

    model: str
    version: str
    n: int
    seed: int | None = None
    offset: int | None = None
    truncation: float | None = None
    synthetic: Literal[True]
    media_type: str | None = None
    columns: list[str] | None = None
    samples: list[Any]
    labels: list[str] | None = None
    conditions: list[dict[str, float]] | None = None
    rows: list[int] | None = None
    scores: list[float | None] | None = None
    looked_at: int | None = None
    next_offset: int | None = None


class ScoresAnswer(_Answer):
    """What the critic gives each sample; null: no number."""

    model: str
    version: str
    scores: list[float | None]


class IndexedAnswers(_Answer):
    """Of the answers in the account, `of`, so many are in its index."""

    answers: int
    of: int


class VerifyAnswer(_Answer):
    """Whether a file was made here, on what that rests, which rows its mark names or it was found to be, how far it is
    from them, and why; `log`: how much of the account was looked at, null: nothing."""

    verdict: Literal["exact", "alike", "no"]
    rests_on: list[Literal["mark", "signature", "audit"]]
    model: str | None
    version: str | None
    seed: int | None
    row: int | None
    n: int | None
    distance: float | None
    why: str
    log: IndexedAnswers | None = None


class Picture(_Answer):
    """A file, as base64; what it was made for, and the prompt that asks for that again."""

    b64_json: str
    seed: int
    row: int
    label: str | None = None
    condition: dict[str, float] | None = None
    revised_prompt: str | None = None


class ImagesAnswer(_Answer):
    """Pictures, as OpenAI's clients read them; `created` is the model's."""

    created: int
    data: list[Picture]


class SignatureAnswer(_Answer):
    """Who has signed the bundle that a model is of: SHA-256 of a public key (PEM) or of a certificate (DER), whose
    subject is told once it is verified; `fault`: why it is not believed."""

    by: Literal["key", "certificate"] | None
    fingerprint: str | None
    subject: str | None
    fault: str | None
    verified: bool


class ModelAnswer(_Answer):
    """A model that is served."""

    name: str
    version: str
    state: Literal["ready", "not ready"]
    fault: str | None
    license: str | None
    signature: SignatureAnswer | None
    latent: Latent
    labels: list[str] | None
    conditions: list[Condition] | None
    sample: SampleSpec
    prompt: str | None


class OpenAIModel(_Answer):
    """A model in short, as OpenAI's clients read it."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class OneModelAnswer(OpenAIModel, ModelAnswer):
    """The same, with its manifest."""

    manifest: dict[str, Any]


class ModelsAnswer(_Answer):
    """All models that are served."""

    models: list[ModelAnswer]
    object: Literal["list"]
    data: list[OpenAIModel]


class DriftOfModel(_Answer):
    """Whether what a model gives is what it gave when it was exported, and why not."""

    model: str
    version: str
    cause: Cause
    sentence: str
    evidence: dict[str, Any]


class DriftAnswer(_Answer):
    """The verdict on every model."""

    models: list[DriftOfModel]
