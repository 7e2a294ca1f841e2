"""The playground in a real browser: every control, of a model of each kind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import pytest

from tests.server import Server
from tests.service.http.ui.conftest import Open, settled, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

SIZES = "all => all.map(one => [one.naturalWidth, one.naturalHeight])"
INKED = "one => one.getContext('2d').getImageData(0, 0, one.width, one.height).data.some(value => value > 0)"
MOST_BYTES = 150_000


def sources(page: Page) -> list[str]:
    found: list[str] = page.eval_on_selector_all("#wall img", "all => all.map(one => one.getAttribute('src'))")
    return found


def test_samples_at_first_sight(open_page: Open, kinds: Server) -> None:
    """And what it takes: few bytes, and every picture one `<img>` of its own address."""
    page = open_page(fresh=True)
    settled(page)
    sizes = page.eval_on_selector_all("#wall img", SIZES)
    assert sizes == [[8, 8]] * 24
    sent = page.evaluate(
        "() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".map(one => one.transferSize).reduce((sum, one) => sum + one, 0)"
    )
    assert sent < MOST_BYTES
    first = sources(page)[3]
    assert re.fullmatch(r"v1/models/toy/versions/[0-9a-f]{12}/samples/7\?offset=3&format=png", first)
    assert page.locator("h1").inner_text().startswith("toy makes 8×8 grey pictures of 10 labels (digit 0, digit 1,")
    assert page.locator("#wall figcaption").nth(3).inner_text() == "7/3"
    assert page.title() == "toy · Playground · latentserve"


def test_what_is_asked_for(open_page: Open) -> None:
    """Each control changes what is seen, and the address, which another browser then opens."""
    page = open_page("#play?model=toy&n=9")
    settled(page)
    page.fill("#seed", "11")
    until(page, "document.querySelector('#wall img').src.includes('samples/11?')")
    page.select_option("#label", "digit 3")
    until(page, "document.querySelector('#wall img').src.includes('label=digit+3')")
    page.fill("#truncation", "0.5")
    until(page, "document.querySelector('#wall img').src.includes('truncation=0.5')")
    page.select_option("#count", "16")
    until(page, "document.querySelectorAll('#wall img').length === 16")
    page.click("#next")
    until(page, "document.querySelector('#wall img').src.includes('offset=16')")
    settled(page)
    shown, link = sources(page), page.url
    other = open_page(link[link.index("#") :], fresh=True)
    settled(other)
    assert sources(other) == shown
    assert other.locator("#which-rows").inner_text() == "Rows 16 to 31 of seed 11"
    page.click("#previous")
    until(page, "!document.querySelector('#wall img').src.includes('offset=16')")
    page.click("#new-seed")
    until(page, "!location.hash.includes('seed=11&')")
    page.fill("#seed", "-1")
    assert page.locator("#seed").get_attribute("aria-invalid") == "true"


def test_the_best_by_the_critic(open_page: Open, kinds: Server) -> None:
    page = open_page("#play?model=toy&n=9&seed=5")
    settled(page)
    page.select_option("#best", "4")
    page.wait_for_selector("figcaption .score")
    body = {"model": "toy", "n": 9, "seed": 5, "select": {"of": 4}}
    rows = kinds.samples(**body).json()["rows"]
    assert page.locator("figcaption i").all_inner_texts() == [f"/{row}" for row in rows]
    assert "36 rows of seed 5 that were looked at" in page.locator("#which-rows").inner_text()
    page = open_page("#play?model=shower")
    settled(page)
    assert page.locator("#best").is_disabled()
    assert page.get_by_text("exported without a critic").is_visible()


def test_kept_ones_are_interpolated_and_varied(open_page: Open) -> None:
    page = open_page("#play?model=toy&n=9&label=digit+2")
    settled(page)
    tiles = page.locator("#wall .keep")
    tiles.nth(0).focus()
    page.keyboard.press("Enter")
    assert tiles.nth(0).get_attribute("aria-pressed") == "true"
    assert page.locator("#between").is_disabled()
    tiles.nth(4).click()
    page.click("#between")
    page.wait_for_selector("#between-place")
    title = "From seed 7, row 0, label digit 2 to seed 7, row 4, label digit 2"
    assert page.locator(".derived h2").inner_text() == title
    seen = "document.querySelector('.screen').toDataURL()"
    first = page.evaluate(seen)
    page.fill("#between-place", "32")
    last = page.evaluate(seen)
    assert first != last
    page.click("#between-play")
    until(page, f"{seen} !== '{last}'")
    page.click("#between-play")
    assert page.locator("#between-play").inner_text() == "Play"
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as WEBP").click()
    assert Path(saved.value.path()).read_bytes()[:4] == b"RIFF"
    page.click("#around")
    until(page, "document.querySelectorAll('#variations canvas').length === 12")
    drawn = "document.querySelector('#variations canvas').toDataURL()"
    little = page.evaluate(drawn)
    page.fill("#strength", "1")
    until(page, f"{drawn} !== '{little}'")
    much = page.evaluate(drawn)
    page.click("#others")
    until(page, f"{drawn} !== '{much}'")
    assert "keep=" in page.url
    page.click("#clear")
    assert page.locator("#panel").inner_text() == ""
    assert "keep=" not in page.url


def test_code_of_what_is_seen_gives_it(open_page: Open, kinds: Server, tmp_path: Path) -> None:
    page = open_page("#play?model=toy&n=9&seed=3&label=digit+1&truncation=0.8")
    settled(page)
    page.click("#code")
    page.wait_for_selector(".snippet")
    titles, texts = (page.locator(f".snippet {part}").all_inner_texts() for part in ("h3", "pre"))
    found = dict(zip(titles, texts, strict=True))
    assert set(found) == {"curl", "Python", "<img>"}
    subprocess.run(["bash", "-c", found["curl"]], cwd=tmp_path, check=True)
    wanted = {"model": "toy", "n": 9, "seed": 3, "label": "digit 1", "truncation": 0.8}
    assert (tmp_path / "toy.png").read_bytes() == kinds.samples(accept="image/png", **wanted).content
    program = found["Python"].replace(".show()", ".save('first.png')") + "\nprint(samples.array.shape)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(9, 1, 8, 8)"
    address = re.search(r'src="([^"]+)"', found["<img>"])
    assert address is not None
    answer = httpx.get(address[1].replace("&amp;", "&"))
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
    page.get_by_role("button", name="Copy curl").click()
    page.get_by_role("button", name="Close").click()
    page.locator("dialog").wait_for(state="detached")


@pytest.mark.parametrize(
    ("model", "formats"),
    [("toy", ["zip"]), *(pytest.param(name, None, marks=pytest.mark.full) for name in ("people", "chirps", "plain"))],
)
def test_downloads(open_page: Open, kinds: Server, model: str, formats: list[str] | None) -> None:
    page = open_page(f"#play?model={model}&seed=4")
    settled(page)
    page.click("#download")
    offered = page.eval_on_selector_all("#format option", "all => all.map(one => one.value)")
    for name in formats or offered:
        page.select_option("#format", name)
        page.fill("#rows", "3")
        with page.expect_download() as saved:
            page.click("#save")
        wanted = kinds.http.post(f"/v1/samples?format={name}", json={"model": model, "n": 3, "seed": 4}).content
        assert Path(saved.value.path()).read_bytes() == wanted
        until(page, "document.querySelector('dialog [role=status]').textContent.includes('saved')")


def test_a_table(open_page: Open, kinds: Server) -> None:
    page = open_page("#play?model=people&n=100")
    settled(page)
    head = page.locator("thead th").all_inner_texts()
    assert head == ["row", "share", "weight", "children", "job", "town"]
    assert page.locator("tbody tr").count() == 100
    assert "%" in page.locator(".summaries td").nth(4).inner_text()
    assert (
        page.locator(".summaries td").nth(1).locator("svg").get_attribute("aria-label").startswith("Distribution: mean")
    )
    page.select_option("#add-filter", "job")
    page.get_by_label("clerk").check()
    until(page, "document.querySelector('#which-rows').textContent.includes('looked at')")
    settled(page)
    cells = page.locator("tbody td:nth-child(5)").all_inner_texts()
    assert set(cells) == {"clerk"}
    page.select_option("#add-filter", "share")
    page.get_by_label("share from").fill("2")
    page.get_by_label("share from").blur()
    page.wait_for_selector(".empty, .failure")
    where = httpx.QueryParams(page.url.partition("?")[2])["where"]
    assert json.loads(where) == {"job": {"in": ["clerk"]}, "share": {"min": 2}}
    page.get_by_role("button", name="Remove the filter on share").click()
    page.wait_for_selector("tbody tr")
    settled(page)
    page.locator("tbody th button").nth(0).click()
    page.locator("tbody th button").nth(2).click()
    page.click("#between")
    page.wait_for_selector("#between-place")
    before = page.locator(".row-of-table").inner_text()
    page.fill("#between-place", "32")
    assert page.locator(".row-of-table").inner_text() != before
    page.click("#around")
    page.wait_for_selector("#variations tbody tr")


def asked_where(page: Page) -> dict[str, object]:
    """As the address has it."""
    found: dict[str, object] = json.loads(httpx.QueryParams(page.url.partition("?")[2])["where"])
    return found


def test_rows_by_what_was_drawn_for_them(open_page: Open, kinds: Server) -> None:
    """Labels and conditions that the seed has drawn; what is asked of all rows leaves nothing to choose by."""
    page = open_page("#play?model=shower&n=9&seed=5")
    settled(page)
    offered = page.eval_on_selector_all("#add-filter option", "all => all.map(one => one.value)")
    assert offered == ["", "$label", "$condition.energy", "$condition.angle"]
    page.select_option("#add-filter", "$condition.energy")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "energy, as drawn (GeV) from"
    page.keyboard.type("2")
    page.keyboard.press("Tab")
    page.keyboard.type("50")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#which-rows').textContent.includes('looked at')")
    page.select_option("#add-filter", "$label")
    page.get_by_label("pion").check()
    until(page, "document.querySelectorAll('figcaption:has(.label):has(.condition)').length === 9")
    settled(page)
    where = {"$condition.energy": {"min": 2, "max": 50}, "$label": {"in": ["pion"]}}
    assert asked_where(page) == where
    told = kinds.samples(model="shower", n=9, seed=5, where=where).json()
    assert page.locator("figcaption i").all_inner_texts() == [f"/{row}" for row in told["rows"]]
    seen = page.locator("figcaption").nth(0).inner_text().split()
    assert seen[1:3] == ["pion", "energy"]
    assert float(seen[3]) == pytest.approx(told["conditions"][0]["energy"], rel=1e-2)
    assert 2 <= float(seen[3]) <= 50
    page.select_option("#label", "photon")
    until(page, "document.querySelector('#wall img').src.includes('label=photon')")
    settled(page)
    aside = page.locator(".filter", has_text="label, as drawn")
    assert aside.get_by_text("all rows have it").is_visible()
    assert aside.get_by_label("pion").is_disabled()
    page.select_option("#label", "")
    until(page, "!document.querySelector('#wall img').src.includes('label=')")
    page.get_by_role("button", name="Remove the filter on energy, as drawn (GeV)").click()
    until(page, "!location.hash.includes('energy')")
    settled(page)
    assert asked_where(page) == {"$label": {"in": ["pion"]}}


def test_rows_by_the_critics_score(open_page: Open, kinds: Server) -> None:
    """Alone, beside labels, and as a link has it; where there is nothing to choose by no filter is offered."""
    everyone = kinds.samples(model="toy", n=64, seed=9, select={"of": 2}).json()["scores"]
    middle = sorted(everyone)[len(everyone) // 2]
    where = {"$score": {"min": middle}, "$label": {"in": ["digit 3", "digit 4"]}}
    page = open_page(f"#play?model=toy&n=9&seed=9&where={quote(json.dumps(where))}")
    settled(page)
    scores = [float(one.replace(",", "")) for one in page.locator("figcaption .score").all_inner_texts()]
    assert len(scores) == 9
    assert min(scores) >= middle * 0.99
    assert set(page.locator("figcaption .label").all_inner_texts()) == {"digit 3", "digit 4"}
    assert page.get_by_label("digit 3", exact=True).is_checked()
    page.click("#code")
    page.wait_for_selector(".snippet")
    assert "'$score'" in page.locator(".snippet pre").nth(1).inner_text().replace('"', "'")
    page = open_page("#play?model=plain")
    settled(page)
    assert page.locator("#add-filter").count() == 0


def test_missing_values_are_asked_for(open_page: Open) -> None:
    page = open_page("#play?model=people&n=100")
    settled(page)
    page.select_option("#add-filter", "town")
    page.get_by_label("town missing").check()
    until(page, "document.querySelector('#which-rows').textContent.includes('looked at')")
    settled(page)
    assert set(page.locator("tbody td:nth-child(6)").all_inner_texts()) == {"missing"}
    page.get_by_label("north").check()
    until(page, "location.hash.includes('north')")
    settled(page)
    assert set(page.locator("tbody td:nth-child(6)").all_inner_texts()) == {"missing", "north"}
    assert asked_where(page) == {"town": {"missing": True, "in": ["north"]}}


def test_sounds(open_page: Open) -> None:
    page = open_page("#play?model=chirps&n=6")
    settled(page)
    assert page.locator("h1").inner_text() == "chirps makes 0.25 s sounds at 8 kHz."
    assert page.locator("#wall canvas").count() == 6
    assert page.locator("#wall canvas").nth(0).evaluate(INKED)
    assert (
        page.locator("#wall .keep")
        .nth(0)
        .get_attribute("aria-label")
        .startswith("Sample: seed 7, row 0. 0.25 s of sound")
    )
    play = page.locator("#wall .play").nth(0)
    play.click()
    until(page, "document.querySelector('#wall .play').getAttribute('aria-pressed') === 'true'")
    play.click()
    until(page, "document.querySelector('#wall .play').getAttribute('aria-pressed') === 'false'")
    page.locator("#wall .keep").nth(0).click()
    page.locator("#wall .keep").nth(1).click()
    page.click("#between")
    page.wait_for_selector("#between-hear")
    assert page.locator(".screen").evaluate(INKED)


def test_arrays_without_labels(open_page: Open) -> None:
    page = open_page("#play?model=plain&n=9")
    settled(page)
    assert page.locator("h1").inner_text() == "plain makes arrays of 6 numbers."
    assert page.locator("#wall canvas").nth(8).evaluate(INKED)
    assert page.locator("#label").count() == 0
    page.locator("#wall .keep").nth(0).click()
    page.click("#around")
    until(page, "document.querySelectorAll('#variations canvas').length === 12")


def test_conditions(open_page: Open) -> None:
    page = open_page("#play?model=shower&n=9")
    settled(page)
    assert page.locator("h1").inner_text().endswith("for a given energy, angle.")
    energy = page.get_by_role("slider", name="energy")
    energy.fill("1000")
    until(page, "document.querySelector('#wall img').src.includes('condition.energy=100')")
    assert page.locator("#condition-energy").input_value() == "100"
    energy.fill("500")  # the middle of a logarithm
    until(page, "document.querySelector('#wall img').src.includes('condition.energy=3.162')")
    page.fill("#condition-angle", "9")
    assert page.locator("#condition-angle").get_attribute("aria-invalid") == "true"
    page.get_by_role("button", name="Draw energy").click()
    until(page, "!document.querySelector('#wall img').src.includes('condition')")


def test_another_model_is_chosen(open_page: Open) -> None:
    page = open_page()
    settled(page)
    page.select_option("#model", "people")
    page.wait_for_selector("tbody tr")
    assert "model=people" in page.url


@pytest.mark.parametrize("path", ["/", "/ui/", "/gallery/", "/gallery/ui"])
def test_it_is_where_a_proxy_shows_it(open_page: Open, kinds: Server, path: str) -> None:
    page = open_page(path=path)
    settled(page)
    assert page.url.split("#")[0] in (f"{kinds.url}/ui", f"{kinds.url}/gallery/ui")
