from pathlib import Path

from training.evaluation.journal import read_lines, supervision, told


def test_a_run_without_a_supervisor(tmp_path: Path) -> None:
    assert supervision(tmp_path) is None
    assert told(None).startswith("No supervisor's journal is there")


def test_what_the_supervisor_did_is_told(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text(
        '{"format": "a header"}\n'
        '{"images": 2000, "fault": "mode_collapse", "action": "lr", "before": 1, "after": 0.5, "applied": true}\n'
        '{"images": 4000, "fault": "plateau", "action": "tell", "applied": false}\n'
    )
    actions = supervision(tmp_path)
    assert [action["images"] for action in actions] == [2000, 4000]
    sentence = told(actions)
    assert "2 times (mode collapse, plateau)" in sentence
    assert "changed the training 1 of these times" in sentence
    assert "nothing to do" in told([])


def test_a_line_cut_in_the_middle_and_a_foreign_one_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "stats.jsonl"
    file.write_bytes(b'{"images": 1}\n[3]\n\xff\xfe\n{"images": 2, "criti')
    assert read_lines(file) == [{"images": 1}]
    assert read_lines(tmp_path / "absent") == []
