"""The certificates that secure connections trust."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from glpn_cli.files import os_reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from glpn_cli.errors import GLPNError

CERTIFICATES_HINT = "in a network that replaces certificates, set SSL_CERT_FILE to a file with its own ones"


def find_certificates() -> tuple[str, str] | None:
    """Return the environment variable that names trusted certificates, as companies have them, and its value.

    It is a file in PEM format, or a folder as OpenSSL makes it. requests and curl have variables of their own.
    """
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if path := os.environ.get(name):
            return name, os.path.expanduser(path)
    return None


@contextmanager
def certificate_errors(variable: str, path: str, error: type[GLPNError]) -> Iterator[None]:
    """Raise the given class of error, which names the variable, if certificates cannot be used."""
    try:
        yield
    except OSError as reason:
        raise error(
            f"{variable}: {path}: cannot be used as certificates: {os_reason(reason)}",
            hint=f"correct or unset {variable}",
        ) from reason
