"""Who is to have signed the bundles that are read here: an operator's choice."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from latentserve.service.environment import PREFIX
from latentserve.service.errors import SignatureError

TRUSTED_KEYS, REQUIRE_SIGNATURE = f"{PREFIX}TRUSTED_KEYS", f"{PREFIX}REQUIRE_SIGNATURE"


@dataclass(frozen=True)
class Trust:
    """Whose signatures are believed.

    Attributes:
        keys: file (PEM), or folder of such, of public keys and of certificates of authorities; None: nobody's.
        required: bundles that none of them has signed are refused.
    """

    keys: Path | None = None
    required: bool = False

    def __post_init__(self) -> None:
        """Raises SignatureError: signatures are required, and nobody's would be believed."""
        if self.required and self.keys is None:
            raise SignatureError(f"{REQUIRE_SIGNATURE}: needs {TRUSTED_KEYS}, or no bundle at all would be read")

    @classmethod
    def of_environment(cls) -> Self:
        """As the settings of the environment say, of every command that reads a bundle. Raises SignatureError."""
        keys = os.environ.get(TRUSTED_KEYS, "").strip()
        stated = os.environ.get(REQUIRE_SIGNATURE, "").strip()
        try:
            required = bool(stated) and TypeAdapter(bool).validate_python(stated)
        except ValidationError:
            raise SignatureError(f"{REQUIRE_SIGNATURE}: is neither true nor false (got {stated!r})") from None
        return cls(Path(keys).expanduser() if keys else None, required)
