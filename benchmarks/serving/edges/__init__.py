"""What both benchmarks of a server's edges are made of: bundles, a server that is watched, clients that look at what
they get."""
