"""What people bring that nobody thought of: names in any script, a pixel, 300 columns, what is no number, a row that
cannot be made, a proxy that is in trouble, a version that has changed meanwhile."""

from __future__ import annotations

import json

import numpy as np
import pytest

from latentserve.service.bundle import Latent
from latentserve.service.sampling.latents import draw_latents
from tests.server import Server
from tests.service.http.ui.conftest import NAMES, SPECIES, Open, settled, until
from tests.service.http.ui.test_playground import INKED

ROWS = draw_latents(Latent(dim=8), 7, 0, 20_000)[:, 0]  # the first number of each row of seed 7
BAD = int(np.flatnonzero(ROWS > 3)[0])  # of which the generator makes nothing, or what is no number


def fits(page) -> bool:
    found: bool = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    return found


def test_names_of_any_kind(open_page: Open) -> None:
    """Labels in any script, with HTML, of any length, 2,000 of them: shown as they are, and asked for."""
    page = open_page("#play?model=0_odd.id--x&n=9")
    settled(page)
    told = page.locator("h1").inner_text()
    assert told.startswith("0_odd.id--x makes 1×1 grey pictures of 2,000 labels (")
    assert NAMES[0] in told
    assert NAMES[4] not in told
    assert page.locator("h1 bdi").nth(1).inner_text() == NAMES[1]
    assert page.locator("main b, main img[src=x]").count() == 1  # the model's own name
    assert page.locator("#labels option").count() == 1000
    for name in (NAMES[0], NAMES[4], SPECIES[1999]):
        page.fill("#label", name)
        page.keyboard.press("Enter")
        until(page, f"document.querySelector('figcaption .label')?.textContent === {json.dumps(name)}")
        settled(page)
        assert fits(page)
    page.fill("#label", "")
    page.keyboard.press("Enter")
    page.select_option("#add-filter", "$label")
    another = page.get_by_label("One more label, as drawn")
    for name in (NAMES[1], SPECIES[1500]):
        another.fill(name)
        another.press("Enter")
        page.get_by_label(name, exact=True).wait_for()
    until(page, "document.querySelector('#which-rows').textContent.includes('looked at')")
    settled(page)
    assert set(page.locator("figcaption .label").all_inner_texts()) <= {NAMES[1], SPECIES[1500]}
    page.get_by_role("link", name="Model").first.click()
    page.wait_for_selector(".prose")
    assert NAMES[0] in page.locator(".facts").nth(0).inner_text()
    assert fits(page)
    assert page.locator("main img[src=x]").count() == 0


def test_a_row_that_cannot_be_made(open_page: Open) -> None:
    """The others are shown; a wall of which nothing can be made says why."""
    page = open_page(f"#play?model=frail&n=9&offset={BAD - 4}", faults=True)
    settled(page)
    page.wait_for_selector(".tile.failed")
    assert page.locator(".tile.failed").count() == 1
    assert page.locator(".tile.failed .why").inner_text() == "The engine failed"
    assert page.locator(".tile.failed figcaption").inner_text() == f"7/{BAD}"
    assert page.locator("#which-rows").inner_text().endswith("; 1 could not be made")
    page.click("#next")
    until(page, "document.querySelectorAll('.tile.failed').length === 0")
    settled(page)
    page = open_page(f"#play?model=frail&n=1&offset={BAD}", faults=True)
    page.wait_for_selector(".failure")
    assert "The engine failed" in page.locator(".failure").inner_text()


def test_series_and_what_is_no_number(open_page: Open) -> None:
    page = open_page(f"#play?model=series&n=9&offset={BAD}")
    settled(page)
    assert page.locator("h1").inner_text() == "series makes series of 64 values on 2 channels."
    words = page.locator("#wall canvas").nth(0).get_attribute("aria-label")
    assert words == "Series 2×64, from 0 to 0; 128 are no numbers"
    assert "no numbers" not in page.locator("#wall canvas").nth(1).get_attribute("aria-label")
    assert page.locator("#wall canvas").nth(1).evaluate(INKED)


def test_a_table_that_is_wide(open_page: Open) -> None:
    """300 columns, of every type and form; a row without numbers; texts are filtered as they are written."""
    page = open_page(f"#play?model=ledger&n=25&offset={BAD}")
    settled(page)
    assert fits(page)
    assert page.locator("tbody tr").nth(0).locator(".missing").count() == 300
    cells = page.locator("tbody tr").nth(1).locator("td")
    date, price, number = (cells.nth(place).inner_text() for place in (292, 293, 296))
    assert (len(date), date[2], price.lstrip("-")[0]) == (10, ".", "$")
    assert int(number) in range(10**15 - 9, 10**15 + 9)
    page.locator(".sheet").evaluate("sheet => (sheet.scrollLeft = 1e6)")
    row = page.locator("tbody th").nth(1)
    assert (
        row.evaluate(
            "one => Math.round(one.getBoundingClientRect().left - one.closest('.sheet').getBoundingClientRect().left)"
        )
        <= 1
    )
    assert page.locator("thead th").nth(294).inner_text() == "<i>price</i>"
    assert max(page.eval_on_selector_all("thead th, tbody td", "all => all.map(one => one.offsetWidth)")) < 400
    page.select_option("#add-filter", "date")
    field = page.get_by_label("date from")
    assert field.get_attribute("type") == "text"
    field.fill("15.11.2023")
    field.press("Enter")
    until(page, "document.querySelector('#which-rows').textContent.includes('looked at')")
    settled(page)
    assert set(page.locator("tbody td:nth-child(294)").all_inner_texts()) == {"15.11.2023"}
    page.select_option("#add-filter", "age")  # numbers, of which there are too many to choose some
    assert page.get_by_label("age from").get_attribute("placeholder") == "from 0"


def test_no_zero_is_negative(open_page: Open) -> None:
    page = open_page("#play?model=people&n=100")
    settled(page)
    assert "-0" not in page.locator("tbody td").all_inner_texts()


@pytest.mark.parametrize("status", [502, 504])
def test_a_proxy_that_does_not_reach_the_server(open_page: Open, status: int) -> None:
    """What it says is no JSON; the page tries again by itself."""
    page = open_page("#play?model=plain&n=9", faults=True)
    settled(page)
    left = iter(range(9))
    page.route(
        "**/samples/5**",
        lambda route: (
            route.fallback()
            if next(left, None) is None
            else route.fulfill(status=status, body="<h1>Bad Gateway</h1>", content_type="text/html")
        ),
    )
    page.fill("#seed", "5")
    page.wait_for_selector(".failure")
    assert f"What is between here and the server says {status}." in page.locator(".failure").inner_text()
    page.wait_for_selector("#wall canvas")
    settled(page)


def test_another_version_is_served_meanwhile(open_page: Open, kinds: Server) -> None:
    """A page that has been open since then goes on with the new one."""
    page = open_page("#play?model=toy&n=9", faults=True, path="/metrics")
    version = kinds.http.get("/v1/models/toy").json()["version"]
    told = iter(["0" * 12])  # what was served when the page was opened

    def models(route):
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace(version, next(told, version)))

    page.route("**/ui/models.json", models)
    page.goto(page.url.partition("/metrics")[0] + "/ui#play?model=toy&n=9")
    page.wait_for_selector(".toast")
    settled(page)
    assert version in page.locator("#wall img").nth(0).get_attribute("src")


def test_what_others_write_into_a_link(open_page: Open) -> None:
    others = '{"seed":-1,"row":0},{"seed":3,"row":1,"label":{}},{"seed":3,"row":1,"condition":"x"},[],null'
    keep = f'[{others},{{"seed":3,"row":2}}]'
    page = open_page(
        f'#play?model=people&n=25&where={{"job":null,"share":[1],"weight":{{"in":"x","min":{{}}}}}}&keep={keep}'
    )
    settled(page)
    assert page.locator("tbody tr").count() == 25
    assert page.locator(".thumbs button").all_inner_texts() == ["3/2 ✕"]
    page.get_by_role("button", name="Remove the filter on weight").click()
    settled(page)


def test_back_and_forward(open_page: Open) -> None:
    """Pages begin at their top, and the wall is as it was left."""
    page = open_page("#play?model=toy&n=100&seed=3", viewport={"width": 640, "height": 450}, device_scale_factor=2)
    settled(page)
    assert fits(page)
    page.evaluate("scrollTo(0, 1e6)")
    page.click("#next")
    until(page, "location.hash.includes('offset=100')")
    settled(page)
    page.get_by_role("link", name="Model").first.click()
    page.wait_for_selector(".prose")
    assert page.evaluate("scrollY") == 0
    page.go_back()
    settled(page)
    assert page.locator("#which-rows").inner_text() == "Rows 100 to 199 of seed 3"
    page.go_forward()
    page.wait_for_selector(".prose")
