"""A certificate of TLS that is renewed in its place, as certbot, cert-manager and others do: who connects from then on
is shown the new one, and no connection ends."""

from __future__ import annotations

import logging
from pathlib import Path

from latentserve.service import logs
from latentserve.service.host.listening import ListeningError, load_certificate, tls_context

_State = tuple[tuple[int, int, int], ...]  # of files: what changes when they do


class Certificate:
    """The files of a certificate and its key.

    Attributes:
        context: that connections are made with.
    """

    def __init__(self, certificate: Path, key: Path | None, *, tell: bool) -> None:
        """Read them. `tell`: of many processes that have the same, this one says in the log that they were renewed.

        Raises ListeningError.
        """
        self._files = (certificate, key)
        self._tell = tell
        self._read = self._seen = self._state()
        self.context = tls_context(certificate, key)

    def look(self) -> None:
        """Read the files again if they are others than before, and stay as they are from one look to the next. What
        cannot be used, as a certificate whose key is still to be written, leaves all as it was."""
        before, self._seen = self._seen, self._state()
        if self._seen in (self._read, ()) or self._seen != before:
            return
        self._read = self._seen
        try:
            tls_context(*self._files)  # a try: half of a pair would break the context that is in use
            load_certificate(self.context, *self._files)
        except ListeningError as error:
            if self._tell:
                logs.event("certificate-kept", logging.WARNING, reason=str(error))
        else:
            if self._tell:
                logs.event("certificate-renewed", certificate=str(self._files[0]))

    def _state(self) -> _State:
        """Empty where a file is not there."""
        try:
            states = [file.stat() for file in self._files if file is not None]
        except OSError:
            return ()
        return tuple((state.st_ino, state.st_mtime_ns, state.st_size) for state in states)
