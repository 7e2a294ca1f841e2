"""A run: its loop, its folder, its checkpoint, and the processes that share it."""
