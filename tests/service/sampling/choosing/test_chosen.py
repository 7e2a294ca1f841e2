"""Searches on an engine: what they make, what watchers see of it, and what is left when they are given up."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentserve.service.bundle import read_bundle
from latentserve.service.errors import BudgetError
from latentserve.service.sampling.choosing import chosen
from latentserve.service.sampling.choosing.choice import search_request
from latentserve.service.sampling.choosing.chosen import chosen_rows
from latentserve.service.sampling.choosing.search import Search
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.fields import SampleFields
from latentserve.service.sampling.latents import draw_labels
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.sampler import BatchDone, Sampler
from latentserve.service.sampling.samples import Samples
from latentserve.service.sampling.unsent import Unsent

seen: list[BatchDone] = []
unsent = Unsent()


@pytest.fixture(scope="module")
def sampler(engine: Engine) -> Iterator[Sampler]:
    yield from running(engine)


@pytest.fixture(scope="module")
def of_conditions(shower_bundle: Path) -> Iterator[Sampler]:
    """Of a generator with labels and conditions."""
    yield from running(Engine(read_bundle(shower_bundle), "cpu"))


def running(engine: Engine) -> Iterator[Sampler]:
    sampler = Sampler(engine, max_queue_rows=100_000, unsent=unsent, on_batch=seen.append)
    sampler.start()
    yield sampler
    sampler.stop()


def find(sampler: Sampler, **fields: Any) -> tuple[list[Samples], Search]:
    """The parts that come."""
    asyncio.run(sampler.rows(RowsRequest(n=1)))  # what the search before has given up may still be under way
    seen.clear()
    request, choice = search_request(SampleFields.of(seed=5, **fields), sampler.bundle.manifest, 10**6)
    assert choice is not None
    search = Search(choice, sampler.bundle.manifest, request.offset)

    async def all_parts() -> list[Samples]:
        return [part async for part in chosen_rows(sampler, request, search)]

    return asyncio.run(all_parts()), search


def test_watchers_see_all_rows_that_were_looked_at(sampler: Sampler) -> None:
    """And not many that were not."""
    parts, search = find(sampler, n=40, where={"$score": {"min": 0}})
    rows = sorted(
        (request.offset + start, start + count)
        for batch in seen
        for request, start, count in batch.parts
    )  # fmt: skip
    assert rows[0][0] == 0
    assert all(stop == start for (_, stop), (start, _) in itertools.pairwise(rows))
    assert search.looked_at <= rows[-1][1] <= 2 * search.looked_at + 64
    assert {request.arm for batch in seen for request, _, _ in batch.parts} == {"client"}
    (part,) = parts
    assert part.scores is not None
    assert (part.scores >= 0).all()
    assert unsent.used == 0


def test_a_few_rows_do_not_take_a_large_batch(sampler: Sampler) -> None:
    find(sampler, n=1, where={"$label": {"in": [0, 1, 2, 3, 4]}})
    assert sum(count for batch in seen for _, _, count in batch.parts) < 64
    find(sampler, n=3, select={"of": 5})
    assert sum(count for batch in seen for _, _, count in batch.parts) == 15


def test_many_rows_come_in_equal_parts(sampler: Sampler) -> None:
    where = {"$label": {"in": [1, 2, 3, 4, 5, 6, 7, 8, 9]}}
    parts, _ = find(sampler, n=600, where=where)
    assert [len(part.samples) for part in parts] == [256, 256, 88]
    found = Samples.join(parts)
    every = asyncio.run(sampler.rows(RowsRequest(n=1000, seed=5)))
    assert every.labels is not None
    expected = np.flatnonzero(every.labels)[:600]
    assert found.numbers is not None
    assert np.array_equal(found.numbers, expected)
    assert np.array_equal(found.samples, every.samples[expected])


def test_none_is_one_empty_part(sampler: Sampler) -> None:
    never = {"$score": {"min": 1e9}}
    parts, search = find(sampler, n=2, where=never, allow_fewer=True)
    assert [part.samples.shape for part in parts] == [(0, 1, 8, 8)]
    assert (search.found, search.looked_at) == (0, 400)
    with pytest.raises(BudgetError):
        find(sampler, n=2, where=never)


def test_what_is_given_up_leaves_nothing(sampler: Sampler) -> None:
    request, choice = search_request(
        SampleFields.of(n=50_000, seed=1, where={"$label": {"in": [4]}}), sampler.bundle.manifest, 10**6
    )
    assert choice is not None
    search = Search(choice, sampler.bundle.manifest, 0)

    async def one_part() -> None:
        parts = chosen_rows(sampler, request, search)
        await anext(parts)
        await parts.aclose()

    asyncio.run(one_part())
    assert sampler.queued_rows == 0
    assert unsent.used == 0


def test_scores_are_the_same_in_every_company(engine: Engine) -> None:
    request = RowsRequest(n=40, seed=3)
    inputs = request.inputs(engine.bundle.manifest, 0, 40)
    samples = engine.generate(inputs)
    numbers = np.arange(5, 45)
    together = engine.score_fixed(samples, inputs, numbers)
    assert np.allclose(together, engine.score(samples, inputs), rtol=1e-5)
    some = np.array([0, 3, 17, 39])
    assert np.array_equal(engine.score_fixed(samples[some], inputs.take(some), numbers[some]), together[some])


def made_rows() -> np.ndarray:
    """The numbers of the rows that were made, in order; a batch of the search before may have ended late."""
    numbers: list[np.ndarray] = []
    for batch in seen:
        for request, start, count in batch.parts:
            if request.numbers is not None:
                numbers.append(request.numbers[start : start + count])
    return np.sort(np.concatenate(numbers))


@pytest.mark.parametrize(
    ("n", "fields", "spare"),
    [
        (40, {"where": {"$label": {"in": [3]}}}, 0),
        (700, {"where": {"$label": {"in": [3, 5]}}, "offset": 11}, 0),
        (305, {"balance": "$label"}, 0),
        (6, {"balance": "$label", "where": {"$label": {"in": [0, 9]}}}, 0),
        (40, {"where": {"$label": {"in": [3]}, "$score": {"min": 0}}}, 300),
        (3, {"where": {"$label": {"in": [3]}}, "select": {"of": 8}}, 300),
        (60, {"where": {"$label": {"in": [3, 4]}}, "select": {"of": 3}, "offset": 2, "balance": "$label"}, 300),
    ],
)
def test_what_labels_rule_out_is_not_made(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch, n: int, fields: dict[str, Any], spare: int
) -> None:
    """And what is found is what is found where all is made."""
    parts, search = find(sampler, n=n, **fields)
    found = Samples.join(parts)
    passing = fields.get("where", {}).get("$label", {}).get("in", range(10))
    assert found.labels is not None
    assert set(found.labels.tolist()) <= set(passing)
    made = made_rows()
    assert len(made) == len(set(made.tolist()))
    assert len(made) <= n + spare or spare
    assert len(found.samples) <= search.made <= len(made)
    monkeypatch.setattr(Search, "sifts", False)
    all_parts, whole = find(sampler, n=n, **fields)
    every = Samples.join(all_parts)
    assert np.array_equal(found.numbers, every.numbers)
    assert np.array_equal(found.labels, every.labels)
    assert np.allclose(found.samples, every.samples, atol=1e-5)
    assert (search.found, search.looked_at, search.next_offset) == (whole.found, whole.looked_at, whole.next_offset)
    assert search.made < whole.made


@pytest.mark.parametrize("labels_at_a_time", [1, 3, 50, 10**6])
def test_however_many_labels_are_drawn_at_a_time(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch, labels_at_a_time: int
) -> None:
    asked: list[dict[str, Any]] = [
        {"n": 12, "where": {"$label": {"in": [3]}}},
        {"n": 5, "where": {"$label": {"in": [3]}}, "select": {"of": 4}},
        {"n": 9, "where": {"$label": {"in": [3, 4]}, "$score": {"min": 0}}, "balance": "$label"},
        {"n": 50, "where": {"$label": {"in": [3]}, "$score": {"max": 0}}, "budget": 100, "allow_fewer": True},
        {"n": 50, "where": {"$label": {"in": [3]}}, "budget": 2 * 50, "allow_fewer": True, "select": {"of": 2}},
    ]
    whole = [find(sampler, **fields) for fields in asked]
    monkeypatch.setattr(chosen, "_rows_at_a_time", lambda _words: labels_at_a_time)
    for fields, (parts, search) in zip(asked, whole, strict=True):
        again, other = find(sampler, **fields)
        assert np.array_equal(Samples.join(again).numbers, Samples.join(parts).numbers)
        assert (other.found, other.looked_at) == (search.found, search.looked_at)


def test_a_label_that_no_row_has(sampler: Sampler) -> None:
    first = next(row for row in range(100) if draw_labels(8, 10, 5, row, 1)[0] != 3)
    parts, search = find(sampler, n=1, offset=first, budget=1, allow_fewer=True, where={"$label": {"in": [3]}})
    assert ([len(part.samples) for part in parts], search.looked_at, seen) == ([0], 1, [])
    assert parts[0].samples.shape == (0, 1, 8, 8)
    with pytest.raises(BudgetError):
        find(sampler, n=1, offset=first, budget=1, where={"$label": {"in": [3]}, "$score": {"min": 0}})


CONDITIONS = ["$condition.energy", "$condition.angle"]
ENERGETIC = {"$condition.energy": {"min": 50}}


@pytest.mark.parametrize(
    ("n", "fields"),
    [
        (20, {"where": ENERGETIC}),
        (80, {"where": ENERGETIC | {"$label": {"in": ["pion"]}}, "offset": 3}),
        (9, {"where": ENERGETIC, "balance": "$label"}),
        (9, {"where": {"$condition.angle": {"max": 0}}, "condition": {"energy": 7}, "label": 1}),
        (9, {"where": {"$condition.angle": {"max": 0}, **ENERGETIC}, "truncation": 0.5}),
    ],
)
def test_what_conditions_rule_out_is_not_made(
    of_conditions: Sampler, monkeypatch: pytest.MonkeyPatch, n: int, fields: dict[str, Any]
) -> None:
    """And what is found is what is found where all is made; who watches is told of the conditions that were asked of,
    and of no others."""
    parts, search = find(of_conditions, n=n, **fields)
    found = Samples.join(parts)
    assert found.conditions is not None
    energy, angle = found.conditions.T
    asked = [name in fields["where"] or name[11:] in fields.get("condition", {}) for name in CONDITIONS]
    assert (energy >= 50).all() or not asked[0] or "condition" in fields
    assert (angle <= 0).all() or not asked[1]
    assert len(made_rows()) == search.made == n
    for batch in seen:
        for request, start, count in batch.parts:
            assert request.conditions is not None
            assert (~np.isnan(request.conditions[start : start + count]) == asked).all()
    for labels_at_a_time in (1, 50):
        with monkeypatch.context() as few:
            few.setattr(chosen, "_rows_at_a_time", lambda _words, rows=labels_at_a_time: rows)
            again, other = find(of_conditions, n=n, **fields)
        assert np.array_equal(Samples.join(again).numbers, found.numbers)
        assert (other.found, other.looked_at) == (search.found, search.looked_at)
    monkeypatch.setattr(Search, "sifts", False)
    all_parts, whole = find(of_conditions, n=n, **fields)
    every = Samples.join(all_parts)
    assert np.array_equal(found.numbers, every.numbers)
    assert np.array_equal(found.labels, every.labels)
    assert np.array_equal(found.conditions, every.conditions)
    assert np.allclose(found.samples, every.samples, atol=1e-5)
    assert (search.looked_at, search.next_offset) == (whole.looked_at, whole.next_offset)
    assert search.made < whole.made


def test_conditions_that_no_row_has(of_conditions: Sampler) -> None:
    never = {"$condition.angle": {"in": [0.123]}}
    parts, search = find(of_conditions, n=2, allow_fewer=True, where=never)
    assert ([len(part.samples) for part in parts], search.looked_at, seen) == ([0], 400, [])
    with pytest.raises(BudgetError, match="of 400 rows 0"):
        find(of_conditions, n=2, where=never)
