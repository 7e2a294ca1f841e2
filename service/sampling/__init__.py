"""The sampling core: latents, scheduler, engine, and the data plane over them. Knows nothing of HTTP."""
