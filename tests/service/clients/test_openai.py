"""The `openai` package, unmodified, as a client: pictures, sounds, models and errors as it reads them."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from numpy.typing import NDArray
from PIL import Image

from latentserve.service.bundle import Latent, SampleSpec, read_bundle
from latentserve.service.http.openapi.answers import ImagesAnswer
from tests.conftest import make_bundle
from tests.generators import dense_generator
from tests.server import Server

RATE = 11_025


@pytest.fixture(scope="module")
def chirps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stereo sounds of two labels."""
    return make_bundle(
        tmp_path_factory.mktemp("audio") / "chirps",
        name="chirps",
        generator=dense_generator(dim=5, shape=(2, 600), labels=2).SerializeToString(),
        critic=None,
        latent=Latent(dim=5),
        labels=["lark", "wren"],
        sample=SampleSpec(kind="audio", shape=[2, 600], sample_rate=RATE),
        reference_samples=64,
    )


@pytest.fixture(scope="module")
def served(bundle: Path, shower_bundle: Path, plain_bundle: Path, chirps: Path) -> Iterator[Server]:
    with Server(bundle, shower_bundle, plain_bundle, chirps) as running:
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
    ImagesAnswer.model_validate(answer.model_dump())
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
        ({"model": None}, "model", "is needed, one of toy, shower, plain, chirps"),
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


def test_models_as_it_lists_them(
    served: Server, client: openai.OpenAI, bundle: Path, shower_bundle: Path, plain_bundle: Path
) -> None:
    page = client.models.list()
    assert page.object == "list"
    assert [(one.id, one.object, one.owned_by) for one in page] == [
        (name, "model", "latentserve") for name in ("toy", "shower", "plain", "chirps")
    ]
    toy = client.models.retrieve("toy")
    assert (toy.id, toy.object, toy.created) == ("toy", "model", int(read_bundle(bundle).manifest.created.timestamp()))
    shower = client.models.retrieve("shower").model_dump()
    assert shower["labels"] == ["electron", "photon", "pion"]
    assert {one["name"]: one["range"] for one in shower["conditions"]} == {"energy": [0.1, 100], "angle": [-0.7, 0.7]}
    (made,) = client.images.generate(model="shower", prompt=shower["prompt"]).data or ()
    assert made.revised_prompt == shower["prompt"]
    card = (shower_bundle / "MODEL_CARD.md").read_text().partition("## Prompts")[2]
    assert f"`{shower['prompt']}` is one; labels are electron, photon, pion; conditions are energy 0.1 to" in card
    assert served.http.get("/v1/models/plain").json()["prompt"] is None
    assert "## Prompts" not in (plain_bundle / "MODEL_CARD.md").read_text()


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


def sound(content: bytes) -> tuple[NDArray[np.float64], int]:
    """Values [frames, channels] of a file, and their rate."""
    values, rate = pytest.importorskip("soundfile").read(io.BytesIO(content), always_2d=True)
    return values, rate


@pytest.mark.parametrize(
    ("form", "media", "rate"),
    [
        (openai.omit, "audio/mpeg", RATE),
        ("mp3", "audio/mpeg", RATE),
        ("opus", "audio/ogg", 12_000),
        ("flac", "audio/flac", RATE),
        ("wav", "audio/wav", RATE),
    ],
)
def test_sounds(served: Server, client: openai.OpenAI, form: Any, media: str, rate: int) -> None:
    pytest.importorskip("soundfile", reason="needs latentserve[audio]")
    asked: dict[str, Any] = {"model": "chirps", "input": "Lark", "voice": "alloy", "response_format": form}
    answer = client.audio.speech.create(**asked, extra_body={"seed": 5, "offset": 2})
    assert answer.response.headers["Content-Type"] == media
    assert answer.response.headers["Latentserve-Seed"] == "5"
    assert json.loads(answer.response.headers["Latentserve-Labels"]) == ["lark"]
    values, at = sound(answer.content)
    assert (at, values.shape[1]) == (rate, 2)
    assert len(values) / at == pytest.approx(600 / RATE, abs=0.001)
    same = served.samples(accept=media, model="chirps", seed=5, offset=2, label="lark")
    assert same.content == answer.content  # by `Accept`, too; and the same bytes each time
    numbers = np.load(
        io.BytesIO(served.samples(accept="application/x-npy", model="chirps", seed=5, offset=2, label="lark").content)
    )
    if media in ("audio/wav", "audio/flac"):
        assert np.abs(values - numbers[0].T.clip(-1, 32767 / 32768)).max() <= 0.5 / 32768


def test_sounds_without_a_header_are_what_clients_play(served: Server, client: openai.OpenAI) -> None:
    """One channel at 24 kHz."""
    pytest.importorskip("soxr", reason="needs latentserve[audio]")
    answer = client.audio.speech.create(
        model="chirps", input="wren", voice="alloy", response_format="pcm", extra_body={"seed": 5}
    )
    assert answer.response.headers["Content-Type"] == "audio/pcm;rate=24000;channels=1"
    values = np.frombuffer(answer.content, "<i2")
    assert len(values) == pytest.approx(600 / RATE * 24_000, abs=1)


def test_sounds_are_streamed_into_files(served: Server, client: openai.OpenAI, tmp_path: Path, chirps: Path) -> None:
    asked: dict[str, Any] = {"model": "chirps", "input": "wren", "voice": {"id": "v"}, "instructions": "softly",
                             "speed": 1.0, "stream_format": "audio", "response_format": "wav"}  # fmt: skip
    with client.audio.speech.with_streaming_response.create(**asked, extra_body={"seed": 3}) as answer:
        assert answer.headers["Latentserve-Model"] == "chirps"
        answer.stream_to_file(tmp_path / "sound.wav")
    raw = client.audio.speech.with_raw_response.create(**asked, extra_body={"seed": 3})
    assert (tmp_path / "sound.wav").read_bytes() == raw.content

    async def ask() -> bytes:
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as asynchronous:
            return (await asynchronous.audio.speech.create(**asked, extra_body={"seed": 3})).content

    assert asyncio.run(ask()) == raw.content


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"input": "crow"}, "input", "labels are lark, wren"),
        ({"input": "x" * 5000}, "input", "at most 4096 characters"),
        ({"response_format": "aac"}, "response_format", "'mp3', 'opus', 'flac', 'wav' or 'pcm'"),
        ({"speed": 2.0}, "speed", "1 is taken"),
        ({"stream_format": "sse"}, "stream_format", "'audio'"),
        ({"extra_body": {"n": 2}}, "n", "unknown field"),
        ({"model": "toy", "input": "digit 1"}, "model", "makes no sounds"),
    ],
)
def test_sounds_that_cannot_be_made(client: openai.OpenAI, fields: dict[str, Any], param: str, says: str) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.audio.speech.create(**{"model": "chirps", "input": "lark", "voice": "alloy", **fields})
    assert refused.value.param == param
    assert says in refused.value.body["message"]


@pytest.mark.full
def test_without_the_extra_there_is_wav(chirps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['soundfile'] = sys.modules['soxr'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Server(chirps) as bare, openai.OpenAI(base_url=f"{bare.url}/v1", api_key="none", max_retries=0) as client:
        asked: dict[str, Any] = {"model": "chirps", "input": "lark", "voice": "alloy"}
        assert client.audio.speech.create(**asked, response_format="wav").content[:4] == b"RIFF"
        for form in (openai.omit, "mp3", "opus", "flac", "pcm"):
            with pytest.raises(openai.UnprocessableEntityError, match='extra "audio"') as refused:
                client.audio.speech.create(**asked, response_format=form)
            assert refused.value.param == "response_format"
            assert "wav can be asked for without it" in refused.value.body["message"]
        assert bare.samples(accept="audio/flac").status_code == 406
        assert bare.samples(accept="audio/*").headers["Content-Type"] == "audio/wav"
