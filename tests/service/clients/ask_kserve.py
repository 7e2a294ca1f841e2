"""What KServe's client asks of a server of the toy bundle, at the address that is given: it prints the samples it got,
as JSON. It runs where kserve is installed."""

from __future__ import annotations

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput


def request(binary: bool, n: int) -> InferRequest:
    """For rows of latents, and a label each."""
    z = np.random.default_rng(7).standard_normal((n, 8)).astype(np.float32)
    inputs = [InferInput("z", [n, 8], "FP32"), InferInput("label", [n], "INT64")]
    inputs[0].set_data_from_numpy(z, binary_data=binary)
    inputs[1].set_data_from_numpy(np.arange(n) % 10, binary_data=binary)
    outputs = [RequestedOutput("sample", {"binary_data": binary})]
    return InferRequest("toy", inputs, parameters={"deterministic": True}, request_outputs=outputs)


async def ask(url: str) -> None:
    """Everything that the client has of the protocol."""
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0, timeout=60))
    assert await client.is_server_live(url)
    assert await client.is_server_ready(url)
    assert await client.is_model_ready(url, "toy")
    assert not await client.is_model_ready(url, "nobody")
    answers = []
    for binary in (True, False):
        headers: dict[str, str] = {}
        answer = await client.infer(url, request(binary, 40), model_name="toy", response_headers=headers)
        assert ("inference-header-content-length" in headers) is binary
        answers.append(answer)
    seed = {"parameters": {"seed": 7, "n": 3, "deterministic": True}, "inputs": []}
    answers.append(await client.infer(url, seed, model_name="toy"))
    assert answers[-1].parameters["seed"] == 7
    for answer in answers:
        (output,) = answer.outputs
        assert (answer.model_name, output.name, output.datatype) == ("toy", "sample", "FP32")
    await client.close()
    print(json.dumps([answer.outputs[0].as_numpy().tolist() for answer in answers]))


asyncio.run(ask(sys.argv[1]))
