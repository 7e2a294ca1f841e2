"""Watching: metrics, and the statistics of what is served. Reads samples, never holds one up."""
