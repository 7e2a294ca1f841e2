"""Exports of many small networks, made faster."""

import functools

from torch.onnx._internal.exporter._registration import onnxscript_apis

# torch asks at every export for a table of its operators, and onnxscript reads the source of five hundred functions for
# it, which takes longer than the rest where networks are small. In these tests it is read once.
onnxscript_apis.get_torchlib_ops = functools.cache(onnxscript_apis.get_torchlib_ops)
