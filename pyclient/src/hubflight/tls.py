"""What a TLS connection needs beyond the system's own: the CA of a server's certificate, and a certificate of ours.

Both are named by the environment and read where a server is chosen, because the tasks of Spark have another environment
and other files: what was read travels with the server's address.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from hubflight._secret import Secret
from hubflight.errors import InvalidOption

__all__ = ["Tls", "find_tls"]

_CA, _CERT, _KEY = "HUBFLIGHT_TLS_CA", "HUBFLIGHT_TLS_CERT", "HUBFLIGHT_TLS_KEY"
_MOST = 4 << 20  # the system's own bundles are a quarter of a MiB


@dataclass(frozen=True)
class Tls:
    """PEM texts: certificates that are trusted instead of the system's, the client's chain, and its key. Picklable."""

    ca: str | None = field(default=None, repr=False)
    cert: str | None = field(default=None, repr=False)
    key: Secret | None = None

    def arguments(self) -> dict[str, Any]:
        """Those of `pyarrow.flight.connect`."""
        given = {"tls_root_certs": self.ca, "cert_chain": self.cert, "private_key": self.key and self.key.reveal()}
        return {name: value for name, value in given.items() if value}


def find_tls() -> Tls | None:
    """What the files hold that the environment names; None if it names none. What cannot be used is an error.

    gRPC would only say that it has no address to connect to.
    """
    files = {name: path for name in (_CA, _CERT, _KEY) if (path := os.environ.get(name))}
    if not files:
        return None
    if (_CERT in files) != (_KEY in files):
        raise InvalidOption(f"[invalid] environment: {_CERT} and {_KEY} name a certificate and its key: set both")
    texts = {name: _read(name, path) for name, path in files.items()}
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if _CA in files:
        try:
            context.load_verify_locations(files[_CA])
        except (OSError, ValueError):
            raise InvalidOption(f"[invalid] environment: {_CA}: {files[_CA]} holds no certificate (PEM)") from None
    if _CERT in files:
        try:
            context.load_cert_chain(
                files[_CERT], files[_KEY], password=""
            )  # an encrypted one fails, and nobody is asked
        except (OSError, ValueError):
            raise InvalidOption(
                f"[invalid] environment: {_CERT} and {_KEY}: {files[_CERT]} and {files[_KEY]} are no certificate and "
                "the key that belongs to it, not encrypted (PEM)"
            ) from None
    key = texts.get(_KEY)
    return Tls(texts.get(_CA), texts.get(_CERT), Secret(key) if key else None)


def _read(name: str, path: str) -> str:
    try:
        with open(path, "rb") as file:
            raw = file.read(_MOST + 1)
    except OSError as exc:
        raise InvalidOption(f"[invalid] environment: {name}: {path} cannot be read: {exc.strerror}") from None
    if len(raw) > _MOST:
        raise InvalidOption(f"[invalid] environment: {name}: {path} is larger than {_MOST} bytes")
    return raw.decode("utf-8", "replace")
