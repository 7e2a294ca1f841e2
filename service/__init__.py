"""The server, and the bundle format it shares with training. Nothing here knows of torch."""

import os

__version__ = "0.1.0"

# ONNX Runtime reports home, and writes into it, unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
