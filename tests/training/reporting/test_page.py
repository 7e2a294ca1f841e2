"""`latentserve train --page`: a run as a page, while it trains and after; strict, and without a network."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from latentserve.training.data import Dataset
from latentserve.training.recipe.config import Config
from latentserve.training.reporting import curves
from latentserve.training.reporting.page import Page
from latentserve.training.run import loop, prepare
from latentserve.training.supervising import Action, Journal
from tests.browser import chromium
from tests.training.conftest import stop_after


@pytest.fixture(scope="module")
def run(tiny: Config, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a sitting that was interrupted and gone on with, watched by a page, whose supervisor acted."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    prepare(folder, tiny)
    loop.train(tiny, digits, folder, stop_after(20), [Page(folder, tiny).show])
    page = Page(folder, tiny)
    page.write("training")
    assert 'http-equiv="refresh"' in page.path.read_text()
    loop.train(tiny, digits, folder, sinks=[page.show])
    collapse = ("mode collapse", "diversity", (0.6, 0.125), 0.2)
    Journal(folder, 1024).write(
        [
            Action(416, *collapse, "rollback", 416, 200, applied=True),
            Action(832, "stall <b>", "waited", (0.6,), 0.5, "tell", None, None, applied=False),
        ]
    )
    page.write("finished")
    return folder


def test_it_tells_of_the_whole_run(run: Path) -> None:
    page = (run / "page.html").read_text()
    assert "refresh" not in page
    assert "finished" in page
    assert re.findall(r'data-images="(\d+)"', page) == [str(int(one.stem[8:])) for one in sorted(run.glob("samples-*"))]
    assert page.count("<polyline") >= 6
    assert page.count('class="mark"') >= 3
    assert page.count('class="told"') >= 3
    assert "returned the training from 416 images" in page
    assert "stall &lt;b&gt;" in page
    assert "<b>" not in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert not re.search(r"\son\w+=|style=", page)


def test_a_browser_finds_nothing_wrong_with_it(run: Path) -> None:
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 400, "height": 800})
        faults: list[str] = []
        page.on("console", lambda line: faults.append(line.text) if line.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto((run / "page.html").as_uri())
        slider = page.get_by_role("slider")
        last = page.locator("figure[data-at]:visible figcaption").inner_text()
        slider.focus()
        page.keyboard.press("Home")
        first = page.locator("figure[data-at]:visible figcaption").inner_text()
        assert first != last
        assert page.locator(".cursor").first.get_attribute("x1") == page.locator("figure[data-at]").first.get_attribute(
            "data-at"
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        assert faults == []


def test_it_begins_before_there_is_anything_and_survives_a_journal_that_cannot_be_read(
    run: Path, tiny: Config, tmp_path: Path
) -> None:
    prepare(tmp_path / "new", tiny)
    Page(tmp_path / "new", tiny).write("training")
    assert "The first grid comes" in (tmp_path / "new" / "page.html").read_text()
    broken = shutil.copytree(run, tmp_path / "broken")
    (broken / "journal.jsonl").write_text('{"format": 99}\n')
    Page(broken, tiny).write("finished")
    assert "What the supervisor did is not known" in (broken / "page.html").read_text()


def test_many_grids_and_lines_do_not_make_it_large(run: Path, tiny: Config, tmp_path: Path) -> None:
    many = shutil.copytree(run, tmp_path / "many")
    (grid, *_) = sorted(many.glob("samples-*.png"))
    for images in range(1, 200):
        shutil.copy(grid, many / f"samples-{images:09d}.png")
    page = Page(many, tiny)
    page.write("finished")
    shown = re.findall(r'data-images="(\d+)"', page.path.read_text())
    assert 12 <= len(shown) <= 24
    assert shown[-1] == sorted(many.glob("samples-*"))[-1].stem[8:].lstrip("0")
    lines = [{"images": at, "frechet": 1 / (at + 1)} for at in range(100_000)]
    assert len(curves.draw(lines, 100_000)) < 20_000


@pytest.mark.parametrize("values", [[1.0], [1.0, 1.0], [float("nan"), 2.0], [-1.0, 5.0], [1e-9, 1e9], []])
def test_curves_of_any_values(values: list[float]) -> None:
    lines = [{"images": 10 * at, "frechet": value} for at, value in enumerate(values)]
    drawn = str(curves.draw(lines, 100))
    assert bool(drawn) == bool(values)
    assert "nan" not in drawn
    assert all(
        0 <= float(y) <= curves.HEIGHT
        for y in re.findall(r"[\d.]+,(-?[\d.]+)", "".join(re.findall(r'points="([^"]*)"', drawn)))
    )


def test_its_colours_are_those_of_the_service() -> None:
    top = Path(__file__).parents[3]
    files = top / "service" / "http" / "ui" / "static" / "style.css", top / "training" / "reporting" / "page.css"
    service, ours = (dict(re.findall(r"^  --([\w-]+): (.*);$", file.read_text(), re.M)) for file in files)
    shared = service.keys() & ours.keys()
    assert len(shared) > 10
    assert {name: ours[name] for name in shared} == {name: service[name] for name in shared}
