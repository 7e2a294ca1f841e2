"""The detectors that benchmarks/drift/detection.py compares."""
