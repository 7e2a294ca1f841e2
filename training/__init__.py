"""Training generators, and exporting them as bundles that the server can load."""

import service  # noqa: F401 - it settles what ONNX Runtime reads when it is imported
