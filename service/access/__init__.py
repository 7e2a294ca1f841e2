"""Keys: who may ask for what, and how much of it. Knows nothing of HTTP."""
