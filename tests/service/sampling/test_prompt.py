"""Prompts: labels and conditions in words, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from latentserve.service.bundle import Condition, Latent, Manifest, OnnxSpec, SampleSpec
from latentserve.service.bundle.manifest import generator_graph
from latentserve.service.errors import InvalidError
from latentserve.service.sampling.prompt import Vocabulary
from tests.conftest import examples

CONDITIONS = [
    Condition(name="energy", unit="GeV", range=(0.1, 100)),
    Condition(name="beam_angle", range=(-0.7, 0.7)),
    Condition(name="humidity", unit="%", range=(0, 100)),
]
LABELS = ["electron", "photon", "salt and pepper, ground", "Mars", "MARS", "energy 5"]


def vocabulary(labels: list[str] | None = LABELS, conditions: list[Condition] | None = CONDITIONS) -> Vocabulary:
    sample, latent = SampleSpec(kind="array", shape=[1]), Latent(dim=1)
    graph = generator_graph(latent, labels is not None, len(conditions or ()), sample)
    fields: dict[str, Any] = {"name": "shower", "version": "0" * 12, "created": "2026-01-01T00:00:00Z", "sha256": {}}
    onnx = OnnxSpec(opset=20, generator=graph, batch_invariant=True)
    return Vocabulary(Manifest(**fields, latent=latent, labels=labels, conditions=conditions, sample=sample, onnx=onnx))


WORDS = vocabulary()


@pytest.mark.parametrize(
    ("prompt", "label", "condition"),
    [
        ("", None, None),
        ("  ", None, None),
        ("Shower", None, None),
        ("photon", "photon", None),
        (" PHOTON\n", "photon", None),
        ("Mars", "Mars", None),
        ("salt  and Pepper, ground", "salt and pepper, ground", None),
        ("energy 5", "energy 5", None),
        ("energy 5, energy 7", "energy 5", {"energy": 7}),
        ("energy 50 GeV, beam angle -0.3", None, {"energy": 50, "beam_angle": -0.3}),
        ("photon, energy 50 GeV", "photon", {"energy": 50}),
        ("photon energy 50", "photon", {"energy": 50}),
        ("photon with Energy of 5e1 GeV and Beam-Angle: .3;humidity=50%", "photon",
         {"energy": 50, "beam_angle": 0.3, "humidity": 50}),
        ("salt and pepper, ground and humidity is 7", "salt and pepper, ground", {"humidity": 7}),
        ("shower, energy 1", None, {"energy": 1}),
    ],
)  # fmt: skip
def test_what_prompts_ask_for(prompt: str, label: str | None, condition: dict[str, float] | None) -> None:
    assert WORDS.read(prompt) == (None if label is None else LABELS.index(label), condition)


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("a photon", "nothing here is called 'a photon'; labels are electron, photon, "),
        ("mars", "'mars' may be one of several labels: Mars, MARS"),
        ("energy 1, energy 2", "energy is said twice"),
        ("photon, energy", "nothing here is called 'photon, energy'"),
        ("photon, energy 5 MeV", "energy 0.1 to 100 GeV, beam_angle -0.7 to 0.7, humidity 0 to 100 %"),
        ("photon, energy 5 %", "energy is not in %"),
        ("energy 5, humidity 1", "may be read as the label 'energy 5', humidity = 1 or as energy = 5, humidity = 1"),
        ("energy 1,5", "nothing here is called 'energy 1,5'"),
        ("energy nan", "nothing here is called"),
        ("hum\u0130dity 5", "nothing here is called"),
        ("mass 5", "nothing here is called 'mass 5'"),
        ("dog, energy 5", "nothing here is called 'dog'"),
        ("," * 32_000, "nothing here is called"),
        ("energy 7 " * 3_500, "energy is said twice"),
        ("a" * 32_000, f"nothing here is called '{'a' * 100}'"),
    ],
)
def test_what_prompts_do_not_ask_for(prompt: str, says: str) -> None:
    with pytest.raises(InvalidError) as refused:
        WORDS.read(prompt, "input")
    assert refused.value.field == "input"
    assert says in refused.value.reason
    assert len(refused.value.reason) < 1000


def test_names_of_conditions_that_are_alike() -> None:
    words = vocabulary(None, [Condition(name=name, range=(0, 10)) for name in ("E", "e", "e_e")])
    assert words.read("e 1, E 2, E e 3").condition == {"e": 1, "E": 2, "e_e": 3}
    with pytest.raises(InvalidError, match="'E_e' may be"):
        vocabulary(None, [Condition(name=name, range=(0, 1)) for name in ("e_e", "E_E")]).read("E_e 1")


def test_what_is_listed_is_bounded_and_the_example_can_be_asked_for() -> None:
    many = vocabulary([f"{index:05}{'x' * 200}" for index in range(10_000)])
    assert "... (10000 in all)" in many.taken()
    assert len(many.taken()) < 3000
    assert WORDS.read(WORDS.example) == (0, {"energy": 50.05, "beam_angle": 0, "humidity": 50})
    nothing = vocabulary(None, None)
    assert nothing.example == ""
    with pytest.raises(InvalidError, match="an empty prompt or its own name"):
        nothing.read("a cat")


def test_what_may_be_read_in_several_ways_is_refused() -> None:
    conditions = [
        Condition(name="A", unit="0", range=(-9, 9)),
        Condition(name="A-0", range=(-9, 9)),
        Condition(name="photon_A", unit=", A 1", range=(-9, 9)),
    ]
    words = vocabulary(["photon"], conditions)
    for prompt, ways in (
        ("A 0 0", "'A 0 0' may be read as A-0 = 0 or as A = 0"),
        ("photon A 5", "may be read as photon_A = 5 or as the label 'photon', A = 5"),
        ("photon A 5, A 1", "may be read as "),
    ):
        with pytest.raises(InvalidError) as refused:
            words.read(prompt)
        assert ways in refused.value.reason
    for prompt, condition in (
        ("A = 0 0", {"A": 0}),
        ("A-0 = 0", {"A-0": 0}),
        ("A 0 5", {"A-0": 5}),
        ("A 50", {"A": 50}),
        ("A 5 0, A 0 7", {"A": 5, "A-0": 7}),
        ("photon_A=5", {"photon_A": 5}),
    ):
        assert words.read(prompt) == (None, condition), prompt
    assert words.read("photon, A 5") == (0, {"A": 5})
    assert words.say(None, {"A": 0, "A-0": 1}) == "A = 0 0, A-0 = 1"


def test_ways_to_read_are_not_looked_at_for_ever() -> None:
    """Each of these may be one of two, and there are two of each."""
    pairs = [f"{letter}{other}" for letter in "ABCDEFGH" for other in "ABCD"]
    both = [
        Condition(name=name + end, unit=unit, range=(-9, 9))
        for name in pairs
        for end, unit in (("", "0"), ("-0", None))
    ]
    with pytest.raises(InvalidError, match="AA-0 is said twice"):
        vocabulary(None, both).read(", ".join(f"{name} 0 0" for name in ["AA", "AA", "AA", *pairs]))


@contextmanager
def refusals_of_names_that_are_alike() -> Iterator[None]:
    """And of what may be read in several ways."""
    try:
        yield
    except InvalidError as error:
        if not any(words in error.reason for words in ("may be one of several", "may be read")):
            raise


class Told(NamedTuple):
    """A model's words, and what is said in them."""

    labels: list[str] | None
    conditions: list[Condition]
    label: str | None
    asked: dict[str, float]


@st.composite
def told(draw: st.DrawFn) -> Told:
    names = st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=20)
    labels = draw(st.none() | st.lists(names, min_size=1, max_size=5, unique_by=lambda name: name.casefold()))
    known = draw(st.lists(st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,9}", fullmatch=True), max_size=4, unique=True))
    unit = st.none() | st.text(min_size=1, max_size=5)
    conditions = [Condition(name=name, unit=draw(unit), range=(-1e30, 1e30)) for name in known]
    finite = st.floats(-(2.0**99), 2.0**99, width=32)
    asked = {name: draw(finite) for name in known if draw(st.booleans())}
    return Told(labels, conditions, draw(st.none() | st.sampled_from(labels)) if labels else None, asked)


def some(*names: str, **units: str) -> list[Condition]:
    return [Condition(name=name, unit=units.get(name), range=(-9, 9)) for name in names]


@settings(max_examples=examples(200), deadline=None)
@example(Told(None, some("A", "A-0", A="0"), None, {"A": 0.0}))
@example(Told(None, some("A", "A-0", A="0"), None, {"A": 0.0, "A-0": 0.0}))
@example(Told(None, some("A", "B", A=", B 2"), None, {"A": 1.0}))
@example(Told(["A 0"], some("A"), None, {"A": 0.0}))
@example(Told(["x", "x, A 0"], some("A", "B"), "x", {"A": 0.0, "B": 1.0}))
@example(Told(None, some("e", "E", "A_", "A__"), None, {"e": 1.0, "E": 2.0, "A_": 3.0, "A__": 4.0}))
@given(told())
def test_what_is_said_is_read_as_it_was_meant(of: Told) -> None:
    words = vocabulary(of.labels, of.conditions or None)
    prompt = words.say(of.label, of.asked)
    with refusals_of_names_that_are_alike():
        read = words.read(prompt)
        labels = [" ".join(one.split()).casefold() for one in of.labels or ()]
        if of.asked and (whole := " ".join(prompt.split()).casefold()) in labels:  # it is this label's name
            assert read == (labels.index(whole), None)
            return
        got = {name: np.float32(value) for name, value in (read.condition or {}).items()}
        assert got == {name: np.float32(value) for name, value in of.asked.items()}
        assert read.label == (None if of.label is None or of.labels is None else of.labels.index(of.label))
