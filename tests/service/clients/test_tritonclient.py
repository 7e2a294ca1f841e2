"""Triton's client, unmodified: that of threads and that of asyncio, tensors as bytes and as JSON, compressed or not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

import latentserve
from latentserve import OpenedBundle, open_bundle
from tests.server import Server
from tests.tensors import tensor

CODINGS = (None, "gzip", "deflate")
Z = np.random.default_rng(7).standard_normal((40, 8)).astype(np.float32)
LABELS = (np.arange(40) % 10).astype(np.int64)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
        yield client


@pytest.fixture(scope="module")
def toy(bundle: Path) -> OpenedBundle:
    return open_bundle(bundle)


def test_health_and_what_is_served(client: triton.InferenceServerClient, toy: OpenedBundle) -> None:
    version = toy.manifest.version
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("toy")
    assert client.is_model_ready("toy", version)
    assert not client.is_model_ready("toy", "1")
    assert not client.is_model_ready("nobody")
    told = client.get_server_metadata()
    assert (told["name"], told["version"]) == ("latentserve", latentserve.__version__)
    assert "binary_tensor_data" in told["extensions"]
    expected = {
        "name": "toy",
        "versions": [version],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "z", "datatype": "FP32", "shape": [-1, 8]},
            {"name": "label", "datatype": "INT64", "shape": [-1]},
        ],
        "outputs": [{"name": "sample", "datatype": "FP32", "shape": [-1, 1, 8, 8]}],
    }
    assert client.get_model_metadata("toy") == client.get_model_metadata("toy", version) == expected
    config = client.get_model_config("toy")
    assert config["max_batch_size"] == 1_000_000
    assert [(one["name"], one["data_type"], one["dims"], one["optional"]) for one in config["input"]] == [
        ("z", "TYPE_FP32", [8], True),
        ("label", "TYPE_INT64", [], True),
    ]
    assert [one["dims"] for one in config["output"]] == [[1, 8, 8]]
    index = client.get_model_repository_index()
    assert index[0] == {"name": "toy", "version": version, "state": "READY", "reason": ""}
    assert [one["name"] for one in index] == ["toy", "plain"]


@pytest.mark.parametrize("n", [1, 300])
def test_rows_of_a_seed(client: triton.InferenceServerClient, toy: OpenedBundle, n: int) -> None:
    """No input at all; what made the rows comes back."""
    asked = {"seed": 7, "offset": 5, "n": n, "truncation": 0.5, "deterministic": True}
    result = client.infer("toy", [], toy.manifest.version, request_id="mine", parameters=asked)
    assert np.array_equal(result.as_numpy("sample"), toy.sample(n=n, seed=7, offset=5, truncation=0.5))
    told = result.get_response()
    assert (told["model_name"], told["model_version"], told["id"]) == ("toy", toy.manifest.version, "mine")
    labels = told["parameters"].pop("labels", None)
    assert told["parameters"] == {"synthetic": True, "seed": 7, "offset": 5, "truncation": 0.5}
    if n == 1:  # of many there is no room
        again = client.infer("toy", [], parameters={**asked, "label": int(labels)})
        assert np.array_equal(again.as_numpy("sample"), result.as_numpy("sample"))
    named = client.infer("toy", [], parameters={"seed": 7, "label": "digit 3", "deterministic": True})
    assert np.array_equal(named.as_numpy("sample"), toy.sample(seed=7, label=3))
    assert named.get_response()["parameters"]["labels"] == "3"
    assert "id" not in named.get_response()


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("coding", CODINGS)
def test_inputs_and_outputs_of_every_form(
    client: triton.InferenceServerClient, toy: OpenedBundle, binary: bool, coding: str | None
) -> None:
    expected = toy.sample(latents=Z, labels=LABELS)
    compressed = {"request_compression_algorithm": coding, "response_compression_algorithm": coding}
    for wanted in ([triton.InferRequestedOutput("sample", binary_data=binary)], None):
        inputs = [tensor("label", LABELS, binary), tensor("z", Z, not binary)]
        asked = {"deterministic": True}
        result = client.infer("toy", inputs, outputs=wanted, parameters=asked, **compressed)
        assert np.array_equal(result.as_numpy("sample"), expected)
        parameters = result.get_response()["parameters"]
        assert parameters == {"synthetic": True, "labels": ",".join(map(str, LABELS))}


def test_many_rows(client: triton.InferenceServerClient, toy: OpenedBundle) -> None:
    """Streamed, and latents of a size that is parsed in pieces."""
    z = np.tile(Z, (250, 1))
    for binary in (True, False):
        result = client.infer("toy", [tensor("z", z, binary)], parameters={"label": 3, "deterministic": True})
        assert np.array_equal(result.as_numpy("sample"), toy.sample(latents=z, label=3))
    coded = client.infer("toy", [], parameters={"seed": 3, "n": 5000}, response_compression_algorithm="gzip")
    assert coded.as_numpy("sample").shape == (5000, 1, 8, 8)


def test_what_was_counted(client: triton.InferenceServerClient) -> None:
    time.sleep(1.1)  # what others asked for is counted by then
    (before,) = client.get_inference_statistics("plain")["model_stats"]
    client.infer("plain", [], parameters={"n": 30})
    with pytest.raises(InferenceServerException):
        client.infer("plain", [], parameters={"label": 0})

    def counted() -> list[int]:
        (now,) = client.get_inference_statistics("plain", before["version"])["model_stats"]
        old, new = before["inference_stats"], now["inference_stats"]
        assert new["success"]["ns"] >= old["success"]["ns"]
        rows = now["inference_count"] - before["inference_count"]
        return [rows, *(new[kind]["count"] - old[kind]["count"] for kind in ("success", "fail", "queue"))]

    deadline = time.monotonic() + 20
    while counted() != [30, 1, 1, 1]:
        assert time.monotonic() < deadline, counted()
        time.sleep(0.1)
    assert [one["name"] for one in client.get_inference_statistics()["model_stats"]] == ["toy", "plain"]
    with pytest.raises(InferenceServerException, match="404"):
        client.get_inference_statistics("nobody")


def test_several_at_once(client: triton.InferenceServerClient, toy: OpenedBundle) -> None:
    asked = [client.async_infer("toy", [], parameters={"seed": seed, "deterministic": True}) for seed in range(5)]
    for seed, request in enumerate(asked):
        assert np.array_equal(request.get_result().as_numpy("sample"), toy.sample(seed=seed))


def test_asyncio(server: Server, toy: OpenedBundle) -> None:
    async def ask() -> None:
        async with triton_aio.InferenceServerClient(server.url.removeprefix("http://")) as client:
            assert await client.is_server_ready()
            assert (await client.get_model_metadata("toy"))["inputs"][0]["shape"] == [-1, 8]
            asked = {"deterministic": True}
            for coding in CODINGS:
                for binary in (True, False):
                    compressed = {"request_compression_algorithm": coding, "response_compression_algorithm": coding}
                    wanted = [triton.InferRequestedOutput("sample", binary_data=binary)]
                    inputs = [tensor("z", Z, binary), tensor("label", LABELS, binary)]
                    result = await client.infer("toy", inputs, outputs=wanted, parameters=asked, **compressed)
                    assert np.array_equal(result.as_numpy("sample"), toy.sample(latents=Z, labels=LABELS))
            many = await asyncio.gather(*(client.infer("toy", [], parameters={"seed": s, **asked}) for s in range(8)))
            for seed, result in enumerate(many):
                assert np.array_equal(result.as_numpy("sample"), toy.sample(seed=seed))
            with pytest.raises(InferenceServerException, match=r"404.*nobody"):
                await client.infer("nobody", [])

    asyncio.run(ask())


def test_refusals_say_why(client: triton.InferenceServerClient) -> None:
    wide = triton.InferInput("z", [1, 8], "FP64").set_data_from_numpy(np.zeros((1, 8)))
    shared = triton.InferInput("z", [1, 8], "FP32").set_shared_memory("region", 32)
    classes = [triton.InferRequestedOutput("sample", class_count=3)]
    elsewhere = triton.InferRequestedOutput("sample")
    elsewhere.set_shared_memory("region", 256)
    asked: list[tuple[str, dict[str, Any]]] = [
        (r"inputs\[0\].datatype: is 'FP64'; z is FP32", {"inputs": [wide]}),
        (r"z\[0\]: has 3 values; the model's latent has 8", {"inputs": [tensor("z", Z[:, :3])]}),
        ("memory is shared with no client", {"inputs": [shared]}),
        ("memory is shared with no client", {"inputs": [], "outputs": [elsewhere]}),
        ("no scores of classes", {"inputs": [], "outputs": [classes[0]]}),
        ("no output is called 'scores'", {"inputs": [], "outputs": [triton.InferRequestedOutput("scores")]}),
        (r"parameters.seed: excludes latents", {"inputs": [tensor("z", Z)], "parameters": {"seed": 1}}),
        (r"parameters.n: differs from the 40 rows", {"inputs": [tensor("z", Z)], "parameters": {"n": 3}}),
        (r"parameters.colour: unknown", {"inputs": [], "parameters": {"colour": 3}}),
        (r"parameters.sequence_id: unknown", {"inputs": [], "sequence_id": 3}),
        (r"label\[1\]: is 99", {"inputs": [tensor("label", np.array([0, 99]))]}),
        (r"parameters.label: no label has the name", {"inputs": [], "parameters": {"label": "cat"}}),
    ]
    for words, request in asked:
        with pytest.raises(InferenceServerException, match=words) as caught:
            client.infer("toy", **request)
        assert caught.value.status() == "422"
    with pytest.raises(InferenceServerException, match="version: toy is served in version") as caught:
        client.infer("toy", [], "1")
    assert caught.value.status() == "404"
    with pytest.raises(InferenceServerException, match="no such route"):
        client.load_model("toy")
    assert client.infer("toy", [], priority=1, timeout=10_000_000).as_numpy("sample").shape == (1, 1, 8, 8)
