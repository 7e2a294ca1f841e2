"""What the supervisor did is told in words, of a real run's folder and whatever lies in it."""

import re
import shutil
from pathlib import Path

import pytest

from latentserve.training.evaluation.journal import curves, supervision
from latentserve.training.evaluation.subject import Subject, open_subject
from latentserve.training.recipe.config import Config
from latentserve.training.supervising import Action, Changes, Journal
from latentserve.training.supervising.remedies import LADDERS, change
from latentserve.training.supervising.words import DEEDS, deed


@pytest.fixture
def subject(run: Path, tmp_path: Path) -> Subject:
    return open_subject(shutil.copytree(run, tmp_path / "run"))


def action(images: int, fault: str, name: str, before: object, after: object, applied: bool = True) -> Action:
    return Action(images, fault, "diversity", (0.6, 0.125), 0.2, name, before, after, applied)


def test_a_run_that_went_well_and_a_bundle(subject: Subject, run_bundle: Path) -> None:
    Journal(subject.path, 0).write([])
    found = supervision(subject)
    assert found.sentence == "The supervisor watched the training, found nothing wrong, and changed nothing."
    assert found.events == found.to_json() == []
    assert supervision(open_subject(run_bundle)) is None


def test_what_was_done_is_told_once_a_fault_with_when_why_and_from_what_to_what(subject: Subject) -> None:
    Journal(subject.path, 0).write(
        [
            action(1_280, "non-finite values", "skip", 0, 2),
            action(12_800, "mode collapse", "rollback", 12_800, 6_400),
            action(12_800, "mode collapse", "lr", 1.0, 0.5),
            action(12_800, "mode collapse", "gamma", 0.0, 1.0),
            action(19_200, "stall", "tell", None, None, applied=False),
            action(25_600, "mode collapse", "rollback", 25_600, 0),
            action(25_600, "mode collapse", "stop", False, True),
        ]
    )
    found = supervision(subject)
    assert found.sentence == (
        "The supervisor found something wrong 4 times (non-finite values, mode collapse, stall), and changed the "
        "training twice; it ended the training early, at 25,600 images."
    )
    assert found.events == [
        "At 1,280 images: non-finite values (diversity 0.125; limit 0.2). It skipped 2 steps whose losses or gradients "
        "were no finite numbers.",
        "At 12,800 images: mode collapse (diversity 0.125; limit 0.2). It returned the training from 12,800 images to "
        "the best state, at 6,400 images, lowered the generator's learning rate from 1 to 0.5 times the configured "
        "one, and turned on the penalties of the critic's gradients (gamma), with their default weight.",
        "At 19,200 images: stall (diversity 0.125; limit 0.2). It changed nothing, having no remedy left.",
        "At 25,600 images: mode collapse (diversity 0.125; limit 0.2). It returned the training from 25,600 images to "
        "its beginning, and ended the training early.",
    ]
    assert found.changes == [12_800, 25_600]
    assert found.to_json()[2]["action"] == "lr"


def test_what_an_observer_would_have_done(subject: Subject) -> None:
    Journal(subject.path, 0).write([action(640, "mode collapse", "n_critic", 5, 1, applied=False)])
    found = supervision(subject)
    assert "changed nothing, as it was there to observe; it would have acted once" in found.sentence
    assert found.changes == []
    assert found.events[0].endswith("It would have lowered the critic's steps for each of the generator's from 5 to 1.")


def test_every_action_has_words(tiny: Config) -> None:
    steps = {step for ladder in LADDERS.values() for rung in ladder for step in rung}
    documented = re.findall(r"`(\w+)`", Action.__doc__.partition("action: ")[2].partition("before, after")[0])
    assert {name for name, _ in steps} | {"skip", "tell"} == set(documented) - {"Changes"} == set(DEEDS)
    # By what each does to a run that it has a use for.
    config = tiny.model_copy(update={"loss": "minimax", "n_critic": 5})
    for step in steps:
        before, after, _ = change(step, config, Changes(), {"critic_gradient_norm": 3.0}, "image")
        if step[0] == "rollback":
            before, after = 640, 0
        words = deed(step[0], before, after)
        assert words.split()[0].endswith("ed")
        assert "None" not in words


def test_a_journal_of_another_version_is_named(subject: Subject) -> None:
    (subject.path / "journal.jsonl").write_text('{"format": 2, "what": "nobody knows"}\n')
    found = supervision(subject)
    assert found.to_json() is None
    assert found.events == []
    assert "journal.jsonl: a journal of version 2; this latentserve reads version 1" in found.sentence
    (subject.path / "journal.jsonl").write_bytes(b"\xff\xfe{}\n")
    assert "cannot be read" in supervision(subject).sentence


def test_statistics_cut_in_the_middle_of_a_line(subject: Subject) -> None:
    file = subject.path / "stats.jsonl"
    file.write_text('{"images": 1}\n{"images": 2, "criti')
    assert curves(subject) == ([{"images": 1}], None)
    file.write_bytes(b'{"images": 1}\n\xff}\n')
    lines, complaint = curves(subject)
    assert lines == []
    assert complaint.startswith(f"{file}: holds what is no line of statistics")
    file.unlink()
    assert curves(subject) == ([], None)
