"""All errors that a user can cause and fix, with the exit code of each.

    GLPNError                   1   base class, never raised itself
    ├── UsageError              2   invalid command line or argument
    ├── WeightsError            3   weights are missing, damaged or of another architecture
    │   ├── MissingWeightsError 3   weights or their configuration are not there (also an OSError)
    │   └── ConfigError         3   invalid model or processor configuration (also a ValueError)
    ├── InputError              4   no input to compute depth from
    │   ├── ImageError          4   an image cannot be used (also a ValueError)
    │   └── DepthFileError      4   a depth file cannot be read (also a ValueError)
    ├── DeviceError             5   a device, a precision or memory is not available
    ├── OutputError             6   a result cannot be written
    │   ├── OutputExistsError   6   the output file exists
    │   └── ReaderGoneError     6   the reader of standard output has closed it
    ├── PartialFailureError     7   some of several inputs failed
    ├── MissingPackageError     8   an optional package is not installed
    └── TrainingError           9   training diverged

A message is one line that names the problem and the file or setting. A hint says what to do. Both name a setting by
its Python keyword in backquotes, with or without a value: `max_pixels`, `tta='flip'`; the command line shows them as
flags. Any other exception is a bug and shows a traceback.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "CLOSED_PIPE_EXIT_CODE",
    "INTERRUPTED_EXIT_CODE",
    "ConfigError",
    "DepthFileError",
    "DeviceError",
    "GLPNError",
    "ImageError",
    "InputError",
    "MissingPackageError",
    "MissingWeightsError",
    "OutputError",
    "OutputExistsError",
    "PartialFailureError",
    "ReaderGoneError",
    "TrainingError",
    "UsageError",
    "WeightsError",
]

INTERRUPTED_EXIT_CODE = 130
"""The exit code after Ctrl-C or SIGTERM: 128 + SIGINT, as shells report it."""


CLOSED_PIPE_EXIT_CODE = 141
"""The exit code of the command line after the reader of standard output has closed it, without a message: 128 +
SIGPIPE, as shells report it."""


class GLPNError(Exception):
    """Base class of all errors that a user can cause and fix.

    Attributes:
        message: one line, without a full stop at the end.
        hint: what to do about it, or None.
        setting: the Python keyword of the setting whose value is invalid, or None; `str(error)` begins with it.
        exit_code: the exit code of the command line.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None, setting: str | None = None) -> None:
        """Store the parts, so that a caller can show each in its own way."""
        super().__init__(message if setting is None else f"`{setting}`: {message}")
        self.message = str(self)
        self.hint = hint
        self.setting = setting


class UsageError(GLPNError):
    """Invalid command line or argument."""

    exit_code = 2


class WeightsError(GLPNError):
    """Weights are missing, damaged or of another architecture."""

    exit_code = 3


class MissingWeightsError(WeightsError, OSError):
    """Weights or their configuration are neither at the given path nor installed, and cannot be downloaded."""


class ConfigError(WeightsError, ValueError):
    """A configuration has a field of the wrong type, or fields that contradict each other."""


class InputError(GLPNError):
    """There is no input to compute depth from."""

    exit_code = 4


class ImageError(InputError, ValueError):
    """An image is missing, damaged, dangerous to decode, or not an image."""


class DepthFileError(InputError, ValueError):
    """A depth file cannot be read."""


class DeviceError(GLPNError):
    """A device, a precision or memory is not available."""

    exit_code = 5


class OutputError(GLPNError):
    """A result cannot be written."""

    exit_code = 6


class OutputExistsError(OutputError):
    """The output file exists, and the caller did not allow replacing it."""


class ReaderGoneError(OutputError):
    """The reader of standard output has closed it; the command line exits with `CLOSED_PIPE_EXIT_CODE`."""


class PartialFailureError(GLPNError):
    """Some of several inputs failed; the others are done."""

    exit_code = 7


class MissingPackageError(GLPNError):
    """An optional package is required and not installed."""

    exit_code = 8


class TrainingError(GLPNError):
    """Training diverged and cannot continue."""

    exit_code = 9


class ApproximateDepthWarning(UserWarning):
    """The meters of the loaded weights are approximate. `load` warns once in a process."""


PictureError = ImageError  # the name until version 0.1
