"""Options that only some machines can make good use of. Where they cannot, a run is refused before it is begun.

Measured on an EPYC with avx512_bf16, in CPU time of a whole step against float32 (docs/training.md): bf16 is 1.5 times
as fast for `mnist`, with and without R1 + R2, and 1.1 times for `digits`. torch.compile is 0.9 times as fast for
`mnist`, after ten seconds of compiling.
"""

import torch

from latentserve.training.errors import ConfigError
from latentserve.training.recipe.config import Config


def require_hardware(config: Config) -> None:
    """See that this machine has what the configuration asks for. Raises ConfigError naming the field."""
    if config.precision == "bf16" and not has_bf16():
        raise ConfigError("`precision`: this machine computes nothing in bfloat16; emulated, it would be slower")
    if config.compile and not torch.cuda.is_available():
        raise ConfigError("`compile`: torch.compile pays on a GPU alone; on a CPU it was slower than without")


def has_bf16() -> bool:
    if torch.cuda.is_available():
        there: bool = torch.cuda.is_bf16_supported(including_emulation=False)
        return there
    return any(there for name, there in torch.cpu.get_capabilities().items() if name.endswith("bf16"))
