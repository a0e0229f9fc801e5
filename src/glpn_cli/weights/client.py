"""The client of the Hugging Face Hub: what is used of it, imported in one place.

It reads its environment variables when it is imported, and fails there if one is invalid. Its session reads the
certificates when it is made.
"""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from glpn_cli.certificates import certificate_errors, find_certificates
from glpn_cli.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterator


def _invalid_variable(error: ValueError) -> WeightsError:
    """Return the error for an environment variable of the client, such as a time limit that is not a whole number."""
    named = [
        name for name, value in os.environ.items() if name.startswith("HF_") and value and repr(value) in str(error)
    ]
    what = " and ".join(sorted(named)) or "an environment variable of the Hugging Face Hub"
    return WeightsError(f"{what}: invalid value: {error}", hint="unset it, or use a whole number, such as 30")


try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of variables that it no longer reads
        from huggingface_hub import (
            constants,
            get_hf_file_metadata,
            get_session,
            get_token,
            hf_hub_download,
            hf_hub_url,
            try_to_load_from_cache,
        )
        from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, OfflineModeIsEnabled
except ValueError as error:
    raise _invalid_variable(error) from error

__all__ = [
    "EntryNotFoundError",
    "HfHubHTTPError",
    "OfflineModeIsEnabled",
    "constants",
    "get_hf_file_metadata",
    "get_session",
    "get_token",
    "hf_hub_download",
    "hf_hub_url",
    "open_session",
    "try_to_load_from_cache",
]


def open_session() -> Any:
    """Return the session of all requests, made with the certificates that `find_certificates` returns.

    Raises:
        WeightsError: they cannot be read.
    """
    found = find_certificates()
    if found is None:
        return get_session()
    variable, path = found
    with certificate_errors(variable, path, WeightsError), _certificates_set(path):
        return get_session()


@contextmanager
def _certificates_set(path: str) -> Iterator[None]:
    """Set the variable that the session reads, and restore it."""
    name = "SSL_CERT_DIR" if os.path.isdir(path) else "SSL_CERT_FILE"
    before = os.environ.get(name)
    os.environ[name] = path
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
