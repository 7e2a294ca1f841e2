"""What a run was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any

# What decides how fast, and in int8 how exact, a generator runs: the field's name, and the kernel's.
_INSTRUCTIONS = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "VNNI": ("avx512_vnni", "avx_vnni"),
    "BF16": ("avx512_bf16",),
    "AMX": ("amx_tile",),
    "NEON": ("asimd",),
}
_PACKAGES = ("latentserve", "numpy", "onnxruntime", "onnxruntime-gpu", "torch", "scikit-learn")


def describe_machine() -> dict[str, Any]:
    """Processor, its instruction sets, cores, memory in GB, kernel, Python, and how busy it was before the run."""
    about = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", about, re.M)
    flags = set(found[1].split()) if (found := re.search(r"^(?:flags|Features)\s*: (.*)$", about, re.M)) else set()
    return {
        "processor": model[1] if model else platform.processor(),
        "instructions": [name for name, any_of in _INSTRUCTIONS.items() if flags & set(any_of)],
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def named(machine: dict[str, Any]) -> str:
    """A machine in a line of words."""
    instructions = " ".join(machine.get("instructions", ["instruction set not written down"]))
    line = f"{machine['processor']} ({instructions}), {machine['cores']} cores, {machine['memory_gb']} GB, "
    return f"{line}{machine['kernel']}, Python {machine['python']}; load before {machine['load_average_before']}"


def installed() -> dict[str, str]:
    """The versions of what the figures rest on, as far as it is installed."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
