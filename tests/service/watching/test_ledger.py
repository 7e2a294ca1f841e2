"""The ledger: however rows are split over workers, their sum is one worker's; what was counted stays."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentserve.service.watching.ledger import Counts, Ledger
from tests.conftest import examples

LAYOUT = {"rows": (3,), "bins": (3, 2, 4), "none": (3, 0), "sent": (1,)}

# A worker of its own: counts `sys.argv[2]` rows and ends, or is killed by itself.
_WORKER = f"""
import os, signal, sys
from pathlib import Path
import numpy as np
from latentserve.service.watching.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]), {LAYOUT!r})
counts = {{name: np.ones(shape) for name, shape in {LAYOUT!r}.items()}}
for _ in range(int(sys.argv[2])):
    ledger.add(counts)
if sys.argv[3] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


def counts(seed: int) -> Counts:
    rng = np.random.default_rng(seed)
    return {name: rng.integers(0, 1000, shape) for name, shape in LAYOUT.items()}


def assert_equal(found: Counts, expected: Counts) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert np.array_equal(found[name], values), name


def added(parts: list[Counts]) -> dict[str, Any]:
    return {name: sum((part[name] for part in parts), np.zeros(shape)) for name, shape in LAYOUT.items()}


@settings(max_examples=examples(30))
@given(split=st.lists(st.integers(0, 4), max_size=20))
def test_any_split_over_ledgers_adds_up(split: list[int]) -> None:
    """Whole numbers below 2^53: the sums are exact, in any order."""
    with TemporaryDirectory() as name:
        ledgers = [Ledger(Path(name), LAYOUT) for _ in range(5)]
        blocks = [counts(seed) for seed in range(len(split))]
        for worker, block in zip(split, blocks, strict=True):
            ledgers[worker].add(block)
        for ledger in ledgers:
            assert_equal(ledger.total(), added(blocks))


def test_workers_of_their_own_add_up_alive_dead_or_killed(tmp_path: Path) -> None:
    own = Ledger(tmp_path, LAYOUT)
    own.add(counts(1))
    for rows, end in ((3, "ends"), (4, "killed")):
        done = subprocess.run([sys.executable, "-c", _WORKER, tmp_path, str(rows), end], check=False)
        assert done.returncode == (-9 if end == "killed" else 0)
    total = own.total()
    for name, values in counts(1).items():
        assert np.array_equal(total[name], values + 7)


def test_a_process_of_an_old_number_takes_nothing_away(tmp_path: Path) -> None:
    """The system gives numbers of processes again, in a container soon."""
    Ledger(tmp_path, LAYOUT).add(counts(1))
    again = Ledger(tmp_path, LAYOUT)
    again.add(counts(2))
    assert_equal(again.total(), added([counts(1), counts(2)]))


def test_another_layout_is_another_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, LAYOUT)
    ledger.add(counts(1))
    # The same number of values, named or shaped otherwise.
    others = [{**LAYOUT, "bins": (3, 4, 2)}, {("got" if name == "sent" else name): of for name, of in LAYOUT.items()}]
    for layout in others:
        other = Ledger(tmp_path, layout)
        other.add({name: np.full(shape, 7) for name, shape in layout.items()})
        assert not any(values.sum() - 7 * values.size for values in other.total().values())
    assert_equal(ledger.total(), counts(1))


def test_what_is_no_ledger_is_not_counted(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, LAYOUT)
    ledger.add(counts(1))
    (file,) = tmp_path.iterdir()
    for name in (f"more{file.name}", f"{file.stem}.part", "verdict.json"):
        (tmp_path / name).write_bytes(b"")
    assert_equal(ledger.total(), counts(1))


def test_the_file_names_its_process(tmp_path: Path) -> None:
    Ledger(tmp_path, LAYOUT)
    (file,) = tmp_path.iterdir()
    assert file.name.split("_")[1].startswith(f"{os.getpid()}-")


def test_what_workers_counted_that_have_ended_is_in_one_file(tmp_path: Path) -> None:
    for number in range(3):
        subprocess.run([sys.executable, "-c", _WORKER, tmp_path, str(number), "killed"], check=False)
    own = Ledger(tmp_path, LAYOUT)
    own.add(counts(1))
    before = own.total()
    assert len(list(tmp_path.glob("*.counts"))) == 4
    own.fold()
    assert len(list(tmp_path.glob("*.counts"))) == 2
    assert_equal(own.total(), before)
    assert_equal(before, {name: values + 3 for name, values in counts(1).items()})


def test_a_worker_for_whom_there_is_no_room_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    ledger = Ledger(tmp_path, LAYOUT)
    ledger.add(counts(1))
    assert not any(values.any() for values in ledger.total().values())
