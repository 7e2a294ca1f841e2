"""Hostile and careless requests and connections, each up to its limit, in the order in which they are tried."""

from benchmarks.serving.edges.corpus import answers, bodies, connections, framing, headers
from benchmarks.serving.edges.corpus.hostile import CORPUS, Ends, Hostile, Target

__all__ = ["CORPUS", "Ends", "Hostile", "Target", "answers", "bodies", "connections", "framing", "headers"]
