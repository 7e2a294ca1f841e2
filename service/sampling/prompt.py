"""What may be asked for in words: a prompt -> a label and conditions; and what rows were made for, in the same words.

`photon, energy 50 GeV, angle 0.1`: a label's name, then conditions by theirs; either may be left out. Nothing is
guessed: what was not understood is refused, and told what could have been said.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from latentserve.service.bundle import Condition, Manifest
from latentserve.service.errors import InvalidError
from latentserve.service.sampling.fields import SHOWN

_CLAUSE_CHARACTERS = 256  # of one condition in words, at the most
_LISTED = 20  # labels, and conditions, that a refusal names
_BETWEEN = r"(?:^|\s*[,;]\s*|\s+)(?:(?:and|with)\s+)?"
_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"


class Said(NamedTuple):
    """What a prompt asks for: the index of a label, and numbers by condition. None: it says nothing of it."""

    label: int | None
    condition: dict[str, float] | None


class Vocabulary:
    """The words that a model's prompts are made of.

    Labels and conditions are known by their names; where only one is like it, also in other letters (`Photon`) and with
    other spaces (`beam energy` of `beam_energy`). Units are known by their own letters only, for `mW` is no `MW`.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._own_name = _folded(manifest.name)
        self._labels = manifest.labels or []
        self._places = manifest.label_places
        self._conditions = {one.name: one for one in manifest.conditions or ()}
        self._labels_like = _like(self._places, _folded)
        self._conditions_like = _like(self._conditions, _joined)
        self._clause = _clause(list(self._conditions.values()))

    def read(self, prompt: str, field: str = "prompt") -> Said:
        """What a prompt asks for. An empty one, and the model's own name, leave all of it to the priors.

        Raises InvalidError, for this field.
        """
        condition: dict[str, float] = {}
        rest = prompt
        while (label := self._label(rest, field)) is None and _folded(rest) not in ("", self._own_name):
            found = self._clause and self._clause.search(rest, max(0, len(rest) - _CLAUSE_CHARACTERS))
            if not found:
                shown = " ".join(rest[: 2 * SHOWN].split())[:SHOWN]
                raise InvalidError(field, f"nothing here is called {shown!r}; {self.taken()}")
            rest = rest[: found.start()]
            name = self._condition(found["name"], field)
            if name in condition:
                raise InvalidError(field, f"{name} is said twice")
            if (unit := found["unit"]) and unit != self._conditions[name].unit:
                raise InvalidError(field, f"{name} is not in {unit}; {self.taken()}")
            condition[name] = float(found["number"])
        return Said(label, condition or None)

    def say(self, label: str | None, condition: Mapping[str, float]) -> str:
        """The prompt that asks for this label and these conditions; empty where there are none."""
        words = [] if label is None else [label]
        return ", ".join([*words, *(self._clause_of(name, value) for name, value in condition.items())])

    def taken(self, most: int = _LISTED) -> str:
        """What may be said, in a sentence that names so many labels, and conditions, at the most."""
        told = []
        if self._labels:
            told.append(f"labels are {_listed(self._labels, most)}")
        if self._conditions:
            told.append(f"conditions are {_listed([_ranged(one) for one in self._conditions.values()], most)}")
        return (
            "; ".join(told) or "the model has neither labels nor conditions, and takes an empty prompt or its own name"
        )

    @property
    def example(self) -> str:
        """A prompt that says all that may be said; empty where that is nothing."""
        middles = {name: (one.range[0] + one.range[1]) / 2 for name, one in self._conditions.items()}
        return self.say(self._labels[0] if self._labels else None, middles)

    def _label(self, text: str, field: str) -> int | None:
        """The index of the label of this name, or of the only one of a name like it."""
        place = self._places.get(text)
        if place is not None or not self._labels:
            return place
        like = self._labels_like.get(_folded(text), ())
        if len(like) > 1:
            raise InvalidError(field, f"{text[:SHOWN]!r} may be one of several labels: {_listed(like)}")
        return self._places[like[0]] if like else None

    def _condition(self, text: str, field: str) -> str:
        """The condition of this name, or the only one of a name like it."""
        if text in self._conditions:
            return text
        like = self._conditions_like[_joined(text)]
        if len(like) > 1:
            raise InvalidError(field, f"{text!r} may be one of several conditions: {_listed(like)}")
        return like[0]

    def _clause_of(self, name: str, value: float) -> str:
        unit = self._conditions[name].unit
        number = str(np.float32(value)).removesuffix(".0")  # the shortest that is read back as it
        return f"{name} {number} {unit}" if unit else f"{name} {number}"


def _folded(text: str) -> str:
    """The same of texts that differ in small and capital letters, and in how many spaces stand where."""
    return " ".join(text.split()).casefold()


def _joined(text: str) -> str:
    """The same of names that differ in small and capital letters, and in what stands between their words."""
    return re.sub(r"[\s_-]+", "_", text).casefold()


def _like(names: Iterable[str], fold: Callable[[str], str]) -> Mapping[str, Sequence[str]]:
    """Names by what they are folded to."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        found[fold(name)].append(name)
    return dict(found)


def _clause(conditions: Sequence[Condition]) -> re.Pattern[str] | None:
    """What finds the last condition of a prompt: `, energy = 50 GeV`."""
    if not conditions:
        return None
    names = _any_of(re.sub(r"_|\\-", r"[\\s_-]", re.escape(one.name)) for one in conditions)
    units = _any_of(re.escape(one.unit) for one in conditions if one.unit)
    unit = rf"(?:\s*(?P<unit>{units}))?" if units else "(?P<unit>)?"
    between = r"(?:\s*[=:]\s*|\s+(?:(?:of|is|at)\s+)?)"
    return re.compile(rf"{_BETWEEN}(?P<name>(?ai:{names})){between}(?P<number>{_NUMBER}){unit}\s*$")


def _any_of(patterns: Iterable[str]) -> str:
    return "|".join(sorted(set(patterns), key=len, reverse=True))


def _ranged(condition: Condition) -> str:
    low, high = condition.range
    return f"{condition.name} {low:g} to {high:g}{f' {condition.unit}' if condition.unit else ''}"


def _listed(names: Sequence[str], most: int = _LISTED) -> str:
    shown = ", ".join(name[:SHOWN] for name in names[:most])
    return shown if len(names) <= most else f"{shown}, ... ({len(names)} in all)"
