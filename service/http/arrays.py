"""Bodies of arrays: an `.npy` file of latents, or an `.npz` file of latents, labels and conditions.

Nothing in them is unpickled, and nothing is believed of what a file says of itself: sizes are bounded before a byte is
inflated, and while it is. The formats are numpy's (`numpy.lib.format`) and PKWARE's (APPNOTE.TXT).
"""

from __future__ import annotations

import ast
import io
import math
import re
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.errors import InvalidError, MalformedArraysError, TooLargeError
from latentserve.service.sampling.pieces import Steps

_MAGIC = b"\x93NUMPY"
_HEADER_BYTES = 4096  # of an array's description: numpy writes 128
_KINDS = {  # of numbers, by member: numpy's letters of kinds and types, and their words
    "latents": ("f", "float16, float32 and float64 are"),
    "labels": ("iuU", "integers and text are"),
    "conditions": ("f", "float16, float32 and float64 are"),
    "samples": ("fB", "float16, float32, float64 and uint8 are"),
}
SAMPLED, SCORED = ("latents", "labels", "conditions"), ("samples", "labels", "conditions")  # members that are read
_AXES = {"latents": "[n, dim]", "labels": "[n]", "conditions": "[n, k]", "samples": "[n, ...]"}

_ONE_TYPE = re.compile(r"[<>|=]?[?a-zA-Z]+[0-9]{0,9}", re.ASCII)

_DIRECTORY_END, _ZIP64 = b"PK\x05\x06", b"PK\x06\x07"
_DIRECTORY_BYTES = 4096  # of the list of members
_ENCRYPTED = 1  # a flag of a member
_INFLATED_BYTES = 1 << 18  # at a time


def read_npy(content: bytes | bytearray, name: str = "latents") -> NDArray[Any]:
    """The array of an `.npy` file, without a copy: float [n, dim] of latents, integers or text [n] of labels, float
    [n, k] of conditions, float or uint8 [n, ...] of samples. Raises MalformedArraysError, InvalidError.
    """
    version = content[len(_MAGIC) : len(_MAGIC) + 2]
    if content[: len(_MAGIC)] != _MAGIC or version not in (b"\1\0", b"\2\0", b"\3\0"):
        raise MalformedArraysError(f"{name}: is no .npy file of version 1 to 3")
    width = 2 if version == b"\1\0" else 4
    begin = len(_MAGIC) + 2 + width
    length = int.from_bytes(content[begin - width : begin], "little")
    if length > _HEADER_BYTES or len(content) < begin + length:
        raise MalformedArraysError(
            f"{name}: the .npy header says that it has {length} bytes; up to {_HEADER_BYTES} are read"
        )
    descr, fortran_order, shape = _described(bytes(content[begin : begin + length]), name)
    kinds, taken = _KINDS[name]
    dtype = _dtype(descr)
    if dtype is None or {dtype.kind, dtype.char}.isdisjoint(kinds) or dtype.itemsize == 0:
        pickled = ", which are pickled and never read" if "O" in str(descr) else ""
        raise InvalidError(name, f"holds values of {str(descr)[:100]!r}{pickled}; {taken}")
    if name != "samples" and len(shape) != _AXES[name].count(",") + 1:
        raise InvalidError(name, f"has the shape {shape}; {_AXES[name]} is needed")
    size = math.prod(shape) * dtype.itemsize
    if len(content) - begin - length != size:
        there = len(content) - begin - length
        raise MalformedArraysError(f"{name}: the .npy header says {size} bytes of values, and {there} follow")
    values: NDArray[Any] = np.frombuffer(content, dtype, offset=begin + length)
    return values.reshape(shape, order="F" if fortran_order else "C")


def _described(header: bytes, name: str) -> tuple[object, bool, tuple[int, ...]]:
    """What an `.npy` header says. Raises MalformedArraysError."""
    try:
        said = ast.literal_eval(header.decode("utf-8").strip())
        descr, fortran_order, shape = said.pop("descr"), said.pop("fortran_order"), said.pop("shape")
        whole = isinstance(shape, tuple) and all(type(side) is int and 0 <= side < 1 << 40 for side in shape)
        if not said and type(fortran_order) is bool and whole:
            return descr, fortran_order, shape
    except (ValueError, SyntaxError, TypeError, KeyError, AttributeError, MemoryError, RecursionError):
        pass
    raise MalformedArraysError(f"{name}: the .npy header is not a dictionary of descr, fortran_order and shape")


def _dtype(descr: object) -> np.dtype[Any] | None:
    """None of what is no single type: numpy also evaluates lists of them, `2f4, <i8`."""
    try:
        return np.dtype(descr) if isinstance(descr, str) and _ONE_TYPE.fullmatch(descr) else None
    except (TypeError, ValueError):
        return None


def read_npz(content: bytes, limit: int, taken: Sequence[str] = SAMPLED) -> Steps[dict[str, NDArray[Any]]]:
    """The arrays of an `.npz` file by name, those that are `taken`, of up to `limit` bytes together.

    Raises MalformedArraysError, InvalidError, TooLargeError.
    """
    end = content.rfind(_DIRECTORY_END)
    # What a list of members takes is looked at first: each would become an object.
    if (
        end < 0
        or int.from_bytes(content[end + 12 : end + 16], "little") > _DIRECTORY_BYTES
        or _ZIP64 in content[end - 20 : end]
    ):
        raise MalformedArraysError("the body is no .npz file: no list of a few members is at its end")
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise MalformedArraysError(f"the body is no .npz file: {str(error)[:200]}") from None
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name not in taken or name == info.filename:
            raise InvalidError(
                info.filename[:100], f"is no member that is taken: {taken[0]}.npy, labels.npy and conditions.npy are"
            )
        if name in members:
            raise InvalidError(name, "is there twice")
        if info.flag_bits & _ENCRYPTED:
            raise InvalidError(name, "is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InvalidError(name, f"is compressed by method {info.compress_type}; stored and deflated are taken")
        members[name] = info
    if (size := sum(info.file_size for info in members.values())) > limit:
        raise TooLargeError(f"{', '.join(members)}: have {size} bytes; at most {limit} are taken")
    arrays: dict[str, NDArray[Any]] = {}
    for name, info in members.items():
        inflated = bytearray()
        try:
            with archive.open(info) as member:  # gives no more than the size that was stated, and compares the sum
                while piece := member.read(_INFLATED_BYTES):
                    inflated += piece
                    yield
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, OSError) as error:
            raise MalformedArraysError(f"{name}: cannot be inflated: {str(error)[:200]}") from None
        arrays[name] = read_npy(inflated, name)
    return arrays
