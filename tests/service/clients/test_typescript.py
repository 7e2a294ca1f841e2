"""Types for TypeScript, made of the OpenAPI document by a tool that people have, and a program that is checked."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.server import Server

BIN = Path(__file__).parents[3] / ".tools" / "node" / "node_modules" / ".bin"

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
def test_a_program_is_checked_by_the_types_of_the_document(server: Server, tmp_path: Path) -> None:
    (tmp_path / "openapi.json").write_bytes(server.http.get("/openapi.json").content)

    def run(*words: str) -> str:
        done = subprocess.run(
            [str(BIN / words[0]), *words[1:]], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr if done.returncode else ""

    made = run("openapi-typescript", "openapi.json", "--default-non-nullable=false", "-o", "latentserve.d.ts")
    assert made == ""
    (tmp_path / "use.ts").write_text(PROGRAM)
    assert run("tsc", "--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom", "use.ts") == ""
