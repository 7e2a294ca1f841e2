"""The features of published FIDs, as a file for `latentserve evaluate --features`, from weights that you have:

    python -m latentserve.training.evaluation.inception WEIGHTS.pth --out inception.onnx

WEIGHTS are those of the Inception network of Heusel et al. 2017 (the TensorFlow graph of 2015-12-05) as pytorch-fid
(`pt_inception-2015-12-05-6726825d.pth`) and torch-fidelity (`weights-inception-2015-12-05-6726825d.pth`) publish them,
or the same tensors as safetensors. Nothing is downloaded, and nothing but tensors is read.

The network is Inception v3 (Szegedy et al. 2016) with what is particular to that graph: averages of 3x3 leave the
border out, the last block has a maximum in place of one, and 1,008 classes. A picture is brought to 8 bits, from grey
to three equal colours, and to 299 pixels as TensorFlow 1 does it: bilinear, corners on corners of pixels, nothing
smoothed. So do torch-fidelity and the metrics of StyleGAN; pytorch-fid puts centres on centres, and its numbers differ
a little.
"""

import argparse
import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from latentserve.service.errors import one_line
from latentserve.training.errors import TrainingError, WeightsError
from latentserve.training.files import replaced
from latentserve.training.run.pretrained import read_tensors

SIDE = 299  # pixels
WIDTH, CLASSES = 2048, 1008  # features, and what the layer after them, which is not used, tells apart
EPSILON = 0.001  # of the normalisation
OPSET, IR = 18, 10

# Branches of a block, whose results are joined: layers one after the other, |: beside each other, /2: of stride 2.
A = ("branch1x1", "branch5x5_1 branch5x5_2", "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3", "average branch_pool")
B = ("branch3x3/2", "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3/2", "maximum/2")
C = (
    "branch1x1",
    "branch7x7_1 branch7x7_2 branch7x7_3",
    "branch7x7dbl_1 branch7x7dbl_2 branch7x7dbl_3 branch7x7dbl_4 branch7x7dbl_5",
    "average branch_pool",
)
D = ("branch3x3_1 branch3x3_2/2", "branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 branch7x7x3_4/2", "maximum/2")
E = (
    "branch1x1",
    "branch3x3_1 branch3x3_2a|branch3x3_2b",
    "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3a|branch3x3dbl_3b",
    "average branch_pool",
)
BLOCKS = {
    "Mixed_5b": A, "Mixed_5c": A, "Mixed_5d": A, "Mixed_6a": B, "Mixed_6b": C, "Mixed_6c": C, "Mixed_6d": C,
    "Mixed_6e": C, "Mixed_7a": D, "Mixed_7b": E, "Mixed_7c": (*E[:3], "maximum branch_pool"),
}  # fmt: skip

Arrays = Mapping[str, NDArray[Any]]


class _Graph:
    """Nodes that are added one after the other; the result of each is named."""

    def __init__(self, weights: Arrays, source: Path) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._weights, self._source = weights, source

    def add(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        output = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, values: Any, kind: Any = np.float32) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def weight(self, name: str) -> str:
        if name not in self._weights:
            raise WeightsError(f"{self._source}: no `{name}`, which the Inception network of FID has")
        values = self._weights[name].astype(np.float32)
        if not np.isfinite(values).all():
            raise WeightsError(f"{self._source}: `{name}` holds values that are not finite")
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def layer(self, seen: str, name: str, stride: int = 1, pad: bool = True) -> str:
        """A convolution, normalised by what was seen in training, and what is above zero of it."""
        weight = self.weight(f"{name}.conv.weight")
        pads = [side // 2 if pad and stride == 1 else 0 for side in self._weights[weight].shape[2:]] * 2
        seen = self.add("Conv", seen, weight, strides=[stride, stride], pads=pads)
        statistics = [self.weight(f"{name}.bn.{part}") for part in ("weight", "bias", "running_mean", "running_var")]
        return self.add("Relu", self.add("BatchNormalization", seen, *statistics, epsilon=EPSILON))

    def pool(self, seen: str, how: str, stride: int) -> str:
        """Of 3x3 pixels: the largest, or the mean of those that are there."""
        pads = [1 if stride == 1 else 0] * 4
        if how == "maximum":
            return self.add("MaxPool", seen, kernel_shape=[3, 3], strides=[stride, stride], pads=pads)
        return self.add("AveragePool", seen, kernel_shape=[3, 3], strides=[stride, stride], pads=pads)

    def block(self, seen: str, name: str, branches: Sequence[str]) -> str:
        joined = []
        for branch in branches:
            ends = [seen]
            for step in branch.split():
                ends = [self._step(ends[0], name, one) for one in step.split("|")]
            joined += ends
        return self.add("Concat", *joined, axis=1)

    def _step(self, seen: str, block: str, step: str) -> str:
        layer, _, stride = step.partition("/")
        if layer in ("average", "maximum"):
            return self.pool(seen, layer, int(stride or 1))
        return self.layer(seen, f"{block}.{layer}", int(stride or 1))


def inception(weights: Arrays, source: Path) -> onnx.ModelProto:
    """The model: `sample` float32 [n, 1 or 3, height, width] in [-1, 1] to `features` [n, 2048].

    Raises WeightsError naming the source and the tensor that is missing or wrong.
    """
    classes = weights["fc.weight"].shape[0] if "fc.weight" in weights else CLASSES
    if classes != CLASSES:
        torchvisions = f"{source}: a network of {classes:,} classes, as torchvision has it"
        raise WeightsError(f"{torchvisions}; that of FID has {CLASSES:,}, and other weights")
    graph = _Graph(weights, source)
    # Eight bits, three colours, 299 pixels, and as the network was trained.
    scaled = graph.add("Mul", graph.add("Add", "sample", graph.constant(1)), graph.constant(127.5))
    stepped = graph.add("Round", graph.add("Clip", scaled, graph.constant(0), graph.constant(255)))
    coloured = graph.add("Expand", stepped, graph.constant([1, 3, 1, 1], np.int64))
    sizes = graph.constant([SIDE, SIDE], np.int64)
    how: dict[str, Any] = {"coordinate_transformation_mode": "asymmetric", "axes": [2, 3]}
    seen = graph.add("Resize", coloured, "", "", sizes, mode="linear", **how)
    seen = graph.add("Div", graph.add("Sub", seen, graph.constant(128)), graph.constant(128))
    # The stem.
    seen = graph.layer(seen, "Conv2d_1a_3x3", stride=2)
    seen = graph.layer(seen, "Conv2d_2a_3x3", pad=False)
    seen = graph.layer(seen, "Conv2d_2b_3x3")
    seen = graph.pool(seen, "maximum", stride=2)
    seen = graph.layer(seen, "Conv2d_3b_1x1")
    seen = graph.layer(seen, "Conv2d_4a_3x3", pad=False)
    seen = graph.pool(seen, "maximum", stride=2)
    for name, branches in BLOCKS.items():
        seen = graph.block(seen, name, branches)
    graph.add("Flatten", graph.add("GlobalAveragePool", seen), output="features", axis=1)
    made = helper.make_graph(
        graph.nodes,
        "inception",
        [helper.make_tensor_value_info("sample", TensorProto.FLOAT, ["batch", "colours", "height", "width"])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", WIDTH])],
        graph.constants,
    )
    return helper.make_model(
        made, producer_name="latentserve", ir_version=IR, opset_imports=[helper.make_opsetid("", OPSET)]
    )


def write(weights: Path, out: Path) -> None:
    """Make the file of features. Raises WeightsError or RunError naming a file that cannot be read or written."""
    model = inception({name: tensor.float().numpy() for name, tensor in read_tensors(weights).items()}, weights)
    helper.set_model_props(model, {"weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest()})
    content = model.SerializeToString()
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        session.run(["features"], {"sample": np.zeros((1, 1, 8, 8), np.float32)})
    except Exception as error:  # the runtime's own kinds of errors
        raise WeightsError(f"{weights}: no Inception network of FID: {one_line(error)}") from None
    with replaced(out) as partial:
        partial.write_bytes(content)


def main(words: Sequence[str] | None = None) -> None:
    """The command."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(f"python -m {__spec__.name}", description=__doc__, formatter_class=raw)
    parser.add_argument("weights", metavar="WEIGHTS", type=Path, help=".pth, .pt or .safetensors")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.onnx")
    given = parser.parse_args(words)
    try:
        write(given.weights, given.out)
    except TrainingError as error:
        sys.exit(f"latentserve: {error}")
    print(f"{given.out}: next: latentserve evaluate RUN --features {given.out} --out REPORT")


if __name__ == "__main__":
    main()
