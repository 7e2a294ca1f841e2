"""The inputs of somebody else's generator, each with its role, and what `z`, `label` and `condition` are for them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from latentserve.service.bundle import Condition, Inputs, Latent
from latentserve.service.bundle.manifest import Prior, first_fault
from latentserve.service.packing.foreign.roles import (
    ConditionRole,
    ConstantRole,
    LabelRole,
    LatentRole,
    Role,
    RoleError,
    UnusedRole,
)


@dataclass(frozen=True)
class Input:
    """One input as it was brought.

    Attributes:
        name: what the graph or the module calls it.
        dtype: of its numbers.
        shape: of a row, where it has a row for each sample; else its whole shape.
        batched: whether it has.
        role: what it is.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    batched: bool
    role: Role

    @property
    def width(self) -> int:
        """Numbers of a row."""
        return math.prod(self.shape)

    @property
    def rows(self) -> str:
        """Its whole shape, to be shown."""
        return ", ".join(map(str, [*(["batch"] if self.batched else []), *self.shape]))

    def __str__(self) -> str:
        return f"{self.name} {self.dtype.name} [{self.rows}]"


@dataclass(frozen=True)
class Signature:
    """All inputs, in the order in which they were brought; `prior` holds for latents that are told none."""

    inputs: tuple[Input, ...]
    prior: Prior = "normal"

    @property
    def latents(self) -> list[tuple[Input, LatentRole]]:
        """Those that are columns of `z`, in their order there: noise comes last."""
        found = [(one, one.role) for one in self.inputs if isinstance(one.role, LatentRole)]
        return sorted(found, key=lambda pair: pair[1].noise)

    @property
    def label(self) -> tuple[Input, LabelRole] | None:
        """The label, if there is one."""
        return next(((one, one.role) for one in self.inputs if isinstance(one.role, LabelRole)), None)

    @cached_property
    def latent(self) -> Latent:
        """What `z` is drawn from. Raises RoleError: it cannot be."""
        parts = [role.part(one.name, one.shape, self.prior) for one, role in self.latents]
        width = sum(part.width for part in parts)
        plain = len(parts) == 1 and parts[0] == LatentRole().part(parts[0].name, [width], parts[0].prior)
        try:
            return Latent(dim=width, prior=parts[0].prior, parts=None if plain else parts)
        except ValidationError as error:
            named = ", ".join(str(one) for one, _ in self.latents)
            raise RoleError(f"the latents {named} cannot be drawn: {first_fault(error)}") from None

    @cached_property
    def conditions(self) -> list[Condition] | None:
        """What the columns of `condition` are. Raises RoleError: told for another number of columns, or twice."""
        found = [
            condition
            for one in self.inputs
            if isinstance(one.role, ConditionRole)
            for condition in one.role.conditions(one.name, one.width)
        ]
        names = [condition.name for condition in found]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise RoleError(f"two conditions are called {twice}; tell them names: condition:NAME=LO..HI")
        return found or None

    def columns(self) -> Iterator[tuple[Input, slice]]:
        """Which columns each input takes: of `z` if it is a latent, of `condition` if it is a condition."""
        start = 0
        for one, _ in self.latents:
            yield one, slice(start, start + one.width)
            start += one.width
        start = 0
        for one in self.inputs:
            if isinstance(one.role, ConditionRole):
                yield one, slice(start, start + one.width)
                start += one.width

    def feed(self, rows: Inputs) -> dict[str, NDArray[Any]]:
        """What the inputs as they were brought hold for these rows: what the adapted graph makes of them, in numpy."""
        columns = {one.name: place for one, place in self.columns()}
        n = len(rows.z)
        return {one.name: self._given(one, columns.get(one.name), rows, n) for one in self.inputs}

    def _given(self, one: Input, columns: slice | None, rows: Inputs, n: int) -> NDArray[Any]:
        shape = (n, *one.shape) if one.batched else one.shape
        match one.role:
            case LatentRole():
                found: NDArray[Any] = rows.z[:, columns]
                if one.dtype.kind in "iu":
                    found = np.floor(found).clip(*one.role.wholes)
            case ConditionRole():
                assert rows.condition is not None  # noqa: S101, for mypy
                found = rows.condition[:, columns]
            case LabelRole(form):
                assert rows.label is not None  # noqa: S101, for mypy
                found = rows.label if form == "index" else rows.label[:, None] == np.arange(one.width)
            case ConstantRole():
                found = np.broadcast_to(one.role.array(one.name, one.shape, one.dtype), shape)
            case UnusedRole():
                found = np.zeros(shape)
        return np.ascontiguousarray(found.reshape(shape), one.dtype).reshape(shape)
