"""The detectors that benchmarks/detection.py compares."""
