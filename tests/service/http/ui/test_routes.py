"""What the page's routes answer, over a socket."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import httpx

from latentserve.service.http.ui.files import STATIC
from latentserve.service.http.ui.markdown import to_html
from tests.server import Server
from tests.service.http.ui.conftest import ODD, ROOT

TOP = Path(__file__).parents[4]


def test_files_are_kept_by_browsers_and_load_nothing_from_elsewhere(kinds: Server) -> None:
    for name in ("", *(f"/{file.name}" for file in STATIC.iterdir() if file.suffix != ".html")):
        answer = kinds.http.get(f"/ui{name}")
        assert answer.status_code == 200, name
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        again = kinds.http.get(f"/ui{name}", headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert kinds.http.get(f"/ui{name}", headers={"If-Match": '"another"'}).status_code == 412
        assert not re.search(r"""(src|href|from|fetch\()\s*=?\s*["'(]*(https?:)?//""", answer.text), name
        assert not re.search(r"""["'`]/(ui|v1|docs)""", answer.text), f"{name}: an address that is not relative"
    head = kinds.http.head("/ui")
    assert (head.status_code, head.content) == (200, b"")
    assert kinds.http.get("/ui/nothing.js").status_code == 404


def test_what_leads_to_it(kinds: Server, server: Server) -> None:
    for path in ("/", f"{ROOT}/"):
        assert kinds.http.get(path).headers["Location"] == f"{ROOT}/ui"
    assert server.http.get("/").headers["Location"] == "ui"  # relative to whatever shows it
    assert server.http.get("/ui/").headers["Location"] == "../ui"


def test_what_may_be_asked_for(kinds: Server) -> None:
    models = {one["name"]: one for one in kinds.http.get("/ui/models.json").json()["models"]}
    assert list(models) == ["toy", "plain", "shower", "people", "chirps", *ODD]
    assert (models["toy"]["critic"], models["plain"]["critic"]) == (True, False)
    assert models["toy"]["label_count"] == 10
    assert models["plain"]["labels"] is None
    assert [one["name"] for one in models["shower"]["conditions"]] == ["energy", "angle"]
    for name, one in models.items():
        for form in one["formats"]:
            assert kinds.http.post(f"/v1/samples?format={form}", json={"model": name, "seed": 1}).status_code == 200


def test_health_is_the_same_from_every_worker_and_that_of_the_metrics(kinds: Server) -> None:
    kinds.samples(model="plain", n=40, seed=1)
    kinds.wait_for(lambda: kinds.metric("samples_total", model="plain", arm="client") >= 40)

    def told() -> dict[str, object]:
        return httpx.get(f"{kinds.url}/ui/health.json").json()  # a connection of its own: any worker

    kinds.wait_for(lambda: told()["models"][1]["samples"]["client"] >= 40)
    began = time.monotonic()
    found = [told() for _ in range(12)]
    made = {one["made"] for one in found}
    assert len(made) <= time.monotonic() - began + 2, "made once a second at the most"
    assert all(len({json.dumps(one) for one in found if one["made"] == when}) == 1 for when in made)
    document = found[-1]
    assert document["workers"]["count"] == 2
    for one in document["models"]:
        name = one["model"]
        # Other tests have asked for labels and conditions of their choice.
        assert one["verdict"]["cause"] in ("none", "not_enough_samples", "label_mix", "condition_mix")
        assert one["log_threshold"] > 10
        assert one["probes"]["mismatch"] == 0
        assert one["probes"]["match"] > 0
        assert sum(one["batch_rows"]["counts"]) > 0
        assert all(len(bins) == 20 for signal in one["signals"] for bins in signal["bins"].values())
        assert one["queue"]["limit"] == kinds.metric("queue_limit_rows", model=name)
        assert one["seconds"]["inference"]["bounds"][-1] is None
    shower = next(one for one in document["models"] if one["model"] == "shower")
    assert [len(one["bins"]) for one in shower["conditions"]] == [10, 10]
    history = document["models"][0]["history"]
    assert len(history["seconds_ago"]) == len(history["log_evidence"]["generated"]) >= 1


def test_files_of_bundles(kinds: Server, bundle: Path) -> None:
    card = kinds.http.get("/ui/cards/toy")
    assert "<h1>toy</h1>" in card.text
    picture = kinds.http.get("/ui/pictures/toy/preview.png")
    assert (picture.headers["Content-Type"], picture.content) == ("image/png", (bundle / "preview.png").read_bytes())
    for path in ("cards/none", "pictures/toy/golden.npz", "pictures/toy/..%2fsecret.png", "pictures/toy/none.png"):
        assert kinds.http.get(f"/ui/{path}").status_code == 404


def test_runbooks_are_served(kinds: Server) -> None:
    names = kinds.http.get("/ui/runbooks.json").json()
    assert names == sorted(file.stem for file in (TOP / "docs" / "runbooks").glob("Latentserve*.md"))
    for name in names:
        page = kinds.http.get(f"/ui/runbooks/{name}")
        assert f"<h1>{name}</h1>" in page.text
        for link in re.findall(r'href="([^"#]+)"', page.text):
            if not link.startswith(("data:", "http")):
                assert kinds.http.get(f"/ui/runbooks/{link}").status_code == 200, f"{name}: {link}"
    assert kinds.http.get(f"/ui/runbooks/{names[0]}.md").text == kinds.http.get(f"/ui/runbooks/{names[0]}").text
    assert kinds.http.get("/ui/runbooks/nothing").status_code == 404


def test_markdown_runs_nothing() -> None:
    made = to_html("<script>alert(1)</script> [here](javascript:alert(1)) <img src=x onerror=alert(1)>")
    assert "<script" not in made
    assert "<img" not in made
    assert "<a " not in made


def test_bentomls_page_has_moved(server: Server) -> None:
    page = server.http.get("/bento")
    assert (page.status_code, page.headers["Content-Type"].split(";")[0]) == (200, "text/html")
    assert "static_content/swagger-ui.css" in page.text
    document = server.http.get("/docs.json").json()
    assert "/sample" in document["paths"]
    assert "![" not in document["info"]["description"]
