"""Arithmetic with latents: paths between rows, and rows around one."""
