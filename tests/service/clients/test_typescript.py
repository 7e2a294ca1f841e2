"""Types for TypeScript, made of the OpenAPI document by a tool that people have, and programs that are checked."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.server import Server

TOP = Path(__file__).parents[3]
BIN = TOP / ".tools" / "node" / "node_modules" / ".bin"

PROGRAM = """
import type { components, paths } from "./latentserve";

type Body = components["schemas"]["SamplesBody"];
type Answer = paths["/v1/samples"]["post"]["responses"][200]["content"]["application/json"];
type Refusal = paths["/v1/samples"]["post"]["responses"][422]["content"]["application/problem+json"];

export async function sample(url: string, body: Body): Promise<Answer> {
    const answer = await fetch(`${url}/v1/samples`, {
        method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
    });
    if (!answer.ok) {
        const refusal: Refusal = await answer.json();
        throw new Error(`${refusal.status} ${refusal.detail}`);
    }
    return answer.json();
}

export const asked: Body[] = [{}, { n: 2, seed: 7, label: "3" }, { condition: { energy: 50 } }];
// @ts-expect-error
export const wrong: Body = { seed: "seven" };
"""


@pytest.mark.skipif(not (BIN / "tsc").exists(), reason="no TypeScript in .tools/node: run .ci/browser")
def test_programs_are_checked_by_the_types_of_the_document(server: Server, tmp_path: Path) -> None:
    """The one above, and that of the page on JavaScript, by the page's own command."""
    page = (TOP / "docs" / "clients" / "javascript.md").read_text()
    (npx,) = re.findall(r"^npx (openapi-typescript .*)$", page, re.M)
    (shown,) = re.findall(r"^```typescript\n(.*?)^```$", page, re.M | re.S)
    (tmp_path / "openapi.json").write_bytes(server.http.get("/openapi.json").content)
    (tmp_path / "use.ts").write_text(PROGRAM)
    (tmp_path / "shown.ts").write_text(shown)

    def run(*words: str) -> None:
        done = subprocess.run(
            [str(BIN / words[0]), *words[1:]], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    run(*shlex.split(npx.replace("http://127.0.0.1:3000/openapi.json", "openapi.json")))
    assert (tmp_path / "latentserve.d.ts").exists()
    strict = ("--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom")
    run("tsc", *strict, "--skipDefaultLibCheck", "use.ts", "shown.ts")
