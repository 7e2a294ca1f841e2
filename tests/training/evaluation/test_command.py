"""`latentserve evaluate`, from the command line to the files it leaves."""

import base64
import hashlib
import json
import re
import shutil
from contextlib import chdir
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from latentserve.service.errors import LatentserveError
from latentserve.training.evaluation.command import evaluate
from latentserve.training.evaluation.statistic import MEANINGS
from latentserve.training.supervising import Action, Journal

TOP = Path(__file__).parents[3]


def called(*words: object) -> str:
    """What it prints; raises what it complains of."""
    done = CliRunner().invoke(evaluate, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@dataclass(frozen=True)
class Documented:
    """What the three commands of the page printed, and the folders that they left."""

    printed: list[str]
    report: Path  # of the run, whose journal tells of one action
    of_bundle: Path
    comparison: Path  # of both, when the journal was another version's, and the statistics cut


@pytest.fixture(scope="module")
def documented(run: Path, run_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Documented:
    folder = tmp_path_factory.mktemp("documented")
    (folder / "bundles").mkdir()
    (folder / "bundles" / "digits").symlink_to(run_bundle)
    treated = Path(shutil.copytree(run, folder / "runs" / "digits"))  # others read the journal, too
    Journal(treated, 0).write([Action(400, "plateau", "frechet", (3.0,), 2.0, "lr", 1.0, 0.5, applied=True)])
    page = (TOP / "docs" / "evaluation.md").read_text()
    blocks = re.findall(r"^```bash\nlatentserve evaluate (.*?)\n```$", page, re.M)
    assert len(blocks) == page.count("```bash")
    printed = []
    with chdir(folder):
        for words, samples, left in zip(blocks, (200, 60, 200), ("of-run", "of-bundle", "comparison"), strict=True):
            if left == "comparison":
                (treated / "journal.jsonl").write_text('{"format": 2, "what": "nobody knows"}\n')
                stats = treated / "stats.jsonl"
                stats.write_text(stats.read_text()[:-20])
            printed.append(called(*words.split(), "--samples", samples))
            Path(words.split()[-1]).rename(left)
    return Documented(printed, folder / "of-run", folder / "of-bundle", folder / "comparison")


@pytest.fixture
def report(documented: Documented) -> Path:
    printed = documented.printed[0]
    assert "This generator is not good" in printed
    assert "report/report.html: open it in a browser" in printed
    return documented.report


def test_every_statistic_says_what_it_stands_beside(report: Path) -> None:
    told = json.loads((report / "report.json").read_text())
    assert told["format"] == "latentserve-evaluation-1"
    assert told["n"] == 200
    assert told["data"]["held_out"] == {"split": "test", "samples": 899, "unseen": True}
    assert told["verdict"]["grade"] == "poor"
    assert told["supervisor"][0]["fault"] == "plateau"
    statistics = told["statistics"]
    of_features = {key.removesuffix("_classifier") for key in statistics if key.endswith("_classifier")}
    assert of_features == {
        "frechet", "kernel", "precision", "recall", "density", "coverage", "holes", "mahalanobis", "sliced_wasserstein",
        "c2st",
    }  # fmt: skip
    assert {"memorisation", "copies", "class_balance", "tstr", "trts", "frechet_random", "c2st_pixels"} <= set(
        statistics
    )
    for key, each in statistics.items():
        assert each["n"] == 200
        assert each["split"] == "train; floor: test"
        assert each["floor"] is not None
        low, high = each["interval"]
        assert low <= each["value"] <= high
        assert low >= 0 or key.startswith("kernel")
        assert high <= 1 or not key.startswith(("precision", "recall", "coverage", "holes", "copies", "t", "class_"))
        assert each["features"] is None or each["features"] in told["features"]
    assert statistics["tstr"]["value"] < statistics["tstr"]["floor"]
    assert statistics["frechet_classifier"]["value"] > 3 * statistics["frechet_classifier"]["floor"]
    assert len(told["features"]["classifier"]["sha256"]) == 64
    assert len(told["classes"]) == 10
    assert told["diversity"] == pytest.approx(np.mean([row["diversity"] for row in told["classes"]]))


class Links(HTMLParser):
    """Everything that a page refers to, and whether its elements are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attributes if name in ("src", "href")]
        if tag not in ("img", "meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(report: Path) -> None:
    text = (report / "report.html").read_text()
    page = Links()
    page.feed(text)
    page.close()
    assert page.open == []
    assert len(page.sources) > 20
    assert page.sources.pop(0) == "data:,"  # no icon is asked for
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    for kind, content in re.findall(r"<(style|script)>(.*?)</\1>", text, re.S):  # a browser runs these and nothing else
        told = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{told}'" in text
    assert "default-src 'none'" in text
    assert not re.search(r"\sstyle=|\son[a-z]+=", text)
    assert text.count("<polyline") >= 4
    assert not re.search(r"https?://", re.sub(r"base64,[^\"]*", "", text))
    assert text.count('data-answer="real"') == text.count('data-answer="generated"') == 10
    for words in (
        "This generator is not good",
        "found something wrong once (plateau)",
        "from 1 to 0.5",
        "real data (floor)",
        "Class by class",
        "Dotted lines: the supervisor changed the training.",
        "A generator is called good where none of these holds",
    ):
        assert words in text
    for words in ("This generator is not good", "What is wrong", "At 400 images: plateau"):
        assert text.index(words) < text.index("<h2>")
    assert all(meaning.sentence.replace("'", "&#x27;") in text for name, meaning in MEANINGS.items()
               if name not in ("conditions", "columns", "pairs", "column_wasserstein"))  # fmt: skip


def test_a_run_and_its_bundle_get_the_same_numbers_and_no_difference(documented: Documented, report: Path) -> None:
    assert "No difference between" in documented.printed[2]
    told = json.loads((documented.comparison / "report.json").read_text())
    alone = json.loads((report / "report.json").read_text())["statistics"]
    for key, each in told["comparison"]["statistics"].items():
        assert each["real"] is False
        assert each["first"] == pytest.approx(alone[key]["value"], rel=1e-6, abs=1e-9)
        # A classifier that learns from either, or a sample on the edge, may tell 1e-7 apart.
        assert each["second"] == pytest.approx(each["first"], rel=1e-2, abs=0.02)
    distances = told["comparison"]["statistics"]["frechet_classifier"]
    assert distances["second"] == pytest.approx(distances["first"], rel=1e-4)
    assert "Which differences are real" in (documented.comparison / "report.html").read_text()


def test_a_bundle_is_evaluated_with_features_of_its_own(documented: Documented) -> None:
    told = json.loads((documented.of_bundle / "report.json").read_text())
    assert told["n"] == 60
    assert {"classifier", "random", "critic"} == set(told["features"])


def test_a_journal_of_another_version_and_cut_statistics_stop_no_report(documented: Documented) -> None:
    line = "runs/digits/journal.jsonl: a journal of version 2; this latentserve reads version 1"
    told = json.loads((documented.comparison / "report.json").read_text())["first"]
    assert told["supervisor"] is None
    assert line in told["supervision"]
    assert any(line in warning for warning in told["warnings"])
    page = (documented.comparison / "report.html").read_text()
    assert page.index(line) < page.index("<h2>")


def test_mistakes_are_told_in_a_line(run: Path, run_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    for words, complaint in (
        ((run_bundle, "--out", tmp_path / "out"), "--data: is needed"),
        ((run_bundle, "--data", "ring", "--out", tmp_path / "out"), "ring: holds samples that are array of shape [2]"),
        ((tmp_path, "--out", tmp_path / "out"), "neither a run"),
        ((run, run, run, "--out", tmp_path / "out"), "3 runs and bundles"),
        ((run, "--out", tmp_path / "file"), "file: cannot be written"),
    ):
        with pytest.raises(LatentserveError) as error:
            called(*words)
        assert complaint in str(error.value)
        assert "\n" not in str(error.value)
