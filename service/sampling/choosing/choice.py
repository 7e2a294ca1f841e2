"""Which rows are wanted: fields -> a choice, checked against the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Manifest, category_places
from latentserve.service.errors import InvalidError, TooLargeError
from latentserve.service.sampling.choosing.where import (
    CONDITION,
    LABEL,
    Where,
    find_column,
    require_critic,
    shown,
    where_steps,
)
from latentserve.service.sampling.fields import CHOOSING, SampleFields, rows_request_steps, shown_number
from latentserve.service.sampling.latents import SEED_LIMIT
from latentserve.service.sampling.pieces import Steps, at_once
from latentserve.service.sampling.request import RowsRequest
from latentserve.service.sampling.served_graph import Output

BUDGET = 200  # rows that are looked at for each that is wanted, unless more are needed or another number is stated
MOST_OF = 1024  # rows of which one is the best


class Balance(NamedTuple):
    """As many rows of each category of a column, or of each label: of those that `wanted` bool [categories] says.

    `at` is the column, None: labels.
    """

    name: str
    at: int | None
    wanted: NDArray[np.bool_]
    categories: Sequence[object]

    def of(self, samples: NDArray[Any], labels: NDArray[np.int64] | None, manifest: Manifest) -> NDArray[np.int64]:
        """The category int64 [n] of each row, -1 of one that is of none that is wanted."""
        if self.at is None:
            places = np.zeros(len(samples), np.int64) if labels is None else labels
            return np.where(self.wanted[places], places, -1)
        column = (manifest.sample.columns or [])[self.at]
        numbers = samples[:, self.at]
        known = np.isfinite(numbers)
        places = category_places(np.where(known, numbers, np.float32(0)), column)
        return np.where(known & self.wanted[places], places, -1)


class Choice(NamedTuple):
    """`n` rows of those that are looked at, `budget` at the most: that pass `where`, of `of` rows that follow one
    another the one with the best score, balanced.

    `allow_fewer`: fewer than n are an answer, too.
    """

    n: int
    budget: int
    allow_fewer: bool = False
    where: Where = Where()
    of: int = 1
    balance: Balance | None = None

    @property
    def scored(self) -> bool:
        """Whether it needs the critic."""
        return self.of > 1 or self.where.score is not None

    @property
    def needs_labels(self) -> bool:
        """Whether labels, as they are drawn before anything is made, say of rows whether they are such."""
        return self.where.labels is not None or (self.balance is not None and self.balance.at is None)

    @property
    def drawn_say_all(self) -> bool:
        """Whether labels and conditions alone say which rows these are: nothing need be made of others."""
        other = self.where.of_made or (self.balance is not None and self.balance.at is not None)
        return self.of == 1 and not other and (self.where.of_drawn or self.balance is not None)

    @property
    def certain(self) -> bool:
        """Whether n rows are there whatever they are like."""
        return self.balance is None and not self.where.of_made and not self.where.of_drawn


def search_request(
    fields: SampleFields, manifest: Manifest, max_n: int, max_budget: int = SEED_LIMIT
) -> tuple[RowsRequest, Choice | None]:
    """The rows to be made, and those of them that are asked for; None: all. See `search_request_steps`."""
    return at_once(search_request_steps(fields, manifest, max_n, max_budget))


def search_request_steps(
    fields: SampleFields,
    manifest: Manifest,
    max_n: int,
    max_budget: int,
    *,
    deterministic: bool = False,
    output: Output = "sample",
) -> Steps[tuple[RowsRequest, Choice | None]]:
    """The same, in steps. Where rows are chosen the request's n is the budget, which no more than `max_budget` is.

    Raises what `rows_request_steps` does.
    """
    if CHOOSING.isdisjoint(fields.model_fields_set):
        request = yield from rows_request_steps(fields, manifest, max_n, deterministic=deterministic, output=output)
        return request, None
    choice = yield from _choice(fields, manifest, max_n, max_budget)
    plain = dict.fromkeys(CHOOSING)
    if choice is None:
        rest = fields.model_copy(update=plain)
        request = yield from rows_request_steps(rest, manifest, max_n, deterministic=deterministic, output=output)
        return request, None
    # The critic takes samples as the generator makes them.
    given: Output = "sample" if choice.scored else output
    rest = fields.model_copy(update={**plain, "n": choice.budget})
    request = yield from rows_request_steps(rest, manifest, choice.budget, deterministic=deterministic, output=given)
    for at, _ in choice.where.conditions:
        if request.conditions is not None and not np.isnan(request.conditions[0, at]):
            name = (manifest.conditions or [])[at].name
            raise InvalidError(f"where.{CONDITION}{name}", "excludes condition, which says it of all rows")
    return request, choice


def _choice(fields: SampleFields, manifest: Manifest, max_n: int, max_budget: int) -> Steps[Choice | None]:
    if fields.where is None and fields.balance is None and fields.select is None:
        for name in ("budget", "allow_fewer"):
            if getattr(fields, name) is not None:
                raise InvalidError(name, "is of rows that are chosen; where, balance or select says how")
        return None
    how = next(name for name in ("where", "balance", "select") if getattr(fields, name) is not None)
    for name in ("latents", "labels", "conditions"):
        if getattr(fields, name) is not None:
            raise InvalidError(name, f"excludes {how}, which looks at more rows than are listed")
    n = fields.n or 1
    if n > max_n:
        raise TooLargeError(f"n: {shown_number(n)} rows were asked for; one request may ask for {max_n}")
    if fields.label is not None and fields.where is not None and LABEL in fields.where:
        raise InvalidError(f"where.{LABEL}", "excludes label, which all rows have")
    where = Where() if fields.where is None else (yield from where_steps(fields.where, manifest))
    balance = None if fields.balance is None else _balance(fields, where, manifest)
    of = 1 if fields.select is None else _best_of(fields.select, manifest)
    choice = Choice(n, 0, bool(fields.allow_fewer), where, of, balance)
    return choice._replace(budget=_budget(fields, choice, max_budget))


def _budget(fields: SampleFields, choice: Choice, max_budget: int) -> int:
    """Rows to look at, whole groups of those of which one is the best."""
    n, of = choice.n, choice.of
    least = of if choice.allow_fewer else n * of
    budget = fields.budget
    if budget is None:
        if least > max_budget:
            raise TooLargeError(f"n: {n} rows need {least} to be looked at; at most {max_budget} are")
        budget = min(n * of if choice.certain else max(BUDGET * n, n * of), max_budget)
    elif budget > max_budget:
        raise TooLargeError(f"budget: {shown_number(budget)} rows to be looked at; at most {max_budget} are")
    elif budget < least:
        raise InvalidError("budget", f"is {budget}; {least} rows have to be looked at, at the least")
    room = SEED_LIMIT - (fields.offset or 0)
    if room < least:
        raise InvalidError("offset", f"{room} rows follow; {least} have to be looked at, at the least")
    budget = min(budget, room)
    return budget - budget % of


def _best_of(select: dict[str, Any], manifest: Manifest) -> int:
    """How many rows there are for each that is wanted."""
    for member in select:
        if member != "of":
            raise InvalidError(f"select.{shown(member)}", "unknown field")
    of = select.get("of")
    if type(of) is not int or not 2 <= of <= MOST_OF:
        raise InvalidError("select.of", f"a whole number is needed, 2 to {MOST_OF}")
    require_critic("select", manifest)
    return of


def _balance(fields: SampleFields, where: Where, manifest: Manifest) -> Balance:
    """Of the categories that there are; where a condition says which of them, of those."""
    name = fields.balance or ""
    if name == LABEL:
        if manifest.labels is None:
            raise InvalidError("balance", f"the model {manifest.name} takes no labels")
        if fields.label is not None:
            raise InvalidError("balance", "excludes label, which all rows have")
        wanted = np.ones(len(manifest.labels), np.bool_) if where.labels is None else where.labels
        return Balance(name, None, wanted, manifest.labels)
    at, column = find_column("balance", name, manifest)
    if column.categories is None:
        raise InvalidError("balance", f"{shown(name)} has no categories")
    wanted = np.array([category is not None for category in column.categories])
    for of, test in where.columns:
        if of == at:
            wanted &= test.passes(np.arange(len(wanted), dtype=np.float32))
    if not wanted.any():
        raise InvalidError("balance", f"where leaves no value of {shown(name)}")
    return Balance(name, at, wanted, column.categories)
