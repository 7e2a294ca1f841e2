"""The protocols over the sampling core: HTTP requests to rows, rows to answers."""
