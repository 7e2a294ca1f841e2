"""The `openai` package, unmodified, as a client: pictures, sounds, models and errors as it reads them."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from numpy.typing import NDArray
from PIL import Image

from latentserve.service.bundle import read_bundle
from tests.server import Server


@pytest.fixture(scope="module")
def served(bundle: Path, shower_bundle: Path, plain_bundle: Path) -> Iterator[Server]:
    with Server(bundle, shower_bundle, plain_bundle) as running:
        yield running


@pytest.fixture(scope="module")
def client(served: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="sk-of-no-meaning", max_retries=0) as made:
        yield made


def pixels(picture: Any) -> NDArray[np.uint8]:
    """Of a picture of an answer."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.b64_json))))


def test_pictures_of_a_label(served: Server, client: openai.OpenAI, bundle: Path) -> None:
    answer = client.images.generate(model="toy", prompt="Digit 3", n=4, size="8x8", extra_body={"seed": 7})
    manifest = read_bundle(bundle).manifest
    assert answer.created == int(manifest.created.timestamp())
    assert (answer.size, answer.output_format) == ("8x8", "png")
    assert answer.data is not None
    told = [one.model_dump(exclude={"b64_json", "url"}) for one in answer.data]
    assert told == [{"seed": 7, "row": row, "label": "digit 3", "revised_prompt": "digit 3"} for row in range(4)]
    same = served.samples(model="toy", n=4, seed=7, label="digit 3").json()
    assert [one.b64_json for one in answer.data] == same["samples"]
    (again,) = client.images.generate(model="toy", prompt="digit 3", extra_body={"seed": 7, "offset": 2}).data or ()
    assert again.b64_json == answer.data[2].b64_json
    assert Image.open(io.BytesIO(base64.b64decode(again.b64_json or ""))).text["Row"] == "2"


def test_pictures_of_conditions_and_the_prompt_that_asks_for_them_again(client: openai.OpenAI) -> None:
    made = (
        client.images.generate(model="shower", prompt="Photon, Energy 50 GeV", n=3, extra_body={"seed": 7}).data or []
    )
    angles = [one.model_dump()["condition"]["angle"] for one in made]
    assert len(set(angles)) == 3  # drawn, as nobody asked for one
    assert [one.model_dump()["condition"]["energy"] for one in made] == [50.0] * 3
    for row, one in enumerate(made):
        assert one.revised_prompt == f"photon, energy 50 GeV, angle {angles[row]}"
        (again,) = (
            client.images.generate(
                model="shower", prompt=one.revised_prompt, extra_body={"seed": 7, "offset": row}
            ).data
            or ()
        )
        assert again == one
    anything = client.images.generate(model="shower", prompt="", n=10, extra_body={"seed": 7}).data or []
    assert len({one.model_dump()["label"] for one in anything}) > 1
    assert client.images.generate(model="shower", prompt="Shower", n=10, extra_body={"seed": 7}).data == anything


@pytest.mark.parametrize(("form", "seen"), [("png", "PNG"), ("webp", "WEBP"), ("jpeg", "JPEG")])
def test_forms_of_pictures(client: openai.OpenAI, form: Any, seen: str) -> None:
    def of(**fields: Any) -> Image.Image:
        (one,) = client.images.generate(model="toy", prompt="digit 1", extra_body={"seed": 1}, **fields).data or ()
        return Image.open(io.BytesIO(base64.b64decode(one.b64_json or "")))

    picture = of(output_format=form)
    assert picture.format == seen
    assert b"trainedAlgorithmicMedia" in bytes(str(picture.info.get("xmp") or picture.info), "utf-8")
    away = np.abs(np.asarray(picture.convert("L"), int) - np.asarray(of(), int)).max()
    assert away <= (16 if form == "jpeg" else 0)
    if form != "png":
        assert (
            np.abs(
                np.asarray(of(output_format=form, output_compression=1).convert("L"), int) - np.asarray(of(), int)
            ).max()
            > away
        )


def test_hints_are_passed_over(client: openai.OpenAI) -> None:
    answer = client.images.generate(
        prompt="digit 0", model="toy", quality="high", style="vivid", user="u", background="auto", moderation="low",
        response_format="b64_json", size="auto", partial_images=0, output_compression=100, stream=False,
        extra_body={"truncation": 0.5, "deterministic": True},
    )  # fmt: skip
    assert len(answer.data or ()) == 1
    assert client.images.generate(prompt="digit 0", model="toy", n=None, size=None, output_format=None).data


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"prompt": "a cat"}, "prompt", "labels are digit 0, digit 1"),
        ({"prompt": "x" * 100_000}, "prompt", "at most 32000 characters"),
        ({"prompt": "x" * 30_000}, "prompt", "nothing here is called"),
        ({"prompt": None}, "prompt", "string"),
        ({"n": 11}, "n", "less than or equal to 10"),
        ({"n": 0}, "n", "greater than or equal to 1"),
        ({"size": "1024x1024"}, "size", "8x8"),
        ({"response_format": "url"}, "response_format", "b64_json"),
        ({"stream": True}, "stream", "False"),
        ({"output_format": "gif"}, "output_format", "'png', 'webp' or 'jpeg'"),
        ({"background": "transparent"}, "background", "L"),
        ({"extra_body": {"colour": "red"}}, "colour", "unknown field"),
        ({"extra_body": {"seed": -1}}, "seed", "greater than or equal to 0"),
        ({"extra_query": {"n": 2}}, "n", "is in the query"),
        ({"model": "shower", "prompt": "energy 500 GeV"}, "prompt", "energy is 500.0; the model's range is 0.1 to 100"),
        ({"model": "shower", "prompt": "energy 5 TeV"}, "prompt", "conditions are energy 0.1 to 100 GeV, angle"),
        ({"model": "plain", "prompt": ""}, "model", "makes no images"),
        ({"model": None}, "model", "is needed, one of toy, shower, plain"),
    ],
)
def test_what_cannot_be_done_is_said(client: openai.OpenAI, fields: dict[str, Any], param: str, says: str) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.images.generate(**{"model": "toy", "prompt": "digit 1", **fields})
    error = refused.value
    assert (error.param, error.type, error.code) == (param, "invalid_request_error", "invalid_field")
    assert says in error.body["message"]
    assert len(error.body["message"]) < 5000
    problem = error.response.json()
    assert error.response.headers["Content-Type"] == "application/problem+json"
    assert (problem["field"], problem["status"], problem["detail"]) == (param, 422, error.body["message"])
    assert error.request_id == error.response.headers["X-Request-ID"]


def test_errors_are_its_own_classes(served: Server, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("nobody")
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError, match="toy, shower, plain"):
        client.images.generate(model="gpt-image-1.5", prompt="digit 1")
    with pytest.raises(openai.NotFoundError, match="no such route"):
        client.chat.completions.create(model="toy", messages=[{"role": "user", "content": "hello"}])
    for body, sent, status, code in [
        (b"{", "application/json", 400, "malformed_json"),
        (b"prompt=digit+1", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b" " * (1 << 18) + b"{}", "application/json", 413, "too_large"),
    ]:
        answer = served.http.post("/v1/images/generations", content=body, headers={"Content-Type": sent})
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    answer = served.http.get("/v1/images/generations")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST, OPTIONS")
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_models_as_it_lists_them(served: Server, client: openai.OpenAI, bundle: Path) -> None:
    page = client.models.list()
    assert page.object == "list"
    assert [(one.id, one.object, one.owned_by) for one in page] == [
        (name, "model", "latentserve") for name in ("toy", "shower", "plain")
    ]
    toy = client.models.retrieve("toy")
    assert (toy.id, toy.object, toy.created) == ("toy", "model", int(read_bundle(bundle).manifest.created.timestamp()))
    shower = client.models.retrieve("shower").model_dump()
    assert shower["labels"] == ["electron", "photon", "pion"]
    assert {one["name"]: one["range"] for one in shower["conditions"]} == {"energy": [0.1, 100], "angle": [-0.7, 0.7]}
    (made,) = client.images.generate(model="shower", prompt=shower["prompt"]).data or ()
    assert made.revised_prompt == shower["prompt"]
    assert served.http.get("/v1/models/plain").json()["prompt"] is None


def test_raw_answers_and_the_async_client(served: Server, client: openai.OpenAI) -> None:
    raw = client.images.with_raw_response.generate(model="toy", prompt="digit 1", extra_body={"seed": 9})
    assert raw.headers["Latentserve-Model"] == "toy"
    assert raw.headers["Latentserve-Seed"] == "9"
    assert raw.headers["X-Request-ID"] == raw.request_id
    parsed = raw.parse()

    async def ask() -> list[openai.types.ImagesResponse]:
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as asynchronous:
            with pytest.raises(openai.NotFoundError):
                await asynchronous.models.retrieve("nobody")
            asked = (
                asynchronous.images.generate(model="toy", prompt="digit 1", extra_body={"seed": seed})
                for seed in range(9, 12)
            )
            return await asyncio.gather(*asked)

    first, *others = asyncio.run(ask())
    assert first == parsed
    assert all(one != first for one in others)
    before = served.metric("requests_total", route="/v1/images/generations", code="200")
    client.images.generate(model="toy", prompt="digit 1")
    served.wait_for(lambda: served.metric("requests_total", route="/v1/images/generations", code="200") == before + 1)
