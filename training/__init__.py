"""Training generators, and exporting them as bundles that the server can load."""
