"""A search finds what a client finds that looks at every row, however many are looked at at a time, and goes on where
it ended."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentserve.service.bundle import Condition, Manifest, read_bundle
from latentserve.service.errors import BudgetError, InvalidError, TooLargeError
from latentserve.service.sampling.choosing.choice import search_request
from latentserve.service.sampling.choosing.search import Search
from latentserve.service.sampling.fields import SampleFields
from latentserve.service.sampling.samples import Samples
from tests.service.sampling.choosing.tables import COLUMNS, NAMES, SPEC

ROWS = 600  # of which everything is known
RANDOM = np.random.default_rng(0)
TABLE = np.tile(np.float32([0, 0, 0, 0, 30, 0, 0, 0, 0, 0]), (ROWS, 1))
TABLE[:, NAMES.index("age")] = RANDOM.integers(-1, 60, ROWS)
TABLE[:, NAMES.index("word")] = RANDOM.choice([0, 1, 2, 3], ROWS, p=[0.6, 0.25, 0.1, 0.05])
LABELS = RANDOM.integers(0, 10, ROWS)
SCORES = RANDOM.normal(size=ROWS).round(1).astype(np.float32)
SCORES[::50] = np.nan
ANGLES = RANDOM.uniform(-1, 1, (ROWS, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def table(bundle: Path) -> Manifest:
    conditions = [Condition(name="angle", range=(-1, 1))]
    return read_bundle(bundle).manifest.model_copy(update={"sample": SPEC, "conditions": conditions})


def find(table: Manifest, sizes: list[int], **fields: Any) -> tuple[list[int], Search]:
    """The numbers of what is found in the rows above, looked at so many at a time."""
    request, choice = search_request(SampleFields.of(seed=1, **fields), table, 10**6)
    assert choice is not None
    search = Search(choice, table, request.offset)
    found: list[int] = []
    start, turn = request.offset, 0
    while start < request.offset + request.n and not search.done:
        stop = min(start + sizes[turn % len(sizes)], request.offset + request.n)
        assert stop <= ROWS
        rows = search.candidates(Samples(TABLE[start:stop], LABELS[start:stop], ANGLES[start:stop]))
        if search.scored:
            rows.scores = SCORES[rows.numbers]
        chosen = search.choose(rows)
        assert chosen.numbers is not None
        assert np.array_equal(chosen.samples, TABLE[chosen.numbers])
        assert chosen.labels is not None
        assert np.array_equal(chosen.labels, LABELS[chosen.numbers])
        found += chosen.numbers.tolist()
        start, turn = stop, turn + 1
        assert search.expected >= 1
    search.end()
    assert search.found == len(found)
    return found, search


SIZES = st.lists(st.integers(1, 50), min_size=1, max_size=4)
WHERE = {"age": {"min": 30, "max": 40}, "$label": {"in": [0, 1, 2, "digit 7"]}}
AGE = TABLE[:, NAMES.index("age")]
PASSING = np.flatnonzero((AGE >= 30) & (AGE <= 40) & np.isin(LABELS, [0, 1, 2, 7])).tolist()
WORD = TABLE[:, NAMES.index("word")].astype(int).tolist()


@given(n=st.integers(1, 15), offset=st.integers(0, 100), sizes=SIZES)
def test_the_first_rows_that_pass(table: Manifest, n: int, offset: int, sizes: list[int]) -> None:
    found, search = find(table, sizes, n=n, offset=offset, where=WHERE, budget=500)
    kept = [number for number in PASSING if number >= offset][:n]
    assert found == kept
    assert search.next_offset == kept[-1] + 1
    assert search.looked_at == search.next_offset - offset


@given(cuts=st.lists(st.integers(1, 30), max_size=5), sizes=SIZES)
def test_pages_are_the_whole(table: Manifest, cuts: list[int], sizes: list[int]) -> None:
    whole = find(table, [50], n=30, where=WHERE, budget=ROWS)[0]
    pages: list[int] = []
    offset = 0
    for start, stop in pairwise(sorted({0, 30, *cuts})):
        page, search = find(table, sizes, n=stop - start, offset=offset, where=WHERE, budget=ROWS - offset)
        pages += page
        offset = search.next_offset
    assert pages == whole


@given(n=st.integers(1, 8), of=st.integers(2, 20), offset=st.integers(0, 50), sizes=SIZES)
def test_the_best_of_each_group(table: Manifest, n: int, of: int, offset: int, sizes: list[int]) -> None:
    found, search = find(table, sizes, n=n, offset=offset, select={"of": of})
    scores = np.nan_to_num(SCORES[offset : offset + n * of], nan=-np.inf).reshape(n, of)
    assert found == (offset + np.arange(n) * of + scores.argmax(1)).tolist()
    assert search.next_offset == offset + n * of


@given(n=st.integers(1, 8), of=st.integers(2, 9), sizes=SIZES)
def test_the_best_of_those_that_pass(table: Manifest, n: int, of: int, sizes: list[int]) -> None:
    found, search = find(table, sizes, n=n, select={"of": of}, where=WHERE, budget=ROWS - ROWS % of)
    groups: dict[int, list[int]] = {}
    for number in PASSING:
        groups.setdefault(number // of, []).append(number)
    best = [max(group, key=lambda row: (np.nan_to_num(SCORES[row], nan=-np.inf), -row)) for group in groups.values()]
    assert found == best[:n]
    assert search.next_offset == (best[n - 1] // of + 1) * of


@given(low=st.floats(-1, 1), n=st.integers(1, 10), sizes=SIZES)
def test_scores_within_bounds(table: Manifest, low: float, n: int, sizes: list[int]) -> None:
    found, _ = find(table, sizes, n=n, where={"$score": {"min": low}}, budget=ROWS)
    assert found == [row for row, score in enumerate(SCORES.tolist()) if float(str(round(score, 1))) >= low][:n]


@given(low=st.floats(-1, 0.5, width=32), n=st.integers(1, 10), sizes=SIZES)
def test_conditions_within_bounds(table: Manifest, low: float, n: int, sizes: list[int]) -> None:
    where = {"$condition.angle": {"min": low}, "age": {"min": 30}}
    found, _ = find(table, sizes, n=n, where=where, budget=ROWS)
    assert found == np.flatnonzero((ANGLES[:, 0] >= np.float32(low)) & (AGE >= 30))[:n].tolist()


@given(rounds=st.lists(st.integers(1, 3), min_size=1, max_size=3), sizes=SIZES)
def test_balanced_pages(table: Manifest, rounds: list[int], sizes: list[int]) -> None:
    """As many of each category, in rounds; pages of whole rounds are the whole."""
    whole = find(table, [50], n=3 * sum(rounds), balance="word", budget=ROWS)[0]
    words = [WORD[number] for number in whole]
    assert all(sorted(words[start : start + 3]) == [0, 1, 3] for start in range(0, len(words), 3))
    assert whole == sorted(whole)
    pages: list[int] = []
    offset = 0
    for count in rounds:
        page, search = find(table, sizes, n=3 * count, offset=offset, balance="word", budget=ROWS - offset)
        pages += page
        offset = search.next_offset
    assert pages == whole


def test_balance_among_what_passes(table: Manifest) -> None:
    where = {"word": {"in": ["Private", "Self"]}, "age": {"min": 20}}
    found, _ = find(table, [37], n=8, balance="word", where=where, budget=ROWS)
    assert sorted(WORD[number] for number in found) == [0] * 4 + [3] * 4
    assert min(AGE[found]) >= 20
    found, _ = find(table, [37], n=25, balance="$label", budget=ROWS)
    assert set(np.bincount(LABELS[found], minlength=10)) == {2, 3}
    found, _ = find(table, [37], n=6, balance="$label", where={"$label": {"in": [3, 4]}}, budget=ROWS)
    assert np.bincount(LABELS[found]).tolist() == [0, 0, 0, 3, 3]
    best, _ = find(table, [37], n=6, balance="word", select={"of": 4}, budget=ROWS)
    assert sorted(WORD[number] for number in best) == [0, 0, 1, 1, 3, 3]


def test_where_the_budget_ends(table: Manifest) -> None:
    with pytest.raises(BudgetError, match="of 100 rows") as ended:
        find(table, [30], n=50, where=WHERE, budget=100)
    passed = sum(number < 100 for number in PASSING)
    assert (ended.value.looked_at, ended.value.passed) == (100, passed)
    found, search = find(table, [30], n=50, where=WHERE, budget=100, allow_fewer=True)
    assert found == PASSING[:passed]
    assert (search.looked_at, search.next_offset) == (100, 100)
    with pytest.raises(BudgetError, match="none more is 'Self'"):
        find(table, [10], n=3, balance="word", where={"word": {"in": ["Private", "Self"]}}, offset=1, budget=5)
    found, search = find(table, [7], n=9, select={"of": 8}, budget=30, allow_fewer=True)
    assert (len(found), search.next_offset) == (3, 24)


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"budget": 5}, "budget", "where, balance or select"),
    ({"allow_fewer": False}, "allow_fewer", "where, balance or select"),
    ({"where": []}, "where", "dictionary"),
    ({"where": {}}, "where", "is empty"),
    ({"balance": "age"}, "balance", "age has no categories"),
    ({"balance": "nope"}, "balance", "no such column"),
    ({"balance": 3}, "balance", "string"),
    ({"balance": "$label", "label": 3}, "balance", "excludes label"),
    ({"balance": "word", "where": {"word": {"missing": True}}}, "balance", "where leaves no value"),
    ({"where": {"$label": {"in": [1]}}, "label": 3}, "where.$label", "excludes label"),
    ({"where": {"$condition.angle": {"min": 0}}, "condition": {"angle": 1}}, "where.$condition.angle", "excludes cond"),
    ({"select": {"of": 1}}, "select.of", "2 to 1024"),
    ({"select": {"of": 8.0}}, "select.of", "2 to 1024"),
    ({"select": {"of": True}}, "select.of", "2 to 1024"),
    ({"select": {}}, "select.of", "2 to 1024"),
    ({"select": {"of": 8, "by": "score"}}, "select.by", "unknown field"),
    ({"select": 8}, "select", "dictionary"),
    ({"select": {"of": 8}, "labels": [1, 2]}, "labels", "excludes select"),
    ({"where": WHERE, "latents": [[0] * 8]}, "latents", "excludes where"),
    ({"balance": "word", "conditions": [{}]}, "conditions", "excludes balance"),
    ({"where": WHERE, "budget": 0}, "budget", "greater than or equal to 1"),
    ({"where": WHERE, "n": 10, "budget": 9}, "budget", "is 9; 10 rows have to"),
    ({"select": {"of": 8}, "n": 2, "budget": 15}, "budget", "is 15; 16 rows have to"),
    ({"where": WHERE, "n": 10, "offset": 2**53 - 9}, "offset", "9 rows follow; 10"),
    ({"where": WHERE, "allow_fewer": 1}, "allow_fewer", "boolean"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "field", "reason"), REFUSED, ids=[f"{f} {r}" for _, f, r in REFUSED])
def test_what_is_refused(table: Manifest, fields: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(InvalidError) as refused:
        search_request(SampleFields.of(**fields), table, 10**6)
    assert refused.value.field == field
    assert reason in refused.value.reason


def test_budgets(table: Manifest, plain_bundle: Path) -> None:
    def budget(**fields: Any) -> int:
        return search_request(SampleFields.of(**fields), table, 10**6, 10**7)[0].n

    assert budget(where=WHERE) == 200
    assert budget(where=WHERE, n=30) == 6000
    assert budget(where=WHERE, n=10**6) == 10**7
    assert budget(where=WHERE, n=30, budget=10**7) == 10**7
    assert budget(select={"of": 8}, n=30) == 240
    assert budget(select={"of": 300}, n=3, balance="word") == 900
    assert budget(select={"of": 7}, n=3, where=WHERE) == 595
    assert budget(select={"of": 7}, n=3, where=WHERE, offset=2**53 - 25) == 21
    for fields in (
        {"where": WHERE, "budget": 10**7 + 1},
        {"select": {"of": 11}, "n": 10**6},
        {"balance": "word", "n": 10**6 + 1},
    ):
        with pytest.raises(TooLargeError):
            budget(**fields)
    with pytest.raises(InvalidError, match="has no critic"):
        search_request(SampleFields.of(select={"of": 8}), read_bundle(plain_bundle).manifest, 10)


def test_a_request_for_all_rows_is_as_it_was(table: Manifest) -> None:
    request, choice = search_request(SampleFields.of(n=3, seed=4, where=None), table, 10)
    assert choice is None
    assert (request.n, request.seed) == (3, 4)
    assert len(COLUMNS) == TABLE.shape[1]
