"""Inverses and decompositions, which exporters know no operators for: of weights, as flows have them, none are needed
where all rows have the same; of a few columns, as cameras and covariances of rows have them, by steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Compute = Callable[[], Any]
Known = Callable[[Compute], Any]
"""What a computation gives if that is the same for all rows; None: it is not, or not known yet."""


_MOST_COLUMNS = 8  # of matrices that are worked out by steps


def alike(one: Any, other: Any) -> bool:
    """Whether two runs gave the same: tensors, or tuples of them."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and one.dtype == other.dtype and bool(torch.equal(one, other))
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return False


def _whole(known: Known, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    made = known(lambda: func(*args, **kwargs))
    return func(*args, **kwargs) if made is None else made


def _invert(known: Known, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    made = known(lambda: func(*args, **kwargs))
    if made is None and _is_small(args[:1]) and not kwargs:
        return inverse_by_steps(args[0])
    return func(*args, **kwargs) if made is None else made


def _decompose(known: Known, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    made = known(lambda: func(*args, **kwargs))
    if made is None and _is_small(args) and not kwargs:
        return cholesky_by_steps(args[0])
    return func(*args, **kwargs) if made is None else made


def _is_small(args: tuple[Any, ...]) -> bool:
    return len(args) == 1 and args[0].is_floating_point() and args[0].shape[-1] <= _MOST_COLUMNS


def inverse_by_steps(a: Tensor) -> Tensor:
    """Of matrices [..., n, n] by Gauss and Jordan, the largest number of a column first, in double precision."""
    n = a.shape[-1]
    left = torch.cat([a.double(), torch.eye(n, dtype=torch.float64, device=a.device).expand(a.shape)], -1)
    for k in range(n):
        largest = F.one_hot(left[..., k:, k].abs().argmax(-1) + k, n).bool().unsqueeze(-1)
        row = torch.where(largest, left, 0.0).sum(-2, keepdim=True)
        left = torch.where(largest, left[..., k : k + 1, :], left)
        row = row / row[..., k : k + 1]
        left = left - left[..., k : k + 1] * row
        left = torch.cat([left[..., :k, :], row, left[..., k + 1 :, :]], -2)
    return left[..., n:].to(a.dtype)


def cholesky_by_steps(a: Tensor) -> Tensor:
    """The lower triangle L [..., n, n] of matrices L L^T, column by column, in double precision."""
    n = a.shape[-1]
    left, columns = a.double(), []
    for k in range(n):
        column = left[..., k] / left[..., k, k].sqrt().unsqueeze(-1)
        column = torch.cat([torch.zeros_like(column[..., :k]), column[..., k:]], -1)
        left = left - column.unsqueeze(-1) * column.unsqueeze(-2)
        columns.append(column)
    return torch.stack(columns, -1).to(a.dtype)


def _solve(known: Known, func: Callable[..., Any], *args: Any, left: bool = True, **kwargs: Any) -> Any:
    """torch.linalg.solve: the x of a x = b."""
    inverse = known(lambda: _inverse(args[0])) if len(args) == 2 else None
    if inverse is None and len(args) == 2 and _is_small(args[:1]) and not kwargs:
        inverse = inverse_by_steps(args[0])
    if inverse is None:
        return func(*args, left=left, **kwargs)
    a, b = args
    if b.ndim == a.ndim - 1 and b.shape == a.shape[:-1]:
        return (inverse @ b.unsqueeze(-1)).squeeze(-1)
    return inverse @ b if left else b @ inverse


def _solve_triangular(
    known: Known,
    func: Callable[..., Any],
    *args: Any,
    upper: bool,
    left: bool = True,
    unitriangular: bool = False,
    **kwargs: Any,
) -> Any:
    if len(args) == 2:
        inverse = known(lambda: _inverse(_triangle(args[0], upper=upper, unit=unitriangular)))
        if inverse is not None:
            return inverse @ args[1] if left else args[1] @ inverse
    return func(*args, upper=upper, left=left, unitriangular=unitriangular, **kwargs)


def _triangular_solve(
    known: Known,
    func: Callable[..., Any],
    *args: Any,
    upper: bool = True,
    transpose: bool = False,
    unitriangular: bool = False,
) -> Any:
    """torch.triangular_solve, of old: of b and a."""
    if len(args) == 2:
        inverse = known(lambda: _inverse(_triangle(args[1], upper=upper, unit=unitriangular)))
        if inverse is not None:
            return (inverse.mT if transpose else inverse) @ args[0], args[1]
    return func(*args, upper=upper, transpose=transpose, unitriangular=unitriangular)


def _cholesky_solve(known: Known, func: Callable[..., Any], *args: Any, upper: bool = False, **kwargs: Any) -> Any:
    if len(args) == 2:
        b, factor = args
        inverse = known(lambda: _inverse(factor.mT @ factor if upper else factor @ factor.mT))
        if inverse is not None:
            return inverse @ b
    return func(*args, upper=upper, **kwargs)


def _inverse(a: Tensor) -> Tensor:
    return torch.linalg.inv(a.double()).to(a.dtype)


def _triangle(a: Tensor, *, upper: bool, unit: bool) -> Tensor:
    found = a.triu() if upper else a.tril()
    return found - torch.diag_embed(found.diagonal(dim1=-2, dim2=-1) - 1) if unit else found


_NAMES = (
    "inv_ex", "pinverse", "pinv", "matrix_exp", "matrix_power", "cholesky_ex",
    "cholesky_inverse", "qr", "svd", "svdvals", "eigh", "eigvalsh", "det", "logdet", "slogdet", "lu", "lu_factor",
    "lu_unpack", "householder_product", "orgqr", "matrix_norm", "matrix_rank",
)  # fmt: skip
_PLACES = (torch, torch.linalg, Tensor)

REPLACED: dict[Callable[..., Any], Callable[..., Any]] = {
    **{getattr(place, name): _whole for place in _PLACES for name in _NAMES if hasattr(place, name)},
    **dict.fromkeys((torch.inverse, torch.linalg.inv, Tensor.inverse), _invert),
    **dict.fromkeys((torch.cholesky, torch.linalg.cholesky, Tensor.cholesky), _decompose),
    torch.linalg.solve: _solve,
    torch.linalg.solve_triangular: _solve_triangular,
    torch.triangular_solve: _triangular_solve,
    Tensor.triangular_solve: _triangular_solve,
    torch.cholesky_solve: _cholesky_solve,
    Tensor.cholesky_solve: _cholesky_solve,
}
"""Functions of torch, and how they are computed: of `known`, the function itself, and its arguments."""
