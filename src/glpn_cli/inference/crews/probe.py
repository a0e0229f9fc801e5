"""What a worker on another machine must be able to do before it gets images: see the same files, and name new ones."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from glpn_cli.errors import DeviceError, OutputError, OutputExistsError
from glpn_cli.files import move_into_place, os_reason, partial_path, write_new
from glpn_cli.inference.plan import STDOUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glpn_cli.inference.manifest import Manifest
    from glpn_cli.inference.plan import Task

_SHARED_HINT = "images and outputs must be on a file system that all hosts of the cluster mount at the same place"


@dataclass(frozen=True)
class Nonce:
    """A file that shows which folder is the output folder of a run.

    Attributes:
        path: hidden, in the output folder; None if the run writes no files.
        text: its content, which no other run has.
    """

    path: Path | None
    text: str

    @classmethod
    def place(cls, manifest: Manifest | None, tasks: Sequence[Task]) -> Self:
        """Write the file into the folder of the manifest, or into that of the first output.

        Raises:
            OutputError: the file system refuses.
        """
        text = json.dumps({"nonce": secrets.token_hex(16)}) + "\n"
        outputs = [path for task in tasks for _, path in task.outputs if path is not STDOUT]
        path = partial_path(outputs[0]) if outputs else None
        if manifest is not None:
            path = manifest.nonce_path  # a leftover is removed with the journals
        if path is not None:
            try:
                write_new(path, text.encode())
            except OSError as error:
                raise OutputError(f"{path}: cannot be written: {os_reason(error)}") from error
        return cls(path, text)

    def remove(self) -> None:
        """Remove the file."""
        if self.path is not None:
            with suppress(OSError):
                self.path.unlink()


@dataclass(frozen=True)
class Probe:
    """What a worker checks.

    Attributes:
        nonce: the file in the output folder, and its content.
        images: paths and sizes in bytes of some images.
    """

    nonce: Nonce
    images: tuple[tuple[Path, int], ...]

    @classmethod
    def of(cls, nonce: Nonce, tasks: Sequence[Task]) -> Self:
        """Return the probe of a worker that is about to get tasks."""
        images = []
        for task in (tasks[0], tasks[-1]):
            if isinstance(task.source, Path):
                with suppress(OSError):  # an image that is missing here fails later
                    images.append((task.source, os.stat(task.source).st_size))
        return cls(nonce, tuple(images))

    def check(self, number: int) -> None:
        """Check all of it, in the worker.

        Args:
            number: of the worker.

        Raises:
            OutputError: the output folder is another one here, or does not let files be named without replacing.
            DeviceError: an image cannot be seen here.
        """
        if self.nonce.path is not None:
            self._check_folder(self.nonce.path, number)
        for image, size in self.images:
            try:
                is_same = os.stat(image).st_size == size
            except OSError:
                is_same = False
            if not is_same:
                raise DeviceError(f"{image}: a worker cannot see it", hint=_SHARED_HINT)

    def _check_folder(self, path: Path, number: int) -> None:
        try:
            is_same = path.read_bytes() == self.nonce.text.encode()
        except OSError:
            is_same = False
        if not is_same:
            raise OutputError(f"{path.parent}: a worker sees another folder there", hint=_SHARED_HINT)
        first, second = (path.with_name(f"{path.name}.{number}.{name}") for name in "ab")
        try:
            write_new(first)
            write_new(second)
            move_into_place(first, second, overwrite=False)
        except OutputExistsError:
            return
        except OSError as error:
            raise OutputError(f"{path.parent}: a worker cannot write into it: {os_reason(error)}") from error
        finally:
            for leftover in (first, second):
                with suppress(OSError):
                    leftover.unlink()
        raise OutputError(f"{path.parent}: the file system does not refuse to replace a file", hint=_SHARED_HINT)
