"""Making bundles: a generator's graphs in, a folder with everything serving needs out. Needs no torch."""
