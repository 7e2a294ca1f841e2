"""Jobs of many rows."""
