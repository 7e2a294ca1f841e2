"""What may be asked for in words: a prompt -> a label and conditions; and what rows were made for, in the same words.

`photon, energy 50 GeV, angle 0.1`: a label's name, then conditions by theirs; either may be left out. Nothing is
guessed: what was not understood is refused, and told what could have been said; and so is what may be read in several
ways. Only a prompt that is the name of a label, or the model's own, is that, whatever else it may be.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from latentserve.service.bundle import Condition, Manifest
from latentserve.service.errors import InvalidError
from latentserve.service.sampling.fields import SHOWN

_CLAUSE_CHARACTERS = 256  # of one condition in words, at the most
_LISTED = 20  # labels, and conditions, that a refusal names
_TRIED = 300  # conditions in words that are looked at for all ways to read a prompt
_BETWEEN = r"(?:^|\s*[,;]\s*|\s+)(?:(?:and|with)\s+)?"
_NUMBER = r"(?>[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)"  # whole: 50 is no 5 of a unit `0`


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
        self._clauses = _clauses(list(self._conditions.values()))
        # `A 0 0` is A of a unit `0`, or a condition `A-0`; `A = 0 0` is one of them only.
        self._equals = " = " if len(self._clauses) > 1 else " "

    def read(self, prompt: str, field: str = "prompt") -> Said:
        """What a prompt asks for. An empty one, and the model's own name, leave all of it to the priors.

        Raises InvalidError, for this field.
        """
        found: list[Said] = []
        wrong: InvalidError | None = None
        for one in self._readings(prompt, field):
            if isinstance(one, InvalidError):
                wrong = wrong or one
            elif one not in found:
                found.append(one)
                if len(found) > 1:
                    ways = " or as ".join(self._told(one) for one in found)
                    raise InvalidError(field, f"{_shown(prompt)!r} may be read as {ways}")
        if found:
            return found[0]
        raise wrong or InvalidError(field, f"{_shown(prompt)!r} is not understood; {self.taken()}")

    def _readings(self, prompt: str, field: str) -> Iterator[Said | InvalidError]:
        """All ways to read it, from its end, and why others are none."""
        tried = 0
        waiting: list[tuple[str, dict[str, float]]] = [(prompt, {})]
        while waiting:
            rest, condition = waiting.pop()
            try:
                label = self._label(rest, field)
            except InvalidError as error:
                yield error
                continue
            if label is not None or _folded(rest) in ("", self._own_name):
                yield Said(label, condition or None)
                if not condition:
                    return
            clauses = self._last_clauses(rest)
            if not clauses:
                yield InvalidError(field, f"nothing here is called {_shown(rest)!r}; {self.taken()}")
            tried += len(clauses)
            if tried > _TRIED:
                yield InvalidError(field, f"{_shown(prompt)!r} may be read in too many ways")
                return
            for found in reversed(clauses):  # the one with the longest name is looked at first
                try:
                    name, value = self._said(found, condition, field)
                except InvalidError as error:
                    yield error
                    continue
                waiting.append((rest[: found.start()], {**condition, name: value}))

    def _last_clauses(self, text: str) -> list[re.Match[str]]:
        """All conditions in words that the text may end with."""
        found: dict[tuple[int, int], re.Match[str]] = {}
        for clause in self._clauses:
            start = max(0, len(text) - _CLAUSE_CHARACTERS)
            while match := clause.search(text, start):
                start = match.start("name") + 1
                found.setdefault(match.span("name"), match)
        return [found[span] for span in sorted(found, key=lambda span: (span[0], -span[1]))]

    def _said(self, found: re.Match[str], said: Mapping[str, float], field: str) -> tuple[str, float]:
        """A condition and its value, of words that say so, behind which others are `said`."""
        name = self._condition(found["name"], field)
        if name in said:
            raise InvalidError(field, f"{name} is said twice")
        if (unit := found["unit"]) and unit != (self._conditions[name].unit or "").strip():
            raise InvalidError(field, f"{name} is not in {unit}; {self.taken()}")
        return name, float(found["number"])

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
        return f"{name}{self._equals}{number} {unit}" if unit else f"{name}{self._equals}{number}"

    def _told(self, said: Said) -> str:
        """What was read, without doubt."""
        words = [] if said.label is None else [f"the label {self._labels[said.label][:SHOWN]!r}"]
        shown = [f"{name} = {value:.9g}" for name, value in reversed((said.condition or {}).items())]
        return ", ".join([*words, *shown[:_LISTED]]) or "nothing"


def _shown(text: str) -> str:
    """The beginning of a client's own words."""
    return " ".join(text[: 2 * SHOWN].split())[:SHOWN]


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


def _clauses(conditions: Sequence[Condition]) -> list[re.Pattern[str]]:
    """What finds the last condition of a prompt: `, energy = 50 GeV`. Where a name goes on as another one does each has
    a pattern of its own, for of several names at one place a pattern finds the longest only."""
    units = _any_of(re.escape(unit) for one in conditions if one.unit and (unit := one.unit.strip()))
    unit = rf"(?:\s*(?P<unit>{units}))?" if units else "(?P<unit>)?"
    between = r"(?:\s*[=:]\s*|\s+(?:(?:of|is|at)\s+)?)"
    patterns = []
    for names in _apart([one.name for one in conditions]):
        any_name = _any_of(re.sub(r"_|\\-", r"[\\s_-]", re.escape(name)) for name in names)
        patterns.append(re.compile(rf"{_BETWEEN}(?P<name>(?ai:{any_name})){between}(?P<number>{_NUMBER}){unit}\s*$"))
    return patterns


def _apart(names: Iterable[str]) -> list[list[str]]:
    """Names in as few lists as can be in which none begins with another."""
    lists: list[list[str]] = []
    like = {name: re.sub(r"-", "_", name).casefold() for name in names}
    for name in sorted(like, key=lambda one: -len(one)):
        for apart in lists:
            if not any(like[other].startswith(like[name]) for other in apart if len(other) > len(name)):
                apart.append(name)
                break
        else:
            lists.append([name])
    return lists


def _any_of(patterns: Iterable[str]) -> str:
    return "|".join(sorted(set(patterns), key=len, reverse=True))


def _ranged(condition: Condition) -> str:
    low, high = condition.range
    return f"{condition.name} {low:g} to {high:g}{f' {condition.unit}' if condition.unit else ''}"


def _listed(names: Sequence[str], most: int = _LISTED) -> str:
    shown = ", ".join(name[:SHOWN] for name in names[:most])
    return shown if len(names) <= most else f"{shown}, ... ({len(names)} in all)"
