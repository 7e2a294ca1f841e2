"""Medians, ratios within repetitions, and the rows of the report."""

from __future__ import annotations

import base64
import json

from benchmarks.figures import Figure, decimals, figure, ratio, select, values
from benchmarks.generators import CONVOLUTIONAL_28, DIM
from benchmarks.serving.plan import SERVERS, cases
from benchmarks.serving.servers import BENTOML, BENTOML_BASE64
from benchmarks.serving.tables import how_well

RECORDS = [
    {"repetition": repetition, "server": server, "requests_per_second": rate}
    for server, rates in {"ours": (100.0, 300.0, 220.0), "theirs": (50.0, 100.0)}.items()
    for repetition, rate in enumerate(rates)
]


def test_figures_are_medians_with_their_range() -> None:
    assert figure([3.0, 1.0, 2.0]) == Figure(2.0, 1.0, 3.0)
    assert figure([]) is None
    assert str(Figure(0.9512, 0.9, 1.0)) == "0.951 [0.9-1]"
    assert str(Figure(1234.5, 1000.0, 2000.0)) == "1,234 [1,000-2,000]"
    assert str(Figure(2.0, 2.0, 2.0)) == "2"


def test_ratios_are_within_a_repetition() -> None:
    ours, theirs = (values(select(RECORDS, server=name), "requests_per_second") for name in ("ours", "theirs"))
    assert ratio(ours, theirs) == Figure(2.5, 2.0, 3.0)  # the third repetition has one of them only
    assert ratio(ours, {}) is None


def test_the_promises() -> None:
    case = {"generator": "28x28", "loop": "closed", "rows": 1, "connections": 32, "repetition": 0}

    def measured(server: str, answer: str, rate: float) -> dict[str, object]:
        rates = {"requests_per_second": rate, "samples_per_second": rate, "engine_samples_per_second": 1000.0}
        return {"server": server, "answer": answer, **case, **rates}

    ours = measured("latentserve", "float32 bytes", 949.6)
    rows = how_well([ours])
    assert len(rows) == 12
    assert rows[0][1:] == ("0.9496", "0.80", "0.95")  # and not 0.95
    assert rows[1][1].count("not measured") == 5
    by_inference = how_well([ours, measured("latentserve", "float32 bytes of /v2", 900.0)])[8]
    assert by_inference[1] == "0.948 / not measured"
    formats = [
        ("latentserve, JSON", "JSON", 300.0),
        ("BentoML", "JSON", 100.0),
        ("BentoML, base64", "base64 in JSON", 200.0),
    ]
    rows = how_well(
        [ours, *(measured(*one) for one in formats), measured("latentserve before", "float32 bytes", 900.0)]
    )
    assert str(rows[1][1]).startswith("9.5 / not measured")
    assert str(rows[2][1]).startswith("3 / not measured")  # JSON beside JSON
    assert str(rows[3][1]).startswith("4.75 / not measured")  # bytes beside bytes
    assert str(rows[-1][1]).startswith("1.06 / not measured")


def test_each_server_is_asked_in_a_format_that_has_a_name_and_that_it_knows() -> None:
    for servers in SERVERS.values():
        for server in servers:
            for asked in cases(server, CONVOLUTIONAL_28):
                request = server.asked[asked.answer](asked.rows)(0)
                assert request.startswith(b"POST /")
    assert b"base64" not in BENTOML.asked["JSON"](2)(0)
    body = json.loads(BENTOML_BASE64.asked["base64 in JSON"](2)(0).split(b"\r\n\r\n", 1)[1])
    assert [len(base64.b64decode(row)) for row in body["z"]] == [4 * DIM, 4 * DIM]


def test_nothing_is_rounded_onto_an_aim_or_over_it() -> None:
    assert decimals(0.9695, 3, 0.97) == "0.9695"
    assert decimals(0.96951, 3) == "0.970"
    assert decimals(0.9704, 3, 0.97) == "0.9704"
    assert decimals(0.97, 3, 0.97) == "0.970"
    assert decimals(0.88999, 3, 0.88, 0.89) == "0.88999"
    assert Figure(0.9496, 0.9, 0.951).beside(0.95) == "0.9496 [0.9-0.951]"
    assert str(Figure(0.9496, 0.9, 0.951)) == "0.95 [0.9-0.951]"
