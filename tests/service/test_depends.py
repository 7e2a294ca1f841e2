"""Another service of BentoML's that uses this one, as `bentoml.depends` has it."""

from __future__ import annotations

import os
import pickle  # noqa: TID251
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import bentoml
import httpx

from tests.server import NO_TLS, Server, free_port

SERVICE = """
import bentoml
from latentserve.service.app import Latentserve

@bentoml.service
class Gallery:
    generator = bentoml.depends(Latentserve)

    @bentoml.api
    async def twice(self, seed: int) -> list[dict]:
        return [await self.generator.to_async.sample(n=2, seed=seed) for _ in range(2)]
"""


class Touching:
    """What creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_nothing_of_a_client_is_unpickled(server: Server, tmp_path: Path) -> None:
    body = pickle.dumps(Touching(tmp_path / "here"))
    for kind in ("application/vnd.bentoml+pickle", "application/vnd.bentoml+pickle; charset=utf-8"):
        for path in ("/sample", "/v1/samples"):
            answer = server.http.post(path, content=body, headers={"Content-Type": kind})
            assert 400 <= answer.status_code < 500
            assert answer.headers["Content-Type"] == "application/problem+json"
    assert not (tmp_path / "here").exists()
    pickle.loads(body)  # noqa: S301
    assert (tmp_path / "here").exists()


def test_it_answers_another_service(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "gallery.py").write_text(SERVICE)
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve", "gallery:Gallery", "--host", "127.0.0.1", "--port", str(port)]
    variables = {**os.environ, "LATENTSERVE_BUNDLES": str(bundle.resolve()), "BENTOML_HOME": str(tmp_path / "home")}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=variables, stdout=log, stderr=log, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            with suppress(httpx.HTTPError):
                if httpx.get(f"{url}/readyz", verify=NO_TLS).status_code == 200:
                    break
            time.sleep(0.1)
        with bentoml.SyncHTTPClient(url, timeout=60) as client:
            first, second = client.twice(seed=7)
        assert first == second
        assert (first["seed"], first["n"], len(first["samples"])) == (7, 2, 2)
    except Exception:
        print((tmp_path / "log").read_text())
        raise
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)
