"""What a file says before its graph: the version of its format, and the operator sets."""

from __future__ import annotations

import onnx

from latentserve.service.bundle.graph import all_nodes

_WEIGHTS_ALONE = 4  # the first format in which weights need not be inputs
_NEWEST = 10  # that every runtime reads which is supported; later ones brought types of numbers
_ONNX = ("", "ai.onnx")
_OPSET = 17


def settle_header(model: onnx.ModelProto) -> None:
    """Let a model be of a format that the runtime reads, and have ONNX's own operators, of which packing adds some. In
    place. Nothing else tells formats 4 to 10 apart, and what a graph has of a later one the runtime takes or not
    whatever is written there."""
    model.ir_version = min(max(model.ir_version, _WEIGHTS_ALONE), _NEWEST)
    known = any(entry.domain in _ONNX for entry in model.opset_import)
    if not known and not any(node.domain in _ONNX for node in all_nodes(model)):
        model.opset_import.add(domain="", version=_OPSET)
