"""The GPUs that this process may use, found without using one: a context, once made, holds memory until its process
ends."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from itertools import takewhile


def visible_devices(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The devices as CUDA_VISIBLE_DEVICES would name them one by one; none where there is no driver."""
    stated = environment.get("CUDA_VISIBLE_DEVICES")
    if stated is not None:
        names = [name.strip() for name in stated.split(",")]
        return list(takewhile(lambda name: name not in ("", "-1"), names))  # CUDA reads no further either
    return [str(index) for index in range(_count())]


def _count() -> int:
    """How many the driver's management library knows of."""
    count = ctypes.c_uint(0)
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
        if library.nvmlInit_v2() == 0:
            library.nvmlDeviceGetCount_v2(ctypes.byref(count))
            library.nvmlShutdown()
    except (OSError, AttributeError):
        return 0
    return count.value
