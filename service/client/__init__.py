"""Asking a server from Python. Knows what it answers, and nothing of how."""

from latentserve.service.client.asynchronous import AsyncClient
from latentserve.service.client.rows import Samples
from latentserve.service.client.server import ServerError
from latentserve.service.client.synchronous import Client

__all__ = ["AsyncClient", "Client", "Samples", "ServerError"]
