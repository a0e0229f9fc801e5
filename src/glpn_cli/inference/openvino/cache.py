"""Files of converted and compiled networks, below the folder of installed weights.

Converting a network takes a second, and compiling it for a size two. Both results are files here: `NAME.bin` with the
bytes and `NAME.json` with their SHA-256. A file that is missing or damaged is made again, and so is one of another
version: what an entry depends on is part of its name. Only a few entries are stored, because each is as large as the
weights; the least recently used ones are removed.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from glpn_cli.errors import GLPNError, OutputError, WeightsError
from glpn_cli.files import locked, make_folder, read_json, refuses_files, write_together
from glpn_cli.weights.store import home_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_NETWORKS = 2
MAX_COMPILED = 4
"""How many entries of each kind are stored, of all weights together."""

_FOLDER = "openvino"
_DATA, _SEAL = ".bin", ".json"
_LOCK_NAME = "lock"
_LOCK_WAIT_S = 600.0
_DIGITS = 24  # of a digest in a name


class NetworkCache:
    """Stores entries of one kind, such as compiled networks; for threads and processes at the same time.

    A folder that cannot be written is only read; without any folder nothing is stored.

    Attributes:
        folder: has the entries, or None.
    """

    def __init__(self, kind: str, limit: int, folder: Path | None = None) -> None:
        """Find the folder.

        Args:
            kind: of the entries; the start of their names.
            limit: how many to store.
            folder: None uses the folder of installed weights, or the user's cache folder if that cannot be written.
        """
        self._kind, self._limit = kind, limit
        self.folder = folder or _usable_folder()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from making the same entry in the block: they find it afterwards."""
        if self.folder is None or not self._is_writable():
            yield
            return
        busy = OutputError(f"{self.folder}: in use by another glpn process", hint="wait until it ends")
        with locked(self.folder / _LOCK_NAME, busy, wait_s=_LOCK_WAIT_S):
            yield

    def load(self, **depends_on: object) -> bytes | None:
        """Return the bytes of an entry, or None if there is none or it is damaged.

        Args:
            depends_on: everything that determines the bytes.
        """
        if self.folder is None:
            return None
        data, seal = self._paths(depends_on)
        try:
            expected = read_json(seal, WeightsError).get("sha256")
            loaded = data.read_bytes()
        except (GLPNError, OSError):
            return None
        if hashlib.sha256(loaded).hexdigest() != expected:
            return None
        with suppress(OSError):  # of a folder that is only read
            os.utime(seal)  # the last use
        return loaded

    def store(self, loaded: bytes, **depends_on: object) -> str | None:
        """Store an entry, and remove those that are too many.

        Args:
            loaded: the bytes.
            depends_on: everything that determines them.

        Returns:
            Why it is not stored, or None if it is.
        """
        if self.folder is None:
            return "no folder can be written"
        data, seal = self._paths(depends_on)
        facts = {
            "sha256": hashlib.sha256(loaded).hexdigest(),
            **{name: str(value) for name, value in depends_on.items()},
        }
        try:
            self._remove_old(keep=self._limit - 1)
            write_together([(data, loaded), (seal, json.dumps(facts).encode())], overwrite=True, durable=False)
        except OutputError as error:
            return error.message
        return None

    def _is_writable(self) -> bool:
        return self.folder is not None and os.path.isdir(self.folder) and not refuses_files(self.folder)

    def _paths(self, depends_on: dict[str, object]) -> tuple[Path, Path]:
        assert self.folder is not None  # noqa: S101 - checked by the callers
        text = json.dumps({name: str(value) for name, value in depends_on.items()}, sort_keys=True)
        stem = f"{self._kind}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}"
        return self.folder / (stem + _DATA), self.folder / (stem + _SEAL)

    def _remove_old(self, keep: int) -> None:
        """Remove the least recently used entries, except for the last `keep`, and data without a seal."""
        assert self.folder is not None  # noqa: S101 - checked by the caller
        with suppress(OSError):  # another process may remove the same
            seals = list(self.folder.glob(f"{self._kind}-*{_SEAL}"))
            seals.sort(key=lambda path: path.stat().st_mtime, reverse=True)
            for seal in seals[keep:]:
                seal.unlink(missing_ok=True)
            kept = {seal.stem for seal in seals[:keep]}
            for data in self.folder.glob(f"{self._kind}-*{_DATA}"):
                if data.stem not in kept:
                    data.unlink(missing_ok=True)


def _usable_folder() -> Path | None:
    """Return the first folder that can be written, else the first that exists, else None."""
    homes: list[Path] = []
    with suppress(WeightsError):  # a user without a home folder
        homes.append(home_folder())
    with suppress(RuntimeError):
        homes.append(Path(platformdirs.user_cache_dir("glpn", False)))
    folders = [home / _FOLDER for home in homes if home.is_absolute()]
    for folder in folders:
        with suppress(OutputError):
            make_folder(folder)
            if not refuses_files(folder):
                return folder
    return next(filter(os.path.isdir, folders), None)
