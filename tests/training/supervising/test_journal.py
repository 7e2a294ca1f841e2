from pathlib import Path

import pytest

from latentserve.training.errors import RunError
from latentserve.training.supervising import Action, Journal, read_journal
from latentserve.training.supervising.journal import JOURNAL


def action(images: int) -> Action:
    return Action(images, "divergence", "critic_loss", (1.0, 150.0), 100.0, "lr", 1.0, 0.1, True)


def test_what_is_written_is_read_and_later_entries_are_dropped_on_resume(tmp_path: Path) -> None:
    assert read_journal(tmp_path) == []
    journal = Journal(tmp_path, 0)
    assert not (tmp_path / JOURNAL).exists()
    journal.write([action(100), action(200)])
    journal.write([action(300)])
    assert read_journal(tmp_path) == [action(100), action(200), action(300)]
    Journal(tmp_path, 200).write([action(250)])
    assert [each.images for each in read_journal(tmp_path)] == [100, 200, 250]


def test_a_line_cut_in_the_middle_is_left_out(tmp_path: Path) -> None:
    Journal(tmp_path, 0).write([action(100), action(200)])
    path = tmp_path / JOURNAL
    path.write_text(path.read_text()[:-30])
    assert read_journal(tmp_path) == [action(100)]
    Journal(tmp_path, 500).write([action(300)])
    assert read_journal(tmp_path) == [action(100), action(300)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            '{"format": 2, "fault": "divergence"}',
            "journal.jsonl: a journal of version 2; this latentserve reads version 1",
        ),
        ('{"format": 1, "fault": "divergence"}', "journal.jsonl: not a journal"),
        ("[1, {}]}", "journal.jsonl: not a journal"),
        ("{nothing}", "journal.jsonl: not a journal"),
    ],
)
def test_another_version_is_named_in_one_line(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / JOURNAL).write_text(line + "\n")
    with pytest.raises(RunError, match=words) as raised:
        Journal(tmp_path, 0)
    assert "\n" not in str(raised.value)
