"""Inputs that nobody says anything of."""

from __future__ import annotations

import pytest
from onnx import TensorProto

from latentserve.service.errors import BundleError
from latentserve.service.packing.foreign.inputs import assign_roles
from tests.service.packing.foreign.graphs import BOOL, FLOAT, INT32, INT64, Axes, model

Declared = dict[str, tuple[int, Axes]]


def graph(inputs: Declared, unread: str = ""):
    """A graph that reads all of these inputs but one."""
    nodes = [("Cast", name, f"cast{place}", {"to": FLOAT}) for place, name in enumerate(inputs) if name != unread]
    sums = [("ReduceSum", f"cast{place}", f"sum{place}", {}) for place, name in enumerate(inputs) if name != unread]
    last = ("Sum", " ".join(f"sum{place}" for place, name in enumerate(inputs) if name != unread), "x", {})
    return model([*nodes, *sums, last], inputs, {"x": (FLOAT, ["n", 3])})


Z = (FLOAT, ["n", 16])

KNOWN: dict[str, tuple[Declared, dict[str, str]]] = {
    "the only input": ({"input.1": Z}, {"input.1": "latent"}),
    "whatever it is called": ({"c": Z}, {"c": "latent"}),
    "noise alone is the latent": ({"noise": Z}, {"noise": "latent"}),
    "a picture of latents": ({"latent_sample": (FLOAT, ["n", 4, 8, 8])}, {"latent_sample": "latent"}),
    "an integer": ({"input_1": Z, "input_2": (INT64, ["n"])}, {"input_2": "label:index"}),
    "an integer of a column": ({"z": Z, "y": (INT32, ["n", 1])}, {"y": "label:index"}),
    "a float by its name": ({"z": Z, "class_id": (FLOAT, ["n"])}, {"class_id": "label:index"}),
    "one-hot": ({"gen_input": Z, "Y": (FLOAT, ["n", 10])}, {"gen_input": "latent", "Y": "label:one-hot"}),
    "one-hot of a condition": ({"z": Z, "class_condition": (FLOAT, ["n", 10])}, {"class_condition": "label:one-hot"}),
    "one-hot of flags": ({"z": Z, "labels": (BOOL, ["n", 10])}, {"labels": "label:one-hot"}),
    "one of two": ({"z": Z, "label": (BOOL, ["n"])}, {"label": "label:index"}),
    "one-hot of integers": ({"z": Z, "labels": (INT32, ["n", 10])}, {"labels": "label:one-hot"}),
    "names of TensorFlow": (
        {"serving_default_noise:0": Z, "classLabel:0": (FLOAT, ["n", 10])},
        {"serving_default_noise:0": "latent", "classLabel:0": "label:one-hot"},
    ),
    "StyleGAN with maps of noise": (
        {"input.1": Z, **{f"noise{place}": (FLOAT, ["n", 1, 4, 4]) for place in range(14)}},
        {"input.1": "latent", "noise0": "noise", "noise13": "noise"},
    ),
    "noise as the latent, beside its maps": (
        {"noise": Z, "noise1": (FLOAT, ["n", 1, 4, 4]), "noise2": (FLOAT, ["n", 1, 8, 8])},
        {"noise": "latent", "noise1": "noise", "noise2": "noise"},
    ),
    "maps of noise for one row": ({"z": Z, "noise": (FLOAT, [1, 1, 4, 4])}, {"noise": "noise"}),
    "latents by their names": ({"z_style": Z, "z_content": Z}, {"z_style": "latent", "z_content": "latent"}),
    "BigGAN": (
        {"z": Z, "y": (FLOAT, ["n", 1000]), "truncation": (FLOAT, [])},
        {"z": "latent", "y": "label:one-hot", "truncation": "constant:1"},
    ),
    "psi of a row": ({"z": Z, "truncation_psi": (FLOAT, ["n", 1])}, {"truncation_psi": "constant:1"}),
    "a flag for training": ({"z": Z, "is_training": (BOOL, [])}, {"is_training": "constant:false"}),
    "Keras' phase of learning": (
        {"z": Z, "keras_learning_phase:0": (INT32, [])},
        {"keras_learning_phase:0": "constant:false"},
    ),
    "a latent with an image's name": ({"img_latent": (FLOAT, ["n", 3, 8, 8])}, {"img_latent": "latent"}),
    "a label of no columns": ({"z": Z, "c": (FLOAT, ["n", 0])}, {"c": "unused"}),
    "pictures that are called latents": ({"z": (FLOAT, ["n", 3, 32, 32])}, {"z": "latent"}),
    "a small picture, as autoencoders' latents are": ({"x": (FLOAT, ["n", 3, 8, 8])}, {"x": "latent"}),
    "a thousand classes": ({"z": Z, "c": (FLOAT, ["n", 1000])}, {"c": "label:one-hot"}),
    "a label for one row": ({"z": (FLOAT, [1, 16]), "label": (INT64, [1])}, {"label": "label:index"}),
}


@pytest.mark.parametrize(("inputs", "expected"), KNOWN.values(), ids=KNOWN)
def test_inputs_that_are_recognised(inputs: Declared, expected: dict[str, str]):
    assigned = assign_roles(graph(inputs), "g.onnx", {}, None, "normal")
    roles = {one.name: str(one.role) for one in assigned.signature.inputs}
    assert list(roles) == list(inputs)
    assert expected.items() <= roles.items()


def test_an_input_that_nothing_reads():
    assigned = assign_roles(graph({"z": Z, "step": (INT64, [])}, unread="step"), "g.onnx", {}, None, "normal")
    assert [str(one.role) for one in assigned.signature.inputs] == ["latent", "unused"]


ASKED: dict[str, tuple[Declared, dict[str, str], str]] = {
    "two latents without a name": ({"a": Z, "b": Z}, {}, "which of a (float32 [batch, 16]), b (float32 [batch, 16])"),
    "a number beside the latent": ({"z": Z, "energy": (FLOAT, ["n", 1])}, {}, "--input energy=KIND"),
    "a picture alone": ({"image": (FLOAT, ["n", 3, 8, 8])}, {}, "export the part behind its encoder"),
    "a picture beside the latent": ({"z": Z, "pixel_values": (FLOAT, ["n", 3, 8, 8])}, {}, "pixel_values=latent if"),
    "pictures by their axes": ({"x": (FLOAT, ["n", 3, 32, 32])}, {}, "ata seem to go into it"),
    "pictures of any size": ({"input": (FLOAT, ["n", "h", "w", 1])}, {}, "--input input=latent if they are drawn"),
    "sound": ({"mel": (FLOAT, ["n", 80, 20])}, {}, "ata seem to go into it"),
    "a text or a class": ({"z": Z, "c": (FLOAT, ["n", 768])}, {}, "f classes say --input c=label:one-hot"),
    "a number alone": ({"energy": (FLOAT, ["n", 1])}, {}, "what is the input energy"),
    "noise and a number": ({"noise": Z, "energy": (FLOAT, ["n"])}, {}, "what is the input energy"),
    "a scalar": ({"z": Z, "alpha": (FLOAT, [])}, {}, "--input alpha=constant:VALUE"),
    "a scalar integer": ({"z": Z, "label": (INT64, [])}, {}, "--input label=constant:VALUE"),
    "one integer for all rows": ({"z": Z, "index": (INT64, [1])}, {}, "what is the input index"),
    "a step": ({"z": Z, "timestep": (INT64, ["n"])}, {}, "timestep=constant:VALUE"),
    "a flag": ({"z": Z, "flip": (BOOL, [])}, {}, "--input flip=constant:VALUE"),
    "a flag of a row": ({"z": Z, "flip": (BOOL, ["n", 1])}, {}, "--input flip=label, flip=constant:VALUE"),
    "two integers": ({"z": Z, "a": (INT64, ["n"]), "b": (INT64, ["n"])}, {}, "a (int64 [batch])? Say --input a=label"),
    "a latent of any width": ({"z": (FLOAT, ["n", "d"])}, {}, "--input z=latent:16"),
    "a latent of any size": ({"z": (FLOAT, ["n", 4, "h", "w"])}, {}, "--input z=latent:4x16x16"),
    "a latent of unknown rank": ({"z": (FLOAT, None)}, {}, "--input z=latent:16"),
    "another shape than it has": ({"z": Z}, {"z": "latent:4x4"}, "no rows of shape 4x4"),
    "nobody's name": ({"z": Z}, {"w": "latent"}, "it has no input w; its inputs are z"),
    "a scalar as a condition": ({"z": Z, "psi": (FLOAT, [])}, {"psi": "condition:0..1"}, "psi=constant:VALUE"),
    "an index of ten columns": ({"z": Z, "y": (INT64, ["n", 10])}, {"y": "label:index"}, "y=label:one-hot"),
    "one-hot of one number": ({"z": Z, "y": (INT64, ["n"])}, {"y": "label:one-hot"}, "an index: --input y=label"),
    "one-hot of any width": ({"z": Z, "y": (FLOAT, ["n", "k"])}, {"y": "label:one-hot"}, "--labels A,B"),
    "other batches": ({"z": (FLOAT, [4, 16]), "y": (INT64, [8])}, {}, "z 4, y 8"),
    "integers that are drawn": ({"tokens": (INT64, ["n", 16])}, {"tokens": "latent"}, "tokens=latent:uniform(0,N)"),
    "codes beyond their type": (
        {"codes": (TensorProto.INT8, ["n", 16])},
        {"codes": "latent:uniform(0,512)"},
        "cannot hold all whole numbers",
    ),
    "flags that are drawn": ({"flags": (BOOL, ["n", 16])}, {"flags": "latent:uniform(0,2)"}, "holds no numbers"),
    "two labels": ({"z": Z, "a": (INT64, ["n"]), "b": (INT64, ["n"])}, {"a": "label", "b": "label"}, "a, b cannot be"),
}


@pytest.mark.parametrize(("inputs", "told", "words"), ASKED.values(), ids=ASKED)
def test_inputs_that_are_asked_for(inputs: Declared, told: dict[str, str], words: str):
    with pytest.raises(BundleError) as caught:
        assign_roles(graph(inputs), "g.onnx", told, None, "normal")
    message = str(caught.value)
    assert message.startswith("g.onnx: ")
    assert words in message
    assert "\n" not in message


def test_what_is_told_of_an_input_that_nothing_reads():
    with pytest.raises(BundleError, match="nothing reads the input z"):
        assign_roles(graph({"z": Z, "a": Z}, unread="z"), "g.onnx", {"z": "latent"}, None, "normal")


def test_what_is_told_is_so():
    inputs: Declared = {"a": Z, "b": (FLOAT, ["n", "k"]), "c": (FLOAT, ["n", "h", 4]), "d": (FLOAT, ["n"])}
    told = {"a": "noise", "b": "label:one-hot", "c": "latent:2x4,uniform(0,1)", "d": "condition:1..2,GeV"}
    assigned = assign_roles(graph(inputs), "g.onnx", told, ["cat", "dog", "eel"], "uniform")
    signature = assigned.signature
    assert [one.shape for one in signature.inputs] == [(16,), (3,), (2, 4), ()]
    parts = [(part.name, part.prior, part.shift, part.scale, part.noise) for part in signature.latent.pieces]
    assert parts == [("c", "uniform", 0.5, 0.5, False), ("a", "uniform", 0, 1, True)]
    assert [one.name for one in signature.conditions or ()] == ["d"]
