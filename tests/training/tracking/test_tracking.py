"""Trackers: what they are told, by whom they are found, and that no run ends by them."""

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from latentserve.training import tracking
from latentserve.training.data import Dataset
from latentserve.training.errors import TrainingError
from latentserve.training.recipe.config import Config
from latentserve.training.run import loop, prepare
from latentserve.training.tracking import STATE, Tracking
from tests.training.conftest import stop_after

WITHOUT = importlib.util.find_spec("tensorboard") is None

PACKAGE = """
import json
import re

class Remembering:
    def __init__(self, run):
        if run.recipe == "refused":
            raise RuntimeError("no\\nlogin")
        self.id = run.id or f"{run.recipe}-{run.config['batch']}"
        self.path, self.told = run.folder / "told.jsonl", []
        self.tell("open", run.id)

    def tell(self, *what):
        with self.path.open("a") as file:
            print(json.dumps(what), file=file)

    def line(self, images, line):
        if self.id == "failing-32" and images > 400:
            raise OSError("the network is away")
        self.tell("line", images, line["critic_loss"])

    def picture(self, images, name, path):
        self.tell(name, images, path.name)

    def close(self, ending):
        self.tell("close", ending)

track = Remembering
"""


@pytest.fixture
def remembering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that is installed, and brings a tracker by an entry point."""
    site = tmp_path / "site"
    (site / "remembering-1.dist-info").mkdir(parents=True)
    (site / "remembering-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: remembering\nVersion: 1\n")
    (site / "remembering-1.dist-info" / "entry_points.txt").write_text(
        f"[{tracking.GROUP}]\nremembering = remembering:track\nabsent = remembering_absent:track\n"
    )
    (site / "remembering.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(str(site))
    yield
    sys.modules.pop("remembering", None)


def sitting(config: Config, dataset: Dataset, run: Path, *names: str, steps: int = 99, recipe: str = "tiny") -> None:
    tracked = Tracking(names, run, recipe, config.model_dump(mode="json"))
    seen = loop.train(config, dataset, run, stop_after(steps), [tracked.show])
    tracked.close("finished" if seen >= config.images else "saved")


def told(run: Path) -> list[list[Any]]:
    return [json.loads(line) for line in (run / "told.jsonl").read_text().splitlines()]


@pytest.mark.usefixtures("remembering")
def test_it_is_told_all_in_order_and_nothing_twice(tiny: Config, digits: Dataset, tmp_path: Path) -> None:
    """Over two sittings, the first of which went on after its last checkpoint, and left half a picture."""
    run = tmp_path / "run"
    prepare(run, tiny)
    sitting(tiny, digits, run, "remembering", steps=15)
    (run / "samples-000000700.png").write_bytes((run / "reals.png").read_bytes()[:100])
    known = json.loads((run / STATE).read_text())
    assert known == {"remembering": {"id": "tiny-32", "lines": 416, "pictures": 512}}
    sitting(tiny, digits, run, "remembering")
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    loss = {line["images"]: line["critic_loss"] for line in lines}
    assert told(run) == [
        ["open", None],
        ["reals", 0, "reals.png"],
        ["line", 224, loss[224]],
        ["line", 416, loss[416]],
        ["samples", 416, "samples-000000416.png"],
        ["samples", 512, "samples-000000512.png"],
        ["close", "saved"],
        ["open", "tiny-32"],
        ["line", 608, loss[608]],
        ["line", 800, loss[800]],
        ["samples", 800, "samples-000000800.png"],
        ["line", 1024, loss[1024]],
        ["samples", 1024, "samples-000001024.png"],
        ["close", "finished"],
    ]


@pytest.mark.usefixtures("remembering")
def test_one_that_fails_is_let_go_of_and_told_the_rest_by_the_next_sitting(
    tiny: Config, digits: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    prepare(run, tiny)
    sitting(tiny, digits, run, "remembering", recipe="failing")
    (said,) = (record.getMessage() for record in caplog.records if "--track" in record.getMessage())
    assert said == "--track remembering: the network is away; it is told no more of this sitting"
    assert [what[1] for what in told(run) if what[0] == "line"] == [224]
    state = json.loads((run / STATE).read_text())
    state["remembering"]["id"] = "well"  # there is somebody who answers again
    (run / STATE).write_text(json.dumps(state))
    again = Tracking(["remembering"], run, "failing", {"batch": 32})
    for line in (run / "stats.jsonl").read_text().splitlines():
        again.show(json.loads(line))
    again.close("finished")
    assert [what[1] for what in told(run) if what[0] == "line"] == [224, 416, 608, 800, 1024]


@pytest.mark.usefixtures("remembering")
@pytest.mark.parametrize(
    ("name", "recipe", "words"),
    [
        ("wanda", "tiny", "no such tracker: there are absent, mlflow, remembering, tensorboard, wandb"),
        ("absent", "tiny", "the package remembering_absent is not installed"),
        ("remembering", "refused", "no"),
    ],
)
def test_one_that_cannot_begin_is_one_line(tmp_path: Path, name: str, recipe: str, words: str) -> None:
    with pytest.raises(TrainingError) as refused:
        Tracking([name], tmp_path, recipe, {"batch": 32})
    assert str(refused.value).startswith(f"--track {name}: {words}")
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(not WITHOUT, reason="TensorBoard is installed")
def test_where_tensorboard_is_not_installed_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"^--track tensorboard: the package tensorboard is not installed$"):
        Tracking(["tensorboard"], tmp_path, "tiny", {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(WITHOUT, reason="TensorBoard is not installed")
def test_tensorboard_has_curves_and_pictures_and_a_resumed_run_has_them_once(
    tiny: Config, digits: Dataset, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    prepare(tmp_path / "run", tiny)
    for steps in (14, 99):
        sitting(tiny, digits, tmp_path / "run", "tensorboard", steps=steps)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    lines = [json.loads(line) for line in (tmp_path / "run" / "stats.jsonl").read_text().splitlines()]
    curve = [(event.step, event.value) for event in events.Scalars("frechet")]
    assert curve == [(line["images"], pytest.approx(line["frechet"])) for line in lines]
    assert [event.step for event in events.Images("samples")] == [416, 480, 800, 1024]
    assert [event.step for event in events.Images("reals")] == [0]
    assert events.Images("samples")[0].encoded_image_string.startswith(b"\x89PNG")
    assert b"lr.start" in events.Tensors("config/text_summary")[0].tensor_proto.string_val[0]


def test_the_configuration_by_the_names_of_its_fields() -> None:
    run = tracking.Tracked(Path(), "run", "tiny", {"batch": 32, "lr": {"start": 1.0, "end": 0.1}, "augment": []})
    assert run.flat == {"batch": 32, "lr.start": 1.0, "lr.end": 0.1, "augment": []}


def test_the_tracker_of_the_page(tmp_path: Path) -> None:
    """As it stands in docs/runs.md."""
    page = (Path(__file__).parents[3] / "docs" / "runs.md").read_text()
    (program,) = (block for block in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S) if "Notebook" in block)
    names: dict[str, Any] = {}
    exec(program, names)  # noqa: S102
    tracker = names["track"](SimpleNamespace(id=None, name="mine", folder=tmp_path))
    tracker.line(10, {"frechet": 0.5})
    tracker.picture(10, "samples", tmp_path / "samples.png")
    tracker.close("finished")
    assert tracker.id == "mine"
    assert (tmp_path / "notebook.txt").read_text().splitlines() == ["10 0.5", f"10 samples {tmp_path}/samples.png"]
