"""`/v2/...` of the real server over a socket: whatever form a request has, the rows are those of `/v1/samples`."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from latentserve import draw_latents
from latentserve.service.bundle import Latent
from tests.server import Server
from tests.service.http.inference.test_request import documents
from tests.service.test_bad_input import assert_problem

MODEL = "/v2/models/toy"
INFER = f"{MODEL}/infer"
LENGTH = "Inference-Header-Content-Length"
DATATYPES = {"z": "FP32", "label": "INT64"}
CODINGS: dict[str, Callable[[bytes], bytes]] = {"identity": bytes, "gzip": gzip.compress, "deflate": zlib.compress}
LATENT = Latent(dim=8)

over_a_socket = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def post(server: Server, header: object, data: bytes = b"", coding: str = "identity", **headers: str) -> httpx.Response:
    text = json.dumps(header).encode()
    told = {**({LENGTH: str(len(text))} if data else {}), "Content-Encoding": coding, **headers}
    return server.http.post(INFER, content=CODINGS[coding](text + data), headers=told)


def sample(answer: httpx.Response) -> NDArray[np.float32]:
    """The one output, as it stands in the JSON or behind it."""
    assert answer.status_code == 200, answer.text[:500]
    length = int(answer.headers.get(LENGTH, len(answer.content)))
    (output,) = json.loads(answer.content[:length])["outputs"]
    assert (output["name"], output["datatype"]) == ("sample", "FP32")
    if "parameters" in output:
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert output["parameters"]["binary_data_size"] == len(answer.content) - length
        return np.frombuffer(answer.content, "<f4", offset=length).reshape(output["shape"])
    assert answer.headers["Content-Type"] == "application/json"
    assert length == len(answer.content)
    return np.array(output["data"], np.float32).reshape(output["shape"])


def array(answer: httpx.Response) -> NDArray[np.generic]:
    assert answer.status_code == 200, answer.text[:500]
    return np.load(io.BytesIO(answer.content), allow_pickle=False)


@given(
    n=st.integers(1, 5) | st.just(700),
    given_inputs=st.lists(st.sampled_from(["z", "label"]), unique=True),
    forms=st.lists(st.sampled_from(["flat", "nested", "bytes"]), min_size=2, max_size=2),
    binary=st.booleans(),
    on_output=st.booleans(),
    coding=st.sampled_from(list(CODINGS)),
    accepted=st.sampled_from(["identity", "gzip", "deflate", "gzip, deflate, br"]),
    seed=st.integers(0, 2**53 - 1000),
)
@over_a_socket
def test_every_form_asks_for_the_same_rows(
    server: Server,
    n: int,
    given_inputs: list[str],
    forms: list[str],
    binary: bool,
    on_output: bool,
    coding: str,
    accepted: str,
    seed: int,
) -> None:
    values = {"z": draw_latents(LATENT, seed, 0, n), "label": np.arange(seed, seed + n) % 10}
    parameters: dict[str, Any] = {"deterministic": True, "n": n}
    fields: dict[str, Any] = {"model": "toy", "deterministic": True, "n": n}
    if "z" in given_inputs:
        fields["latents"] = values["z"].tolist()
    else:
        parameters |= {"seed": seed, "offset": 3, "truncation": 0.7}
        fields |= {"seed": seed, "offset": 3, "truncation": 0.7}
    if "label" in given_inputs:
        fields["labels"] = values["label"].tolist()
    elif "z" in given_inputs:
        fields["label"] = parameters["label"] = "digit 7"
    inputs, data = [], b""
    for name, form in zip(given_inputs, forms, strict=False):
        tensor: dict[str, Any] = {"name": name, "shape": list(values[name].shape), "datatype": DATATYPES[name]}
        if form == "bytes":
            content = values[name].astype({"z": "<f4", "label": "<i8"}[name]).tobytes()
            tensor["parameters"] = {"binary_data_size": len(content)}
            data += content
        else:
            tensor["data"] = (values[name].reshape(-1) if form == "flat" else values[name]).tolist()
        inputs.append(tensor)
    header: dict[str, Any] = {"inputs": inputs, "parameters": parameters}
    if on_output:
        header["outputs"] = [{"name": "sample", "parameters": {"binary_data": binary}}]
    else:
        parameters["binary_data_output"] = binary
    answer = post(server, header, data, coding, **{"Accept-Encoding": accepted})
    assert np.array_equal(sample(answer), array(server.samples(accept="application/x-npy", **fields)))
    assert (LENGTH in answer.headers) is binary
    if n > 5:  # few bytes are not worth it
        asked = {"identity": None, "gzip, deflate, br": None if binary else "gzip"}
        assert answer.headers.get("Content-Encoding") == asked.get(accepted, accepted)


def test_what_a_client_is_told(server: Server) -> None:
    answer = post(server, {"id": "7", "parameters": {"n": 3, "seed": 2**53 - 3, "binary_data_output": True}})
    told = json.loads(answer.content[: int(answer.headers[LENGTH])])
    assert told["id"] == "7"
    assert told["parameters"]["seed"] == 2**53 - 3
    assert len(told["parameters"]["labels"].split(",")) == 3
    assert answer.headers["Latentserve-Model"] == told["model_name"] == "toy"
    assert answer.headers["Latentserve-Version"] == told["model_version"]
    assert answer.headers["Latentserve-Seed"] == str(2**53 - 3)
    drawn = post(server, {}).json()["parameters"]
    again = post(server, {"parameters": {"seed": drawn["seed"], "label": int(drawn["labels"])}})
    assert again.json()["outputs"][0]["shape"] == [1, 1, 8, 8]


def test_no_content_type_is_asked_for(server: Server) -> None:
    for media in ("application/json", "application/octet-stream", "text/plain", "x"):
        assert post(server, {}, **{"Content-Type": media}).status_code == 200


def test_a_row_as_bytes_and_nothing_else(server: Server) -> None:
    z = draw_latents(LATENT, 7, 0, 1)
    answer = server.http.post("/v2/models/plain/infer", content=z[:, :5].tobytes(), headers={LENGTH: "0"})
    expected = server.samples(model="plain", latents=z[:, :5].tolist(), accept="application/x-npy")
    assert np.array_equal(sample(answer), array(expected))
    assert LENGTH in answer.headers
    answer = server.http.post("/v2/models/plain/infer", content=z.tobytes(), headers={LENGTH: "0"})
    assert_error(answer, 422, "invalid-field", "z[0]")


def test_a_model_without_labels(server: Server) -> None:
    assert [one["name"] for one in server.http.get("/v2/models/plain").json()["inputs"]] == ["z"]
    label = {"name": "label", "shape": [1], "datatype": "INT64", "data": [0]}
    answer = server.http.post("/v2/models/plain/infer", json={"inputs": [label]})
    assert_error(answer, 422, "invalid-field", "label")
    assert "labels" not in server.http.post("/v2/models/plain/infer", json={}).json()["parameters"]


def assert_error(answer: httpx.Response, status: int, slug: str, field: str | None = None) -> None:
    body = assert_problem(answer, status, slug, field)
    assert body["error"] == body["detail"]


def test_refusals_are_errors_of_the_protocol(server: Server) -> None:
    assert_error(server.http.get("/v2/nothing"), 404, "not-found")
    assert_error(server.http.get("/v2/models/nobody"), 404, "not-found")
    assert_error(server.http.get(f"{MODEL}/versions/1/ready"), 404, "not-found")
    assert_error(server.http.post("/v2/models/nobody/infer", json={}), 404, "not-found")
    assert_error(server.http.get(INFER), 405, "method-not-allowed")
    assert_error(server.http.post("/v2/repository/models/toy/unload"), 404, "not-found")
    assert_error(server.http.post(INFER, content=b"{"), 400, "malformed-json")
    assert_error(post(server, {}, **{LENGTH: "7"}), 400, "malformed-request")
    assert_error(post(server, {}, coding="identity", **{"Content-Encoding": "br"}), 415, "unsupported-content-encoding")
    assert_error(
        server.http.post(INFER, content=b"x", headers={"Content-Encoding": "deflate"}), 400, "malformed-request"
    )
    assert_error(post(server, {"parameters": {"n": 10**7}}), 413, "too-large")
    assert_error(server.http.post(INFER, content=bytes(17 << 20)), 413, "too-large")
    bomb = zlib.compress(b" " * (17 << 20))
    assert_error(server.http.post(INFER, content=bomb, headers={"Content-Encoding": "deflate"}), 413, "too-large")
    assert_error(post(server, {"id": "x" * 20_000}), 413, "too-large")
    assert_error(server.http.post("/v2/repository/index", json={"ready": 1}), 422, "invalid-field", "ready")
    assert_error(server.http.post("/v2/repository/index", content=b"{"), 400, "malformed-json")


def test_the_index_may_be_of_what_is_ready(server: Server) -> None:
    every = server.http.get("/v2/repository/index").json()
    assert every == server.http.post("/v2/repository/index", json={"ready": True}).json()
    assert [one["state"] for one in every] == ["READY", "READY"]


@given(header=documents, data=st.binary(max_size=60), cut=st.integers(0, 3), coding=st.sampled_from(list(CODINGS)))
@over_a_socket
def test_whatever_is_sent_is_answered(server: Server, header: object, data: bytes, cut: int, coding: str) -> None:
    text = json.dumps(header).encode()
    told = {LENGTH: str(max(0, len(text) - cut)), "Content-Encoding": coding}
    answer = server.http.post(INFER, content=CODINGS[coding](text + data), headers=told)
    assert answer.status_code in (200, 400, 413, 422)
    if answer.status_code != 200:
        assert answer.json()["error"] == answer.json()["detail"]


def test_large_inputs_as_text_are_read(server: Server) -> None:
    """16 MB of JSON that are two characters a number."""
    rows = (1 << 20) - 50
    text = b'{"inputs":[{"name":"z","shape":[%d,8],"datatype":"FP32","data":[%b1]}],"parameters":{"label":1,"n":%d}}'
    body = text % (rows, b"1," * (8 * rows - 1), rows + 1)
    assert len(body) < 16 << 20
    assert_error(server.http.post(INFER, content=body), 422, "invalid-field", "parameters.n")
