"""The pages on the model and its health, what goes wrong, and who cannot see or point: in a real browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from latentserve.service.errors import LatentserveError, NotReadyError, QueueFullError
from tests.server import Server
from tests.service.http.ui.conftest import WIDE, Open, settled, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

MODELS = ("toy", "people", "chirps", "plain", "shower")


def refuse(page: Page, path: str, error: LatentserveError, retry_after: int = 1, times: int = 1) -> None:
    """Let the server answer so, the next times: as it does when it is full, or not ready."""
    problem = {"type": error.type, "title": error.title, "status": error.status, "detail": str(error)}
    left = iter(range(times))

    def answer(route):
        if next(left, None) is None:
            return route.fallback()
        return route.fulfill(
            status=error.status, body=json.dumps(problem), content_type="application/problem+json",
            headers={"Retry-After": str(retry_after)},
        )  # fmt: skip

    page.route(path, answer)


def test_what_is_known_of_a_model(open_page: Open, kinds: Server) -> None:
    page = open_page("#model?model=toy")
    page.wait_for_selector(".prose table")
    version = kinds.http.get("/v1/models/toy").json()["version"]
    assert version in page.locator(".facts").nth(0).inner_text()
    assert page.get_by_text("The manifest carries no scores.").is_visible()
    assert page.get_by_text("yes: it scores what is served").is_visible()
    assert page.get_by_text("by nobody").is_visible()
    until(page, "document.querySelector('.card img').naturalWidth > 0")
    page.get_by_text("As it is in the bundle").click()
    assert json.loads(page.locator("details pre").inner_text())["version"] == version
    for model in MODELS[1:]:
        page.select_option("#model", model)
        until(page, f"document.querySelector('h1 b').textContent === '{model}'")
        assert page.get_by_text("none: samples are not scored").is_visible()


def test_who_has_signed_a_model(open_page: Open) -> None:
    page = open_page("#health?model=toy")
    known = {"by": "certificate", "fingerprint": "3f9a" * 16, "subject": "CN=maker", "fault": None, "verified": True}
    signature: dict[str, object] = {}

    def signed(route):
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"signature": signature})

    page.route("**/v1/models/toy", signed)
    for change, said in {
        (): "by the certificate 3f9a3f9a3f9a3f9a… of CN=maker verified",
        (("by", "key"), ("subject", None), ("fault", "is by another")): "by the key 3f9a3f9a3f9a3f9a… "
        "not verified: is by another",
        (("by", None), ("fault", "is no signature")): "not verified: is no signature",
    }.items():
        signature.clear()
        signature.update(known | dict(change))
        page.get_by_role("link", name="Model").first.click()
        page.wait_for_selector(".prose")
        until(page, f"document.querySelector('.facts')?.innerText.replace(/\\s+/g, ' ').includes({json.dumps(said)})")
        page.get_by_role("link", name="Health").first.click()
        page.wait_for_selector(".verdict")


def test_a_page_that_was_left_before_it_was_there_does_not_come_back(open_page: Open) -> None:
    page = open_page("#model?model=toy")
    page.wait_for_selector(".prose")
    held = []
    page.route("**/ui/health.json", lambda route: held.append(route))
    page.get_by_role("link", name="Health").first.click()
    while not held:
        page.wait_for_timeout(20)
    page.get_by_role("link", name="Model").first.click()
    until(page, "document.title.includes('Model')")
    for route in held:
        route.continue_()
    page.wait_for_timeout(200)
    assert not page.locator(".verdict").count()
    assert page.locator(".prose").count()


def test_what_samples_give_away_is_told(open_page: Open) -> None:
    page = open_page("#model?model=people")
    page.wait_for_selector(".prose table")
    told = page.locator(".card", has=page.get_by_role("heading", name="Privacy", exact=True))
    assert "51.2 % (49.0 % to 53.4 %); held-out records 49.8 %" in told.nth(0).inner_text()
    assert "12.0 %; held-out records 1.0 %" in told.nth(0).inner_text()
    assert "0.25" in page.locator(".card", has_text="frechet").nth(0).inner_text()
    assert "{" not in page.locator(".facts").all_inner_texts()
    card = page.locator(".prose").inner_text()
    assert "These numbers promise nothing" in card.replace("\n", " ")


def test_one_model_alone_needs_no_name(open_page: Open) -> None:
    page = open_page("#health", path="/metrics")

    def alone(route):
        answer = route.fetch()
        told = answer.json()
        route.fulfill(response=answer, json=told | {"models": told["models"][:1]})

    page.route("**/ui/models.json", alone)
    page.goto(page.url.partition("/metrics")[0] + "/ui")
    settled(page)
    assert not page.locator("#which").is_visible()
    for name, seen in (("Model", ".prose"), ("Health", ".verdict"), ("Playground", "#wall[aria-busy=false]")):
        page.get_by_role("link", name=name).first.click()
        page.wait_for_selector(seen)
        assert "model=" not in page.url


def test_whether_it_is_well(open_page: Open, kinds: Server) -> None:
    page = open_page("#health?model=toy")
    page.wait_for_selector(".verdict h1")
    told = next(one for one in kinds.http.get("/v1/drift").json()["models"] if one["model"] == "toy")
    title = {"none": "All is well", "not_enough_samples": "Not enough samples yet"}[told["cause"]]
    assert page.locator(".verdict h1").inner_text() == title
    before = page.locator(".figure").nth(1).inner_text()
    kinds.samples(model="toy", n=777)
    until(page, f"document.querySelectorAll('.figure')[1].textContent !== '{before}'")
    for width in (1280, 1400, 1720, 390, 360):  # cards are as narrow as they get
        page.set_viewport_size({"width": width, "height": 900})
        sheet = page.get_by_role("region", name="Latency by stage")
        assert sheet.evaluate("sheet => sheet.scrollWidth <= sheet.clientWidth"), width
    page.click("#arm-server")
    page.wait_for_selector("#arm-server[aria-pressed=true]")
    assert page.locator(".signals svg").count() >= 4
    assert "replays matched" in page.get_by_role("heading", name="Golden probes").locator("..").inner_text()
    assert page.locator(".card", has_text="Workers").locator("dd").nth(0).inner_text() == "2"
    page.get_by_role("link", name="golden probe mismatch").click()
    assert page.locator("h1").inner_text() == "LatentserveGoldenProbeMismatch"
    page.go_back()
    page.wait_for_selector(".verdict h1")
    for model in MODELS[1:]:
        page.select_option("#model", model)
        page.wait_for_selector(".verdict h1")
    until(page, "document.getElementById('dot').dataset.state !== 'unknown'")


def test_a_server_that_is_down_and_comes_back(open_page: Open) -> None:
    page = open_page("#play?model=toy&n=9", faults=True, fresh=True)
    settled(page)
    page.context.set_offline(True)
    page.fill("#seed", "123")
    page.wait_for_selector(".failure")
    assert "The server does not answer" in page.locator(".failure").inner_text()
    page.context.set_offline(False)
    page.wait_for_selector("#wall img")  # it tries again by itself
    page.goto(page.url.replace("#play", "#health"))
    page.wait_for_selector(".verdict")
    page.context.set_offline(True)
    page.wait_for_selector(".failure")
    page.context.set_offline(False)
    page.wait_for_selector(".verdict")


@pytest.mark.parametrize("error", [QueueFullError("the queue is full", 1), NotReadyError("golden probes are off")])
def test_a_server_that_is_full_or_not_ready(open_page: Open, error: LatentserveError) -> None:
    page = open_page("#play?model=plain&n=9", faults=True)
    settled(page)
    refuse(page, "**/samples/5**", error, times=9)
    page.fill("#seed", "5")
    page.wait_for_selector(".failure")
    assert str(error) in page.locator(".failure").inner_text()
    assert "Try again" in page.locator(".failure button").inner_text()
    page.wait_for_selector("#wall canvas")
    settled(page)


def test_nothing_is_found(open_page: Open) -> None:
    page = open_page("#play?model=people&where=%7B%22share%22%3A%7B%22min%22%3A2%7D%7D", faults=True)
    page.wait_for_selector(".empty, .failure")
    assert page.locator(".empty, .failure").inner_text()


def test_what_nobody_wrote_is_no_harm(open_page: Open) -> None:
    page = open_page("#play?model=none&seed=x&n=-4&truncation=9&where=[1&keep={}&condition.a=b&label=")
    settled(page)
    assert page.locator("#wall img").count() == 24
    page = open_page("#nowhere")
    settled(page)


NARROW = {"width": 360, "height": 780}
SEEN = [
    *(pytest.param(f"#play?model={model}", marks=pytest.mark.full) for model in MODELS[2:]),
    "#play?model=people",
    "#model?model=toy",
    "#health?model=toy",
    "#verify?model=toy",
    "#play?model=toy&keep=[{\"seed\":1,\"row\":0},{\"seed\":2,\"row\":1}]",
]  # fmt: skip


@pytest.mark.parametrize("fragment", SEEN)
@pytest.mark.parametrize(
    ("scheme", "size"),
    [
        ("light", WIDE),
        ("dark", NARROW),
        pytest.param("dark", WIDE, marks=pytest.mark.full),
        pytest.param("light", NARROW, marks=pytest.mark.full),
    ],
)
def test_everybody_can_use_it(open_page: Open, fragment: str, scheme: str, size: dict[str, int]) -> None:
    """No violation that axe-core finds, in the light and in the dark; on a phone nothing is cut off."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = open_page(fragment, scheme=scheme, size=size)
    page.wait_for_selector("#wall[aria-busy=false], .prose, .verdict, .drop")
    if "keep" in fragment:
        page.click("#between")
        page.wait_for_selector("#between-place")
    found = axe.run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_whether_a_file_was_made_here(open_page: Open, kinds: Server, tmp_path: Path) -> None:
    """Chosen, dropped, and one that says nothing."""
    page = open_page("#verify")
    made, other = tmp_path / "made.png", tmp_path / "<b>other.csv"
    made.write_bytes(kinds.http.get("/v1/models/toy/samples/7?label=3").content)
    other.write_bytes(b"a,b\n1,2\n")
    page.set_input_files("#file", made)
    page.wait_for_selector(".verdict[data-state=well]")
    assert "7/0" in page.locator(".facts").inner_text()
    assert "toy" in page.locator(".facts").inner_text()
    until(page, "document.querySelector('#found img').naturalWidth === 8")
    page.set_input_files("#file", other)
    page.wait_for_selector(".verdict[data-state=unknown]")
    assert page.locator("#found b").count() == 0
    drop = """bytes => {
        const files = new DataTransfer();
        files.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
        window.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
    }"""
    page.evaluate(drop, list(made.read_bytes()))
    page.wait_for_selector(".verdict[data-state=well]")
    assert "dropped.png" in page.locator(".facts").inner_text()


def test_a_file_that_cannot_be_read(open_page: Open, tmp_path: Path) -> None:
    page = open_page("#verify", faults=True)
    (tmp_path / "file.txt").write_bytes(b"hello")
    page.set_input_files("#file", tmp_path / "file.txt")
    page.wait_for_selector(".failure")
    assert "it is none of what is read" in page.locator(".failure").inner_text()


def test_by_keyboard_alone(open_page: Open) -> None:
    page = open_page("#play?model=toy&n=9")
    settled(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#wall .keep')"):
            break
    page.keyboard.press("Space")
    assert page.locator("#wall .keep[aria-pressed=true]").count() == 1
    assert page.locator("#told").inner_text() == "Kept: seed 7, row 0."


def test_bentomls_page_is_whole(open_page: Open) -> None:
    page = open_page(path="/bento", faults=True)  # a tracker of its own is not let through, and it says so
    page.wait_for_selector("text=/sample")
    broken = "all => all.filter(one => one.complete && !one.naturalWidth).map(one => one.src)"
    assert page.eval_on_selector_all("img", broken) == []
