"""A version is of what computes: whatever else is in a graph leaves it, and whatever computes is in it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from latentserve.service.bundle import Column, Condition, Latent, LatentPart, SampleSpec, content_version, graph
from latentserve.service.bundle.weights import Place, place_of, refer
from latentserve.service.errors import BundleError
from tests.conftest import examples
from tests.generators import dense_generator

Model = onnx.ModelProto
Change = Callable[[Model], None]

LATENT, SAMPLE = Latent(dim=4), SampleSpec(kind="array", shape=[3])
INTERFACE = ("z", "label", "sample")
DATA = "generator.onnx.data"

value = helper.make_tensor_value_info
node = helper.make_node


def version(model: Model) -> str:
    return content_version(model, LATENT, None, SAMPLE)


def everything() -> Model:
    """A graph with what graphs may have: graphs within nodes that read weights from outside, functions with attributes,
    sparse weights, strings, and numbers of every size."""
    rng = np.random.default_rng(0)
    then = helper.make_graph(
        [node("MatMul", ["h", "w1"], ["then_out"])], "then", [], [value("then_out", 1, None)],
    )  # fmt: skip
    inner = helper.make_graph(
        [node("Mul", ["h", "scale"], ["deep_out"])], "deep", [], [value("deep_out", 1, None)],
        [numpy_helper.from_array(np.array([2.5], np.float32), "scale")],
    )  # fmt: skip
    other = helper.make_graph(
        [node("If", ["flag"], ["else_out"], then_branch=inner, else_branch=then)], "else", [],
        [value("else_out", 1, None)],
    )  # fmt: skip
    loop = helper.make_graph(
        [node("Identity", ["go"], ["go_out"]), node("Add", ["carried", "bias"], ["carried_out"])], "loop",
        [value("round", 7, []), value("go", 9, []), value("carried", 1, None)],
        [value("go_out", 9, []), value("carried_out", 1, None)],
    )  # fmt: skip
    scan = helper.make_graph(
        [node("Add", ["state", "row"], ["state_out"]), node("Sub", ["state_out", "bias"], ["row_out"])], "scan",
        [value("state", 1, [3]), value("row", 1, [3])], [value("state_out", 1, [3]), value("row_out", 1, [3])],
    )  # fmt: skip
    weights = [
        numpy_helper.from_array(rng.normal(size=(4, 3)).astype(np.float32), "w0"),
        numpy_helper.from_array(rng.normal(size=(3, 3)).astype(np.float32), "w1"),
        numpy_helper.from_array(rng.normal(size=3).astype(np.float32), "bias"),
        numpy_helper.from_array(rng.normal(size=3), "double"),
        numpy_helper.from_array(np.array([1.5, -2, 0], np.float16), "half"),
        numpy_helper.from_array(np.array([1.5, -2, 3], ml_dtypes.bfloat16), "brain"),
        numpy_helper.from_array(np.array([1.5, -2, 3], ml_dtypes.float8_e4m3fn), "eight"),
        numpy_helper.from_array(np.array([1, -2, 3], ml_dtypes.int4), "four"),
        numpy_helper.from_array(np.array([1, 2, 15], ml_dtypes.uint4), "nibbles"),
        numpy_helper.from_array(np.array([-1, 3], np.int64), "shape"),
        numpy_helper.from_array(np.array([7, 8, 9], np.int32), "ints"),
        numpy_helper.from_array(np.array([7, 8, 200], np.uint8), "bytes"),
        numpy_helper.from_array(np.array([True, False, True]), "bools"),
        numpy_helper.from_array(np.array([1 + 2j, 3, 4j], np.complex64), "complex"),
        numpy_helper.from_array(np.array([2**63, 1, 2], np.uint64), "unsigned"),
    ]
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.array([1, 2], np.float32), "sparse"),
        numpy_helper.from_array(np.array([0, 2], np.int64), "sparse_at"), [3],
    )  # fmt: skip
    words = helper.make_tensor("words", TensorProto.STRING, [2], [b"one", b"two"])
    nodes = [
        node("MatMul", ["z", "w0"], ["h"]),
        node("Constant", [], ["strings"], value=words),
        node("Constant", [], ["listed"], value_floats=[1.0, 2.0]),
        node("Constant", [], ["word"], value_string="abc"),
        node("Clip", ["h", "", "double"], ["clipped"]),
        node("ReduceMax", ["bools"], ["flag"], keepdims=0),
        node("If", ["flag"], ["chosen"], then_branch=then, else_branch=other),
        node("Loop", ["rounds", "flag", "chosen"], ["looped"], body=loop),
        node("Scan", ["bias", "looped"], ["state_end", "scanned"], body=scan, num_scan_inputs=1),
        node("F", ["scanned", "sparse"], ["made"], domain="local", alpha=0.5),
        node("F", ["made", "bias"], ["again"], domain="local", alpha=0.25),
        node("All", ["half", "brain", "eight", "four", "nibbles", "ints", "bytes"], ["used"], domain="any"),
        node("All", ["complex", "unsigned"], ["used_too"], domain="any"),
        node("Optional", ["again"], ["perhaps"], type=helper.make_tensor_type_proto(1, ["batch", 3])),
        node("OptionalGetElement", ["perhaps"], ["got"]),
        node("Split", ["got"], ["left", "", "right"], axis=1, num_outputs=3),
        node("Reshape", ["right", "shape"], ["sample"], allowzero=0),
    ]
    weights.append(numpy_helper.from_array(np.array(3, np.int64), "rounds"))
    alpha = AttributeProto(name="alpha", ref_attr_name="alpha", type=AttributeProto.FLOAT)
    elu = node("Elu", ["x"], ["e"])
    elu.attribute.append(alpha)
    within = [elu, node("G", ["e", "y"], ["out"], domain="local")]
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("local", 1)]
    functions = [
        helper.make_function("local", "F", ["x", "y"], ["out"], within, opsets, attributes=["alpha"]),
        helper.make_function("local", "G", ["p", "q"], ["r"], [node("Sub", ["p", "q"], ["r"])], opsets[:1]),
    ]
    made = helper.make_graph(
        nodes, "everything", [value("z", 1, ["batch", 4])], [value("sample", 1, ["batch", 3])], weights,
        sparse_initializer=[sparse],
    )  # fmt: skip
    opsets.append(helper.make_opsetid("any", 1))
    return helper.make_model(made, opset_imports=opsets, functions=functions, ir_version=10)


EVERYTHING = everything()
VERSION = version(EVERYTHING)


def graphs(model: Model) -> Iterator[onnx.GraphProto]:
    yield model.graph
    for one in graph.all_nodes(model):
        yield from graph.subgraphs(one)


def bodies(model: Model) -> Iterator[onnx.GraphProto | onnx.FunctionProto]:
    yield from graphs(model)
    yield from model.functions


def rename(model: Model, prefix: str) -> None:
    """Every value, but those that are the interface; in one graph or function by itself."""

    def renamed(name: str) -> str:
        return name if name in INTERFACE or not name else f"{prefix}{name}"

    for body in bodies(model):
        for one in body.node:
            one.input[:] = [renamed(name) for name in one.input]
            one.output[:] = [renamed(name) for name in one.output]
        if isinstance(body, onnx.FunctionProto):
            body.input[:] = [renamed(name) for name in body.input]
            body.output[:] = [renamed(name) for name in body.output]
            continue
        for named in (*body.input, *body.output, *body.value_info, *body.initializer):
            named.name = renamed(named.name)
        for sparse in body.sparse_initializer:
            sparse.values.name = renamed(sparse.values.name)


def name_nodes(model: Model, prefix: str) -> None:
    for number, one in enumerate(graph.all_nodes(model)):
        one.name = f"{prefix}{number}"
    for each in graphs(model):
        each.name = f"{prefix} graph"


def annotate(model: Model, word: str) -> None:
    """Doc strings, properties, and who made it, wherever they may be said."""
    model.doc_string = model.producer_name = model.producer_version = model.domain = word
    model.model_version = len(word) + 1
    nodes = list(graph.all_nodes(model))
    held = [model, *bodies(model), *nodes, *graph.tensors(model), *(a for one in nodes for a in one.attribute)]
    for each in graphs(model):
        held += [*each.input, *each.output]
        for one in (*each.input, *each.output):
            one.type.denotation = "IMAGE"
    for one in held:
        one.doc_string = word
        if hasattr(one, "metadata_props"):
            one.metadata_props.add(key="signed by", value=word)


def infer(model: Model, name: str) -> None:
    model.graph.value_info.append(value(f"h{name}", 1, ["batch", 3]))
    model.graph.value_info.append(value("h", 1, ["batch", 3]))


def store_in_fields(model: Model, _: str) -> None:
    """`float_data` and the like, where values were raw."""
    for tensor in graph.tensors(model):
        if tensor.HasField("raw_data") and tensor.data_type != TensorProto.STRING:
            array = numpy_helper.to_array(tensor)
            made = helper.make_tensor(tensor.name, tensor.data_type, tensor.dims, array.reshape(-1).tolist())
            if np.array_equal(numpy_helper.to_array(made).tobytes(), array.tobytes()):
                tensor.CopyFrom(made)


def reorder(model: Model, word: str) -> None:
    """What has no order: weights, functions, attributes, operator sets."""
    rng = np.random.default_rng(len(word))
    nodes = list(graph.all_nodes(model))
    lists = [each.initializer for each in graphs(model)]
    for listed in (*lists, *(one.attribute for one in nodes), model.functions, model.opset_import):
        kept = [copy.deepcopy(listed[place]) for place in rng.permutation(len(listed))]
        del listed[:]
        listed.extend(kept)


def add_what_nothing_reads(model: Model, word: str) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.arange(9.0), f"unused{word}"))
    nodes = [node("Neg", ["a"], ["b"])]
    model.functions.append(helper.make_function("nobody", f"calls{word}", ["a"], ["b"], nodes, model.opset_import))


def rename_functions(model: Model, word: str) -> None:
    for function in model.functions:
        for one in graph.all_nodes(model):
            if (one.domain, one.op_type) == (function.domain, function.name):
                one.op_type = f"{one.op_type}{word}"
        function.name = f"{function.name}{word}"


def call_it_onnx(model: Model, _: str) -> None:
    """Both names of ONNX's own operators."""
    for one in (*graph.all_nodes(model), *model.opset_import):
        one.domain = one.domain or "ai.onnx"


def name_axes(model: Model, word: str) -> None:
    for one in (*model.graph.input, *model.graph.output):
        one.type.tensor_type.shape.dim[0].dim_param = f"rows{word}"


def leave_out_what_is_zero(model: Model, _: str) -> None:
    """As writers do whose protobuf knows no difference."""
    for one in graph.all_nodes(model):
        for attribute in one.attribute:
            if attribute.type == AttributeProto.INT and attribute.i == 0:
                attribute.ClearField("i")


SAME = [
    rename,
    name_nodes,
    annotate,
    infer,
    store_in_fields,
    reorder,
    add_what_nothing_reads,
    rename_functions,
    call_it_onnx,
    name_axes,
    leave_out_what_is_zero,
]


@given(
    st.lists(st.tuples(st.sampled_from(SAME), st.text(st.sampled_from("abc/_1"), min_size=1, max_size=3)), max_size=6)
)
@settings(deadline=None, max_examples=examples(150))
def test_what_does_not_compute_leaves_the_version(changes: list[tuple[Callable[[Model, str], None], str]]) -> None:
    model = copy.deepcopy(EVERYTHING)
    for change, word in changes:
        change(model, word)
    assert version(model) == VERSION
    assert version(Model.FromString(model.SerializeToString())) == VERSION


@pytest.mark.parametrize("change", SAME, ids=lambda change: change.__name__)
def test_each_by_itself(change: Callable[[Model, str], None]) -> None:
    model = copy.deepcopy(EVERYTHING)
    change(model, "word")
    assert model != EVERYTHING
    assert version(model) == VERSION


def weigh(model: Model) -> list[TensorProto]:
    """Tensors that compute, with raw values."""
    return [tensor for tensor in graph.tensors(model) if tensor.HasField("raw_data")]


@given(st.integers(0, len(weigh(EVERYTHING)) - 1), st.integers(0, 10**9))
@settings(deadline=None, max_examples=examples(200))
def test_every_bit_of_every_weight_counts(which: int, place: int) -> None:
    """But those behind the end of values that do not fill bytes."""
    model = copy.deepcopy(EVERYTHING)
    tensor = weigh(model)[which]
    raw = bytearray(tensor.raw_data)
    bits = len(raw) * 8
    if tensor.data_type in (TensorProto.INT4, TensorProto.UINT4):
        bits = 4 * int(np.prod(tensor.dims))
        raw[-1] |= 0xF0
        tensor.raw_data = bytes(raw)
        assert version(model) == VERSION
    raw[place % bits // 8] ^= 1 << place % bits % 8
    tensor.raw_data = bytes(raw)
    assert version(model) != VERSION


def beside(model: Model, least: int = 0) -> bytes:
    """Let the weights of the main graph lie in a file; what it holds."""
    content = bytearray(b"?" * 3)
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > least:
            place = Place(DATA, len(content), len(tensor.raw_data))
            content += tensor.raw_data + b"??"
            refer(tensor, place)
    return bytes(content)


def test_weights_beside_the_graph_are_the_same_and_each_counts() -> None:
    model = copy.deepcopy(EVERYTHING)
    content = beside(model)
    files = {DATA: content}
    assert content_version(model, LATENT, None, SAMPLE, files=files) == VERSION
    for tensor in model.graph.initializer:
        place = place_of(tensor)
        assert place is not None
        changed = bytearray(content)
        changed[place.offset] ^= 1
        assert content_version(model, LATENT, None, SAMPLE, files={DATA: bytes(changed)}) != VERSION
    for short in ({}, {DATA: content[:20]}):
        with pytest.raises(BundleError, match="weight"):
            content_version(model, LATENT, None, SAMPLE, files=short)


def _of(model: Model, output: str) -> onnx.NodeProto:
    return next(one for one in graph.all_nodes(model) if output in one.output)


def _attribute(one: onnx.NodeProto, name: str) -> AttributeProto:
    return next(attribute for attribute in one.attribute if attribute.name == name)


def _weight(model: Model, name: str) -> TensorProto:
    return next(tensor for tensor in graph.tensors(model) if tensor.name == name)


OTHERS: list[Change] = []


def changes(change: Change) -> Change:
    """One of the changes that make another version."""
    OTHERS.append(change)
    return change


@changes
def _operator(model: Model) -> None:
    _of(model, "row_out").op_type = "Add"


@changes
def _operator_of_a_function(model: Model) -> None:
    _of(model, "r").op_type = "Add"


@changes
def _domain(model: Model) -> None:
    _of(model, "used").domain = "another"


@changes
def _other_function(model: Model) -> None:
    _of(model, "again").op_type = "G"


@changes
def _attribute_value(model: Model) -> None:
    _attribute(_of(model, "again"), "alpha").f = 0.5


@changes
def _attribute_name(model: Model) -> None:
    _attribute(_of(model, "right"), "axis").name = "axes"


@changes
def _attribute_gone(model: Model) -> None:
    del _of(model, "right").attribute[:]


@changes
def _attribute_of_another_kind(model: Model) -> None:
    attribute = _attribute(_of(model, "right"), "axis")
    attribute.type, attribute.f = AttributeProto.FLOAT, 1
    attribute.ClearField("i")


@changes
def _attribute_that_a_function_is_given(model: Model) -> None:
    _attribute(_of(model, "e"), "alpha").ref_attr_name = "beta"


@changes
def _attribute_list(model: Model) -> None:
    _attribute(_of(model, "listed"), "value_floats").floats[1] = 3


@changes
def _attribute_string(model: Model) -> None:
    _attribute(_of(model, "word"), "value_string").s = b"abd"


@changes
def _type_within(model: Model) -> None:
    _attribute(_of(model, "perhaps"), "type").tp.tensor_type.elem_type = 10


@changes
def _words(model: Model) -> None:
    _attribute(_of(model, "strings"), "value").t.string_data[1] = b"tw"


@changes
def _words_run_together(model: Model) -> None:
    _attribute(_of(model, "strings"), "value").t.string_data[:] = [b"onet", b"wo"]


@changes
def _wiring(model: Model) -> None:
    _of(model, "made").input[0] = "chosen"


@changes
def _wiring_within(model: Model) -> None:
    _of(model, "carried_out").input[1] = "half"


@changes
def _wiring_of_a_function(model: Model) -> None:
    _of(model, "r").input[:] = ["q", "p"]


@changes
def _order_of_inputs(model: Model) -> None:
    _of(model, "h").input[:] = ["w0", "z"]


@changes
def _another_weight(model: Model) -> None:
    _of(model, "then_out").input[1] = "w0"


@changes
def _optional_input(model: Model) -> None:
    _of(model, "clipped").input[:] = ["h", "double", ""]


@changes
def _optional_output(model: Model) -> None:
    _of(model, "left").output[:] = ["", "left", "right"]


@changes
def _outer_value_shadowed(model: Model) -> None:
    """The branch has a value of its own by that name."""
    _attribute(_of(model, "chosen"), "then_branch").g.initializer.append(
        numpy_helper.from_array(np.zeros((3, 3), np.float32), "w1")
    )


@changes
def _branches(model: Model) -> None:
    one = _of(model, "else_out")
    then, other = _attribute(one, "then_branch"), _attribute(one, "else_branch")
    then.name, other.name = "else_branch", "then_branch"


@changes
def _dtype(model: Model) -> None:
    _weight(model, "ints").data_type = TensorProto.UINT32


@changes
def _dtype_of_eight_bits(model: Model) -> None:
    _weight(model, "eight").data_type = TensorProto.FLOAT8E5M2


@changes
def _dtype_of_four_bits(model: Model) -> None:
    _weight(model, "four").data_type = TensorProto.UINT4


@changes
def _shape(model: Model) -> None:
    _weight(model, "w1").dims[:] = [9]


@changes
def _shape_of_sparse(model: Model) -> None:
    model.graph.sparse_initializer[0].dims[:] = [4]


@changes
def _place_of_sparse(model: Model) -> None:
    indices = numpy_helper.from_array(np.array([0, 1], np.int64))
    model.graph.sparse_initializer[0].indices.CopyFrom(indices)


@changes
def _opset(model: Model) -> None:
    model.opset_import[0].version = 21


@changes
def _opset_of_a_function(model: Model) -> None:
    model.functions[1].opset_import[0].version = 19


@changes
def _node_more(model: Model) -> None:
    model.graph.node.append(node("Neg", ["h"], ["nobody"]))


@changes
def _order_of_nodes(model: Model) -> None:
    first, second = (copy.deepcopy(model.graph.node[place]) for place in (2, 3))
    model.graph.node[2].CopyFrom(second)
    model.graph.node[3].CopyFrom(first)


@changes
def _output_name(model: Model) -> None:
    model.graph.output[0].name = _of(model, "sample").output[0] = "picture"


@changes
def _input_size(model: Model) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5


@changes
def _batch_fixed(model: Model) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


@changes
def _rank_unknown(model: Model) -> None:
    model.graph.output[0].type.tensor_type.ClearField("shape")


@changes
def _input_more(model: Model) -> None:
    model.graph.input.append(value("label", TensorProto.INT64, ["batch"]))


@changes
def _read_before_it_is_made(model: Model) -> None:
    """Nodes need not be sorted: which value is read counts all the same."""
    _of(model, "h").input[0] = "again"


@changes
def _read_another_before_it_is_made(model: Model) -> None:
    _of(model, "h").input[0] = "made"


def test_what_computes_is_in_the_version() -> None:
    """And each change makes a version of its own."""
    found = {"": VERSION}
    for change in OTHERS:
        model = copy.deepcopy(EVERYTHING)
        change(model)
        assert model != EVERYTHING, change.__name__
        found[change.__name__] = version(model)
    alike = [name for name in found if list(found.values()).count(found[name]) > 1]
    assert alike == []


def test_sparse_constants_are_told_by_what_they_hold() -> None:
    def constant(name: str, at: int, raw: bool) -> Model:
        values = numpy_helper.from_array(np.array([3], np.float32), name)
        if not raw:
            values = helper.make_tensor(name, TensorProto.FLOAT, [1], [3.0])
        indices = numpy_helper.from_array(np.array([at], np.int64), f"{name}_at")
        made = node("Constant", [], ["sample"], sparse_value=helper.make_sparse_tensor(values, indices, [4]))
        return helper.make_model(helper.make_graph([made], "g", [], [value("sample", 1, [4])]))

    assert version(constant("a", 1, True)) == version(constant("b", 1, False))
    assert version(constant("a", 1, True)) != version(constant("a", 2, True))


def _nested(depth: int) -> Model:
    """Functions that call each other."""
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("local", 1)]
    calls = [node(f"F{number + 1}", ["x"], ["y"], domain="local") for number in range(depth)]
    functions = [helper.make_function("local", f"F{n}", ["x"], ["y"], [call], opsets) for n, call in enumerate(calls)]
    made = helper.make_graph(
        [node("F0", ["z"], ["sample"], domain="local")], "g", [value("z", 1, [1])], [value("sample", 1, [1])]
    )
    return helper.make_model(made, opset_imports=opsets, functions=functions)


def test_functions_within_functions() -> None:
    assert len({version(_nested(depth)) for depth in (1, 2, 30)}) == 3
    endless = _nested(3)
    endless.functions[2].node[0].op_type = "F0"
    assert len(version(endless)) == 12
    with pytest.raises(BundleError, match="functions"):
        version(_nested(3000))


@pytest.mark.parametrize(
    "tensor",
    [
        TensorProto(name="w0", data_type=0, dims=[1]),
        TensorProto(name="w0", data_type=99, dims=[1]),
        TensorProto(name="w0", data_type=1, dims=[3], float_data=[1.0]),
        TensorProto(name="w0", data_type=1, dims=[-1, 10**12], float_data=[1.0]),
        TensorProto(name="w0", data_type=TensorProto.INT4, dims=[10**6], raw_data=b"1"),
        TensorProto(name="w0", data_type=1, dims=[3], data_location=TensorProto.EXTERNAL),
    ],
    ids=["no type", "an unknown type", "too few", "no shape", "too few halves", "nowhere"],
)
def test_weights_that_are_none_are_told(tensor: TensorProto) -> None:
    model = copy.deepcopy(EVERYTHING)
    _weight(model, "w0").CopyFrom(tensor)
    with pytest.raises(BundleError, match="weight 'w0'"):
        version(model)


DESCRIBED = {
    "latent": Latent(dim=4, parts=[LatentPart(name="a", shape=[3]), LatentPart(name="b", shape=[1], noise=True)]),
    "labels": ["cat", "dog"],
    "sample": SAMPLE,
    "conditions": [Condition(name="energy", range=(1, 100), unit="GeV")],
    "label_prior": [0.25, 0.75],
}


def _part(**changes: object) -> Latent:
    first = LatentPart(name="a", shape=[3]).model_copy(update=changes)
    return Latent(dim=4, prior=first.prior, parts=[first, LatentPart(name="b", shape=[1], noise=True)])


def _condition(**changes: object) -> list[Condition]:
    return [Condition(name="energy", range=(1, 100), unit="GeV").model_copy(update=changes)]


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("latent", Latent(dim=4)),
        ("latent", Latent(dim=4, prior="uniform")),
        *(("latent", _part(**change)) for change in (
            {"name": "c"}, {"prior": "uniform"}, {"shift": 0.5}, {"scale": 2.0}, {"truncation": 0.7}, {"shape": [3, 1]},
        )),
        ("latent", Latent(dim=4, parts=[LatentPart(name="a", shape=[2]), LatentPart(name="b", shape=[2], noise=True)])),
        ("labels", None),
        ("labels", ["cat", "cow"]),
        ("labels", ["dog", "cat"]),
        ("label_prior", None),
        ("label_prior", [0.75, 0.25]),
        ("conditions", None),
        *(("conditions", _condition(**change)) for change in (
            {"name": "mass"}, {"unit": "TeV"}, {"range": (1.0, 99.0)}, {"prior": "log-uniform"},
            {"prior": "quantiles", "quantiles": [1.0, 5.0]}, {"prior": "quantiles", "quantiles": [1.0, 6.0]},
        )),
        ("sample", SampleSpec(kind="array", shape=[3], value_range=(0, 1))),
        ("sample", SampleSpec(kind="table", shape=[3], columns=[Column(name=name) for name in "abc"])),
    ],
)  # fmt: skip
def test_what_is_drawn_and_told_is_in_the_version(field: str, changed: object) -> None:
    before = content_version(EVERYTHING, **DESCRIBED)  # type: ignore[arg-type]
    assert content_version(EVERYTHING, **{**DESCRIBED, field: changed}) != before  # type: ignore[arg-type]


def test_versions_stay_what_they_are() -> None:
    """They are names that people have written down."""
    model = dense_generator(dim=4, shape=(3,), labels=None)
    assert version(model) == "7b58eb0f679f"


def test_a_file_that_is_saved_again_keeps_its_version(tmp_path: Path) -> None:
    """By other tools, too: with weights beside it, and optimised for nothing."""
    model = dense_generator(dim=4, shape=(3,), labels=None)
    told = {"save_as_external_data": True, "size_threshold": 0, "location": "a.data"}
    onnx.save(copy.deepcopy(model), tmp_path / "a.onnx", **told)
    again = onnx.load(tmp_path / "a.onnx")
    assert version(again) == version(model)
    assert version(onnx.shape_inference.infer_shapes(model)) == version(model)
    assert version(onnx.parser.parse_model(onnx.printer.to_text(model))) != ""
