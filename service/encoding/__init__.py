"""Samples to bytes, one file a family. Knows the bundle's sample, not where samples come from or go."""
