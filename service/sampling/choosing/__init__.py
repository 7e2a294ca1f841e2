"""Rows that are chosen: looked at in the order of their seed, and kept where they are what was asked for."""
