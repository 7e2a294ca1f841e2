"""Bodies of arrays: what numpy writes is read; what is damaged, disguised or too large is refused by name."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from latentserve.service.errors import InvalidError, LatentserveError, MalformedArraysError, TooLargeError
from latentserve.service.http.arrays import read_npy, read_npz
from latentserve.service.http.body import SamplesBody
from latentserve.service.sampling.fields import rows_request
from latentserve.service.sampling.pieces import at_once
from tests.service.http.test_body import CONDITIONAL, PHYSICS

LIMIT = 1 << 20
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3) / 7


def npy(array: Any, version: tuple[int, int] | None = None, **how: Any) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asanyarray(array), version, **how)
    return buffer.getvalue()


def npz(compress: bool = False, **arrays: Any) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def archive(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


def of(content: bytes) -> dict[str, Any]:
    return at_once(read_npz(content, LIMIT))


def asked(model: Any = CONDITIONAL, **arrays: Any) -> Any:
    return rows_request(SamplesBody().model_copy(update=arrays), model, 10**6)


@given(
    rows=hnp.arrays(
        st.sampled_from(["<f2", "<f4", "<f8", ">f2", ">f4", ">f8"]),
        st.tuples(st.integers(1, 5), st.just(3)),
        elements=st.floats(-1, 1, width=16),
    ),
    version=st.sampled_from([(1, 0), (2, 0), (3, 0)]),
    fortran=st.booleans(),
)
def test_latents_of_every_float_and_order(rows: np.ndarray, version: tuple[int, int], fortran: bool) -> None:
    content = npy(np.asfortranarray(rows) if fortran else rows, version)
    latents = asked(latents=read_npy(content)).latents
    assert latents.dtype == np.float32
    assert latents.flags.c_contiguous
    assert np.array_equal(latents, rows.astype(np.float32))


@pytest.mark.parametrize("compress", [False, True])
def test_an_npz_file_of_everything(compress: bool) -> None:
    conditions = np.array([[0.5, 45], [0.25, -90]])
    arrays = of(npz(compress, latents=ROWS[:2], labels=np.uint8([2, 0]), conditions=conditions))
    request = asked(PHYSICS, **arrays)
    assert request.n == 2
    assert np.array_equal(request.latents, ROWS[:2])
    assert request.labels.tolist() == [2, 0]
    assert np.array_equal(request.conditions, conditions.astype(np.float32))
    assert asked(**of(npz(compress, labels=np.array(["one", "7"])))).labels.tolist() == [1, 2]


def test_many_rows_are_as_many() -> None:
    rows = np.random.default_rng(0).normal(size=(100_000, 3)).astype(np.float32)
    assert np.array_equal(asked(latents=read_npy(npy(rows))).latents, rows)
    labels = np.arange(100_000) % 3
    assert np.array_equal(asked(labels=labels).labels, labels)
    conditions = np.full((50_000, 2), 0.5)
    assert np.array_equal(asked(PHYSICS, conditions=conditions).conditions, conditions)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"latents": ROWS[:, :2]}, r"latents\[0\]: has 2 values; the model's latent has 3"),
        ({"latents": ROWS[:0]}, "latents: is empty"),
        ({"latents": np.where(ROWS > 1.5, np.nan, ROWS)}, r"latents\[3\]\[2\]: Input should be a finite number"),
        ({"latents": np.where(ROWS > 1.5, np.inf, ROWS)}, r"latents\[3\]\[2\]: Input should be a finite number"),
        ({"latents": np.where(ROWS > 1.5, 1e39, ROWS.astype(float))}, r"latents\[3\]\[2\]: is too large for float32"),
        ({"latents": ROWS, "labels": np.zeros(3, int)}, "labels: 3 labels for 4 latents"),
        ({"latents": ROWS, "seed": 1}, "seed: excludes latents"),
        ({"labels": np.array([0, 3])}, r"labels\[1\]: is 3; the model has labels 0 to 2"),
        ({"labels": np.array([0, -1])}, r"labels\[1\]: is -1"),
        ({"labels": np.array(["one", "none"])}, r"labels\[1\]: no label has the name 'none'"),
        ({"conditions": np.zeros((2, 3))}, "conditions: the model toy takes no conditions"),
    ],
    ids=str,
)
def test_values_that_the_model_does_not_take(arrays: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidError, match=f"^{words}"):
        asked(**arrays)


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        (np.full((2, 3), 0.5), "conditions: has 3 columns; the model has 2: energy, angle"),
        (np.array([[0.5, 0], [0.5, np.nan]]), r"conditions\[1\].angle: is nan"),
        (np.array([[0.5, 0], [50, 0]]), r"conditions\[1\].energy: is 50.0; the model's range"),
    ],
)
def test_conditions_that_the_model_does_not_take(conditions: Any, words: str) -> None:
    with pytest.raises(InvalidError, match=f"^{words}"):
        asked(PHYSICS, conditions=conditions)


def header(text: str, version: bytes = b"\1\0", values: bytes = ROWS.tobytes()) -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text.encode() + values


FOUR = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3), }"


@pytest.mark.parametrize("text", [FOUR, "{'shape':(4,3),'fortran_order':False,'descr':'<f4'}", FOUR + " " * 69 + "\n"])
def test_headers_that_others_write(text: str) -> None:
    assert np.array_equal(read_npy(header(text)), ROWS)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", MalformedArraysError, "is no .npy file"),
        (b"\x93NUMPY", MalformedArraysError, "is no .npy file"),
        (b'{"n": 1}', MalformedArraysError, "is no .npy file"),
        (b"\x93NUMPY\4\0" + npy(ROWS)[8:], MalformedArraysError, "is no .npy file of version 1 to 3"),
        (b"\x93NUMPY\2\0\xff\xff\xff\xff", MalformedArraysError, "says that it has 4294967295 bytes; up to 4096"),
        (npy(ROWS)[:60], MalformedArraysError, "says that it has 118 bytes"),
        (npy(ROWS)[:-1], MalformedArraysError, "says 48 bytes of values, and 47 follow"),
        (npy(ROWS) + b"x", MalformedArraysError, "says 48 bytes of values, and 49 follow"),
        (header("(" * 4000), MalformedArraysError, "is not a dictionary"),
        (header("[" * 300 + "]" * 300), MalformedArraysError, "is not a dictionary"),
        (header("__import__('os').getcwd()"), MalformedArraysError, "is not a dictionary"),
        (header("{}"), MalformedArraysError, "is not a dictionary"),
        (header(FOUR.replace("(4, 3)", "(4, True)")), MalformedArraysError, "is not a dictionary"),
        (header(FOUR.replace("(4, 3)", "(-4, -3)")), MalformedArraysError, "is not a dictionary"),
        (header(FOUR.replace("(4, 3)", "12")), MalformedArraysError, "is not a dictionary"),
        (header(FOUR.replace("(4, 3)", f"({10**30}, 3)")), MalformedArraysError, "is not a dictionary"),
        (header(FOUR.replace("False", "0")), MalformedArraysError, "is not a dictionary"),
        (header(FOUR.replace("}", "'more': 1}")), MalformedArraysError, "is not a dictionary"),
        (header(FOUR.replace("(4, 3)", "(1099511627775, 1099511627775)")), MalformedArraysError, "bytes of values"),
        (npy(np.array([[object()]], object)), InvalidError, r"holds values of '\|O', which are pickled and never read"),
        (npy(ROWS.astype(int)), InvalidError, "holds values of '<i8'; float16, float32 and float64 are"),
        (npy(ROWS.astype(complex)), InvalidError, "holds values of '<c16'"),
        (npy(ROWS.astype(bool)), InvalidError, r"holds values of '\|b1'"),
        (npy(ROWS.view([("a", "<f4"), ("b", "<f4"), ("c", "<f4")])), InvalidError, r"holds values of \"\[\('a'"),
        (header(FOUR.replace("<f4", "nonsense")), InvalidError, "holds values of 'nonsense'"),
        (header(FOUR.replace("<f4", "<,2")), InvalidError, "holds values of '<,2'"),
        (header(FOUR.replace("<f4", "2f4, <i8")), InvalidError, "holds values of '2f4, <i8'"),
        (npy(ROWS[0]), InvalidError, r"has the shape \(3,\); \[n, dim\] is needed"),
        (npy(ROWS[None]), InvalidError, r"has the shape \(1, 4, 3\)"),
    ],
    ids=range(29),
)
def test_npy_files_that_are_refused(content: bytes, error: type[LatentserveError], words: str) -> None:
    with pytest.raises(error, match=f"^latents: .*{words}") as caught:
        read_npy(content)
    assert len(str(caught.value)) < 400


@given(at=st.integers(0, 200), byte=st.integers(0, 255))
def test_a_damaged_npy_file_is_read_or_refused(at: int, byte: int) -> None:
    content = bytearray(npy(ROWS))
    content[at % len(content)] = byte
    with suppress(MalformedArraysError, InvalidError):
        assert read_npy(bytes(content)).ndim == 2


def test_zip_bombs_are_refused_by_what_they_state_and_by_what_comes() -> None:
    bomb = archive(("latents.npy", bytes(LIMIT + 1)))
    assert len(bomb) < LIMIT / 100
    with pytest.raises(TooLargeError, match=f"latents: have {LIMIT + 1} bytes; at most {LIMIT}"):
        of(bomb)
    two = archive(("latents.npy", bytes(LIMIT // 2)), ("labels.npy", bytes(LIMIT // 2 + 1)))
    with pytest.raises(TooLargeError, match="latents, labels: have"):
        of(two)
    liar = bytearray(bomb)
    for signature, field in ((b"PK\1\2", 24), (b"PK\3\4", 22)):
        at = liar.index(signature) + field
        liar[at : at + 4] = struct.pack("<I", 1000)
    with pytest.raises(MalformedArraysError, match="latents: cannot be inflated"):
        of(bytes(liar))


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", MalformedArraysError, "no .npz file"),
        (b"PK\3\4" + bytes(100), MalformedArraysError, "no .npz file"),
        (npy(ROWS), MalformedArraysError, "no .npz file"),
        (npz(latents=ROWS)[:-30], MalformedArraysError, "no .npz file"),
        (npz(latents=ROWS)[30:], MalformedArraysError, "no .npz file|cannot be inflated"),
        (archive(("latents.npy", b"\x93NUMPY\1\0")), MalformedArraysError, "latents: the .npy header"),
        (archive(("../latents.npy", npy(ROWS))), InvalidError, r"\.\./latents.npy: is no member that is taken"),
        (archive(("/latents.npy", npy(ROWS))), InvalidError, "/latents.npy: is no member"),
        (archive(("latents", npy(ROWS))), InvalidError, "latents: is no member"),
        (archive(("latents.npy/", b"")), InvalidError, "latents.npy/: is no member"),
        (archive(("seed.npy", npy(7))), InvalidError, "seed.npy: is no member"),
        (archive(("x" * 1000 + ".npy", b"")), InvalidError, "x{100}: is no member"),
        (archive(("latents.npy", npy(ROWS)), method=zipfile.ZIP_LZMA), InvalidError, "compressed by method 14"),
        (archive(("latents.npy", npy(ROWS)), method=zipfile.ZIP_BZIP2), InvalidError, "compressed by method 12"),
        (archive(("labels.npy", npy(np.array([object()])))), InvalidError, "labels: holds .* pickled and never read"),
        (archive(("labels.npy", npy(np.array([True])))), InvalidError, r"labels: holds values of '\|b1'; integers"),
        (archive(("labels.npy", npy(np.zeros((2, 2), int)))), InvalidError, r"labels: has the shape .*\[n\] is"),
        (archive(*[(f"{i:03}", b"") for i in range(100)]), MalformedArraysError, "no list of a few members"),
    ],
    ids=range(18),
)
def test_npz_files_that_are_refused(content: bytes, error: type[LatentserveError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        of(content)
    assert len(str(caught.value)) < 400


def _twice(content: bytes) -> bytes:
    with pytest.warns(UserWarning, match="Duplicate"):
        return archive(("latents.npy", content), ("latents.npy", content))


def _flagged(content: bytes) -> bytes:
    """Said to be encrypted."""
    changed = bytearray(archive(("latents.npy", content)))
    for signature, field in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        changed[changed.index(signature) + field] |= 1
    return bytes(changed)


def _zip64(content: bytes) -> bytes:
    """With a record of that form at its end."""
    end = archive(("latents.npy", content))
    at = end.rindex(b"PK\5\6")
    return end[:at] + b"PK\6\7" + bytes(16) + end[at:]


@pytest.mark.parametrize(
    ("make", "words"),
    [(_twice, "latents: is there twice"), (_flagged, "latents: is encrypted"), (_zip64, "no list of a few members")],
)
def test_members_that_are_no_plain_files(make: Callable[[bytes], bytes], words: str) -> None:
    with pytest.raises((InvalidError, MalformedArraysError), match=words):
        of(make(npy(ROWS)))


@given(at=st.integers(0, 10**6), byte=st.integers(0, 255), compress=st.booleans())
def test_a_damaged_npz_file_is_read_or_refused(at: int, byte: int, compress: bool) -> None:
    content = bytearray(npz(compress, latents=ROWS, labels=np.arange(4)))
    content[at % len(content)] = byte
    with suppress(MalformedArraysError, InvalidError, TooLargeError):
        of(bytes(content))
