"""Somebody else's generator, an ONNX file, given the one signature that bundles have. What is not told is probed."""

from latentserve.service.packing.foreign.pack import PackOptions, pack_foreign

__all__ = ["PackOptions", "pack_foreign"]
