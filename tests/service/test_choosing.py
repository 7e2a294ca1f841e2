"""Rows that are chosen, of a server, of a bundle in this process, and of the command line."""

from __future__ import annotations

import csv
import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from click.testing import CliRunner

from latentserve import OpenedBundle, open_bundle
from latentserve.service.bundle import Column, Latent, SampleSpec
from latentserve.service.commands.sample import sample
from latentserve.service.errors import BudgetError, InvalidError
from tests.conftest import make_bundle
from tests.generators import dense_critic, dense_generator
from tests.server import Server

SPEC = SampleSpec(
    kind="table",
    shape=[3],
    columns=[
        Column(name="share", type="float64", decimals=2),
        Column(name="sign", type="string", categories=["small", "large"]),
        Column(name="count", type="int64", missing=0),
    ],
)
WHERE = {"share": {"min": 0.25, "max": 0.75}, "count": {"in": [1], "missing": True}}
OUTCOMES = ("chosen", "passed_over")
CSV, NPY, PNG = "text/csv", "application/x-npy", "image/png"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with labels and a critic."""
    return make_bundle(
        tmp_path_factory.mktemp("bundles") / "people",
        name="people",
        generator=dense_generator(dim=5, shape=(3,), labels=3).SerializeToString(),
        critic=dense_critic(shape=(3,), labels=3).SerializeToString(),
        latent=Latent(dim=5),
        labels=["north", "south", "west"],
        sample=SPEC,
        reference_samples=64,
    )


@pytest.fixture(scope="module")
def serving(people: Path, bundle: Path, shower_bundle: Path) -> Iterator[Server]:
    with Server(people, bundle, shower_bundle, max_budget=10_000_000) as running:
        yield running


@pytest.fixture(scope="module")
def opened(people: Path) -> OpenedBundle:
    return open_bundle(people)


def ask(serving: Server, accept: str | None = None, model: str = "people", **fields: Any) -> httpx.Response:
    reply = serving.samples(accept=accept, model=model, **fields)
    assert reply.status_code == 200, reply.text
    return reply


def kept(row: list[Any]) -> bool:
    share, _, count = row
    return 0.25 <= share <= 0.75 and count in (1, None)


def test_rows_are_those_that_a_client_keeps(serving: Server) -> None:
    before = {outcome: serving.metric("searched_rows_total", model="people", outcome=outcome) for outcome in OUTCOMES}
    reply = ask(serving, n=20, seed=7, offset=5, where=WHERE)
    found = reply.json()
    looked_at = int(reply.headers["Latentserve-Looked-At"])
    plain = ask(serving, n=looked_at, seed=7, offset=5).json()
    places = [place for place, row in enumerate(plain["samples"]) if kept(row)]
    after = {"chosen": before["chosen"] + 20, "passed_over": before["passed_over"] + looked_at - 20}
    serving.wait_for(
        lambda: all(
            serving.metric("searched_rows_total", model="people", outcome=outcome) == count
            for outcome, count in after.items()
        )
    )
    assert places[-1] == looked_at - 1
    assert found["samples"] == [plain["samples"][place] for place in places]
    assert found["labels"] == [plain["labels"][place] for place in places]
    assert found["n"] == 20
    assert found["rows"] == [5 + place for place in places]
    assert int(reply.headers["Latentserve-Next-Offset"]) == found["next_offset"] == 5 + found["looked_at"]
    assert found["looked_at"] == looked_at
    for row, number in zip(found["samples"][:3], found["rows"], strict=False):
        assert ask(serving, seed=7, offset=number).json()["samples"] == [row]


def test_pages_are_the_whole_in_every_format(serving: Server) -> None:
    whole = np.load(io.BytesIO(ask(serving, NPY, n=300, seed=3, where=WHERE).content))
    pages, offset = [], 0
    for n in (1, 40, 259):
        page = ask(serving, NPY, n=n, seed=3, where=WHERE, offset=offset)
        pages.append(np.load(io.BytesIO(page.content)))
        offset = int(page.headers["Latentserve-Next-Offset"])
    assert np.array_equal(np.concatenate(pages), whole)
    lines = ask(serving, CSV, n=300, seed=3, where=WHERE).text.splitlines()
    assert lines[0] == "share,sign,count,$seed,$row,$label"
    assert [line.split(",")[0] for line in lines[1:]] == [str(round(float(value), 2)) for value in whole[:, 0]]


def test_python_and_the_command_line_find_the_same(
    serving: Server, opened: OpenedBundle, people: Path, tmp_path: Path
) -> None:
    choices: list[dict[str, Any]] = [
        {"where": WHERE},
        {"balance": "sign"},
        {"select": {"of": 8}},
        {"where": {"$label": {"in": ["west"]}, "$score": {"min": 0.1}}, "truncation": 0.9},
        {"balance": "$label", "where": {"share": {"max": 0.9}}, "select": {"of": 3}},
    ]
    for choice in choices:
        found = opened.search(60, seed=5, **choice)
        reply = ask(serving, NPY, n=60, seed=5, deterministic=True, **choice)
        assert reply.content.endswith(found.samples.tobytes())
        assert json.loads(reply.headers["Latentserve-Rows"]) == found.numbers.tolist()
        assert int(reply.headers["Latentserve-Next-Offset"]) == found.next_offset
        again = [opened.sample(seed=5, offset=int(row), truncation=choice.get("truncation")) for row in found.numbers]
        assert np.array_equal(np.concatenate(again), found.samples)
    assert np.array_equal(opened.sample(60, seed=5, **choices[0]), opened.search(60, seed=5, **choices[0]).samples)
    words = ["-n", "60", "--seed", "5", "--where", json.dumps(WHERE), "--out", str(tmp_path / "rows.npy")]
    done = CliRunner().invoke(sample, [str(people), *words])
    assert done.exit_code == 0, done.output
    assert np.array_equal(np.load(tmp_path / "rows.npy"), opened.sample(60, seed=5, where=WHERE))
    words = ["-n", "60", "--seed", "5", "--where", json.dumps(WHERE), "--out", str(tmp_path / "rows.csv")]
    assert CliRunner().invoke(sample, [str(people), *words]).exit_code == 0
    reply = ask(serving, CSV, n=60, seed=5, deterministic=True, where=WHERE)
    assert (tmp_path / "rows.csv").read_bytes() == reply.content
    words = ["--balance", "sign", "--best-of", "4", "--out", str(tmp_path / "rows.npy")]
    done = CliRunner().invoke(sample, [str(people), "-n", "6", "--seed", "5", *words])
    assert done.exit_code == 0, done.output
    expected = opened.sample(6, seed=5, balance="sign", select={"of": 4})
    assert np.array_equal(np.load(tmp_path / "rows.npy"), expected)


def test_the_best_of_eight(serving: Server, opened: OpenedBundle) -> None:
    found = opened.search(4, seed=9, offset=3, select={"of": 8})
    assert found.scores is not None
    for place, number in enumerate(found.numbers.tolist()):
        first = 3 + 8 * place
        assert first <= number < first + 8
        # Each alone has the score that it had among others.
        scores = [float(opened.search(1, seed=9, offset=row, where={"$score": {"min": -9}}).scores[0])  # type: ignore[index]
                  for row in range(first, first + 8)]  # fmt: skip
        assert number == first + int(np.argmax(scores))
        assert max(scores) == found.scores[place]
    reply = ask(serving, n=4, seed=9, offset=3, select={"of": 8}, deterministic=True)
    assert reply.headers["Latentserve-Next-Offset"] == str(3 + 32)
    told = reply.json()
    assert told["rows"] == found.numbers.tolist()
    assert np.array_equal(np.float32(told["scores"]), found.scores)
    lines = list(csv.DictReader(ask(serving, CSV, n=4, seed=9, offset=3, select={"of": 8}).text.splitlines()))
    assert [float(line["$score"]) for line in lines] == pytest.approx(told["scores"], rel=1e-5)
    reply = ask(serving, NPY, n=4, seed=9, offset=3, select={"of": 8})
    assert json.loads(reply.headers["Latentserve-Scores"]) == pytest.approx(told["scores"], rel=1e-5)


def test_pictures_are_chosen_by_label_and_score(serving: Server) -> None:
    where = {"$label": {"in": [1, "digit 4"]}, "$score": {"min": 0.0}}
    reply = ask(serving, model="toy", n=5, seed=2, where=where)
    assert set(reply.json()["labels"]) <= {"digit 1", "digit 4"}
    assert ask(serving, PNG, "toy", n=5, seed=2, where=where).content.startswith(b"\x89PNG")
    numbers = reply.json()["rows"]
    bytes_of = ask(serving, NPY, "toy", n=5, seed=2, where=where, dtype="uint8").content
    each = [ask(serving, NPY, "toy", seed=2, offset=number, dtype="uint8").content[-64:] for number in numbers]
    assert bytes_of[-5 * 64 :] == b"".join(each)


def test_rows_are_chosen_by_their_conditions(serving: Server, shower_bundle: Path) -> None:
    where = {"$condition.energy": {"min": 20, "max": 40}, "$label": {"in": ["photon", "pion"]}}
    found = ask(serving, model="shower", n=6, seed=2, where=where).json()
    plain = ask(serving, model="shower", n=found["looked_at"], seed=2).json()
    places = [
        place
        for place, (label, condition) in enumerate(zip(plain["labels"], plain["conditions"], strict=True))
        if label != "electron" and 20 <= condition["energy"] <= 40
    ]
    assert found["rows"] == places
    assert found["conditions"] == [plain["conditions"][place] for place in places]
    assert found["samples"] == [plain["samples"][place] for place in places]
    exact = {"$condition.energy": {"in": [found["conditions"][3]["energy"]]}}
    assert ask(serving, model="shower", seed=2, where=exact).json()["rows"] == [places[3]]
    here = open_bundle(shower_bundle).search(6, seed=2, where=where)
    assert here.numbers.tolist() == places
    refused = serving.samples(model="shower", condition={"energy": 5}, where=where)
    assert (refused.status_code, refused.json()["field"]) == (422, "where.$condition.energy")


def test_a_budget_that_ends(serving: Server, opened: OpenedBundle) -> None:
    never = {"share": {"min": 5}}
    reply = serving.samples(model="people", n=3, seed=1, where=never)
    assert reply.status_code == 422
    problem = reply.json()
    assert (problem["type"], problem["looked_at"], problem["passed"]) == (
        "urn:problem-type:latentserve:budget-ended", 600, 0,
    )  # fmt: skip
    with pytest.raises(BudgetError) as ended:
        opened.sample(3, seed=1, where=never)
    assert str(ended.value) == problem["detail"]
    fewer = ask(serving, n=3000, seed=1, where=WHERE, budget=3000, allow_fewer=True)
    count = fewer.json()["n"]
    assert 0 < count < 3000
    assert (len(fewer.json()["samples"]), fewer.headers["Latentserve-Next-Offset"]) == (count, "3000")
    none = ask(serving, NPY, n=3, seed=1, where=never, allow_fewer=True)
    assert np.load(io.BytesIO(none.content)).shape == (0, 3)
    assert ask(serving, n=3, seed=1, where=never, allow_fewer=True).json()["samples"] == []
    assert ask(serving, CSV, n=3, seed=1, where=never, allow_fewer=True).text.count("\n") == 1
    cannot = {"$score": {"min": 1e30}}
    reply = serving.samples(accept=PNG, model="toy", where=cannot, allow_fewer=True)
    assert (reply.status_code, reply.json()["field"]) == (422, "allow_fewer")


def test_a_long_answer_is_found_while_it_is_sent(serving: Server, opened: OpenedBundle) -> None:
    where = {"share": {"min": 0.0}}
    found = opened.search(12_000, seed=4, where=where)
    reply = ask(serving, CSV, n=12_000, seed=4, where=where, deterministic=True)
    assert reply.text.count("\n") == 12_001
    assert "Latentserve-Next-Offset" not in reply.headers
    assert ask(serving, NPY, n=12_000, seed=4, where=where, deterministic=True).content.endswith(
        found.samples.tobytes()
    )
    fewer = ask(serving, CSV, n=12_000, seed=4, where=where, budget=found.looked_at - 1, allow_fewer=True)
    assert fewer.text.count("\n") == 12_000
    refused = serving.samples(accept=NPY, model="people", n=12_000, where=where, allow_fewer=True)
    assert refused.json()["field"] == "allow_fewer"


def test_a_long_answer_that_cannot_go_on_is_broken_off(serving: Server) -> None:
    def counted(code: str) -> float:
        try:
            return serving.metric("requests_total", model="people", code=code)
        except KeyError:
            return 0

    before = counted("422"), counted("500")
    with pytest.raises(httpx.RemoteProtocolError):
        serving.samples(accept=CSV, model="people", n=11_000, seed=4, where={"share": {"min": 0.0}}, budget=12_000)
    serving.wait_for(lambda: (counted("422"), counted("500")) == (before[0] + 1, before[1]))


def test_a_search_ends_when_its_client_goes(serving: Server) -> None:
    body = json.dumps({"model": "people", "n": 10_000, "where": {"share": {"min": 5}}}).encode()
    head = b"POST /v1/samples HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", serving.port)) as line:
            line.sendall(head % len(body) + body)
            serving.wait_for(lambda: serving.metric("inflight_requests") >= 1)
    serving.wait_for(lambda: serving.metric("inflight_requests") == 0)
    serving.wait_for(lambda: serving.metric("queue_rows") == 0)
    assert ask(serving, n=2, seed=7, where=WHERE).json()["n"] == 2


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"where": {"nope": {"min": 1}}}, "where.nope"),
    ({"where": {"share": {"min": 1, "max": 0}}}, "where.share.min"),
    ({"where": {"sign": {"in": ["small"] * 5 + ["x" * 200]}}}, "where.sign.in[5]"),
    ({"where": {"share": {"in": [k / 100 for k in range(9_000)] + [0.001]}}}, "where.share.in"),
    ({"where": {"share": {"in": list(range(15_000))}}}, "where.share.in"),
    ({"where": {"sign": {"in": ["x" * 140_000]}}}, "where"),
    ({"where": {f"column {k}": {"min": 1} for k in range(2_000)}}, "where.column 0"),
    ({"balance": "share"}, "balance"),
    ({"select": {"of": 0}}, "select.of"),
    ({"select": {"of": list(range(9_000))}}, "select.of"),
    ({"labels": [0, 1], "where": WHERE}, "labels"),
    ({"budget": 10}, "budget"),
    ({"where": "all"}, "where"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "field"), REFUSED, ids=[field for _, field in REFUSED])
def test_what_is_refused_in_the_same_words(
    serving: Server, opened: OpenedBundle, fields: dict[str, Any], field: str
) -> None:
    reply = serving.samples(model="people", **fields)
    assert (reply.status_code, reply.json()["field"]) == (422, field)
    if len(json.dumps(fields)) < 100_000 and fields != {"where": "all"}:  # an object is a dictionary here
        with pytest.raises(InvalidError) as refused:
            opened.sample(**fields)
        assert reply.json()["detail"] == str(refused.value)


def test_many_values_are_taken(serving: Server) -> None:
    values = [k / 100 for k in range(-5_000, 5_000)]
    assert (
        ask(serving, n=4, seed=1, where={"share": {"in": values}}).json()["samples"]
        == (ask(serving, n=4, seed=1).json()["samples"])
    )


def test_the_query_does_not_choose(serving: Server) -> None:
    latents = io.BytesIO()
    np.save(latents, np.zeros((2, 5), np.float32))
    headers = {"Content-Type": NPY}
    for name in ("where", "balance", "select", "budget", "allow_fewer"):
        reply = serving.http.post(f"/v1/samples?{name}=1", content=latents.getvalue(), headers=headers)
        assert (reply.status_code, reply.json()["field"]) == (422, name)
