"""Load against a server, and the engine beside it without one."""
