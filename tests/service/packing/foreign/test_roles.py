"""What inputs are, in words."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentserve.service.packing.foreign.roles import (
    ConditionRole,
    ConstantRole,
    LabelRole,
    LatentRole,
    RoleError,
    UnusedRole,
    parse_role,
    split_told,
)

WORDS = {
    "latent": LatentRole(),
    "latent:normal": LatentRole("normal"),
    "latent:uniform": LatentRole("uniform"),
    "latent:uniform(0,1)": LatentRole("uniform", 0.5, 0.5),
    "latent:normal(1,2)": LatentRole("normal", 1, 2),
    "latent:16": LatentRole(shape=(16,)),
    "latent:truncation(0.7), 4x64x64 ,uniform(-2,2)": LatentRole("uniform", 0, 2, 0.7, (4, 64, 64)),
    "noise": LatentRole(noise=True),
    "noise:1x8x8,normal(0,0.1)": LatentRole("normal", 0, 0.1, shape=(1, 8, 8), noise=True),
    "label": LabelRole(),
    "label:index": LabelRole("index"),
    "label:one-hot": LabelRole("one-hot"),
    "unused": UnusedRole(),
}


@pytest.mark.parametrize(("words", "role"), WORDS.items(), ids=WORDS)
def test_words_are_roles_and_back(words: str, role: object):
    assert parse_role("x", words) == role
    assert parse_role("x", str(role)) == role


@pytest.mark.parametrize("words", ["1..100,log-uniform,GeV", "GeV,1..100,log-uniform", "log-uniform, GeV, 1..1e2"])
def test_a_condition_in_any_order(words: str):
    (energy,) = parse_role("energy", f"condition:{words}").conditions("energy", 1)
    assert (energy.name, energy.unit, energy.range, energy.prior) == ("energy", "GeV", (1, 100), "log-uniform")


def test_columns_of_a_condition():
    same = parse_role("c", "condition:-1..1,normal")
    assert isinstance(same, ConditionRole)
    assert [one.name for one in same.conditions("dense_input:0", 3)] == [f"dense_input_{place}" for place in range(3)]
    told = parse_role("c", "condition:energy=1..100,GeV;theta=-0.5..0.5,rad;0..1")
    assert isinstance(told, ConditionRole)
    assert [(one.name, one.unit) for one in told.conditions("2c", 3)] == [
        ("energy", "GeV"),
        ("theta", "rad"),
        ("_2c_2", None),
    ]
    with pytest.raises(RoleError, match="3 conditions are told; it has 2 columns"):
        told.conditions("c", 2)
    with pytest.raises(RoleError, match="too many"):
        same.conditions("c", 10**12)


def test_a_condition_of_quantiles():
    (one,) = parse_role("e", "condition:quantiles(1,2,5),mm").conditions("e", 1)
    assert (one.range, one.prior, one.quantiles, one.unit) == ((1, 5), "quantiles", [1, 2, 5], "mm")


CONSTANTS = {
    "0.7": ([], np.float32, np.float32(0.7)),
    "true": ([], bool, True),
    "3": ([1], np.int64, [3]),
    "[1,2]": ([2], np.float16, [1, 2]),
    "1,2": ([2], np.float32, [1, 2]),
    "[[3,4]]": ([2], np.float32, [3, 4]),
    "[[1,2],[3,4]]": ([2, 2], np.int32, [[1, 2], [3, 4]]),
    "1": ([2, 2], bool, [[True, True], [True, True]]),
}


@pytest.mark.parametrize(("words", "expected"), CONSTANTS.items(), ids=CONSTANTS)
def test_constants(words: str, expected: tuple[list[int], type, object]):
    shape, kind, values = expected
    role = parse_role("k", f"constant:{words}")
    assert isinstance(role, ConstantRole)
    array = role.array("k", shape, np.dtype(kind))
    assert array.dtype == kind
    assert np.array_equal(array, values)


def test_a_constant_in_a_file(tmp_path: Path):
    np.save(tmp_path / "w.npy", np.arange(6.0).reshape(2, 3))
    role = parse_role("w", f"constant:{tmp_path / 'w.npy'}")
    assert isinstance(role, ConstantRole)
    assert role.array("w", [2, 3], np.dtype(np.float32)).sum() == 15


@pytest.mark.parametrize(
    ("words", "shape", "kind"),
    [
        ("[1,2]", [], "f4"),
        ("[1,2]", [3], "f4"),
        ("1.5", [], "i8"),
        ("2", [], "?"),
        ("1e300", [], "f4"),
        ("300", [], "u1"),
    ],
)
def test_constants_that_do_not_fit(words: str, shape: list[int], kind: str):
    role = parse_role("k", f"constant:{words}")
    assert isinstance(role, ConstantRole)
    with pytest.raises(RoleError, match="input k: "):
        role.array("k", shape, np.dtype(kind))


NONSENSE = [
    "nothing",
    "latents",
    "latent:",
    "latent:foo",
    "latent:4x",
    "latent:uniform(1,0)",
    "latent:uniform(1)",
    "latent:normal(0,0)",
    "latent:normal(0,nan)",
    "latent:uniform(0,1",
    "latent:uniform(0,inf)",
    "latent:truncation(0)",
    "latent:truncation(2)",
    "latent:,",
    "noise:truncation(0.5)",
    "label:two-hot",
    "condition",
    "condition:",
    "condition:GeV",
    "condition:2..1",
    "condition:1..1",
    "condition:0..1,log-uniform",
    "condition:nan..1",
    "condition:0..inf",
    "condition:1..2,3..4",
    "condition:0..1,GeV,MeV",
    "condition:a=0..1;a*=0..1",
    "condition:1..2;",
    "condition:quantiles(3,1)",
    "condition:0..1e39",
    "constant",
    "constant:",
    "constant:x",
    "constant:[[1],[2,3]]",
    "constant:NaN",
    'constant:"a"',
    "constant:nothing.npy",
    "constant:[]",
    "constant:{}",
    "constant:null",
    "unused:1",
]


@pytest.mark.parametrize("words", NONSENSE)
def test_words_that_are_none(words: str):
    with pytest.raises(RoleError) as caught:
        parse_role("the_input", words)
    assert str(caught.value).startswith("input the_input=")
    assert "\n" not in str(caught.value)


@given(st.text(max_size=30), st.sampled_from(["", "latent:", "condition:", "constant:", "label:", "noise:"]))
def test_any_words_are_a_role_or_one_line(text: str, kind: str):
    with contextlib.suppress(RoleError):  # and nothing else
        role = parse_role("x", kind + text)
        assert type(parse_role("x", str(role))) is type(role)


def test_told_on_the_command_line():
    assert split_told("z") == ("z", "latent")
    assert split_told("dense_input:0=constant:0.7") == ("dense_input:0", "constant:0.7")
    assert split_told("e=condition:energy=1..2") == ("e", "condition:energy=1..2")
    assert split_told("a=b=label:one-hot") == ("a=b", "label:one-hot")
    assert split_told("a=b") == ("a=b", "latent")
