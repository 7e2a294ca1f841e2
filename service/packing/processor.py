"""The instruction set that integer and float kernels choose by: the same graph rounds differently with another."""

from __future__ import annotations

import platform
from pathlib import Path

# Flags of /proc/cpuinfo, the widest first, and what its maker calls them.
_SETS = {
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX2 VNNI",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
    "i8mm": "NEON I8MM",
    "asimddp": "NEON dot product",
}


def instruction_set(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The machine, and the widest instruction set that ONNX Runtime's kernels tell apart: `x86_64 AVX-512 VNNI`."""
    try:
        flags = set(cpuinfo.read_text().split())
    except OSError:  # no Linux
        flags = set()
    return " ".join([platform.machine(), *[name for flag, name in _SETS.items() if flag in flags][:1]])
