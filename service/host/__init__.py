"""HTTP/1.1 host of one ASGI application, in worker processes that are watched. It knows nothing of what it serves."""
