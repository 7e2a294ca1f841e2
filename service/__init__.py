"""The server, and the bundle format it shares with training. Nothing here knows of torch."""
