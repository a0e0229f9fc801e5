"""Everything that can go wrong for a user, as one tree.

    GLPNError                   1   never raised itself
    ├── UsageError              2   the command line or an argument makes no sense
    ├── WeightsError            3   weights are absent, broken or of another architecture
    │   └── ConfigError         3   a model configuration is not one (also a ValueError)
    ├── InputError              4   there is nothing to compute depth from
    │   ├── ImageError        4   an image cannot be used (also a ValueError)
    │   └── DepthFileError      4   a depth file cannot be read back
    ├── DeviceError             5   a device, a precision or memory is not there
    ├── OutputError             6   a result could not be written
    │   ├── OutputExistsError   6   and would have replaced a file
    │   └── ReaderGoneError     6   and will not be: nobody reads standard output
    ├── PartialFailureError     7   some inputs of several failed
    ├── MissingPackageError     8   an optional package is not installed
    └── TrainingError           9   a training cannot go on

The numbers are the exit codes of the command line. A message is one line that says what is wrong and names
the file or option; a hint says what to do about it. Anything else that is raised is a bug and shows a traceback.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "INTERRUPTED_EXIT_CODE",
    "ConfigError",
    "DepthFileError",
    "DeviceError",
    "GLPNError",
    "ImageError",
    "InputError",
    "MissingPackageError",
    "OutputError",
    "OutputExistsError",
    "PartialFailureError",
    "ReaderGoneError",
    "TrainingError",
    "UsageError",
    "WeightsError",
]

INTERRUPTED_EXIT_CODE = 130
"""What a shell reports for a program that Ctrl-C ended: 128 + SIGINT."""


class GLPNError(Exception):
    """The root of every error that a user can cause and mend.

    Attributes:
        message: one line, without a full stop at the end.
        hint: what to do about it, or None.
        exit_code: what the command line exits with.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """Keep the message and the hint apart, so that each can be shown in its own way."""
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(GLPNError):
    """The command line or an argument makes no sense."""

    exit_code = 2


class WeightsError(GLPNError):
    """Weights are absent, broken or of another architecture."""

    exit_code = 3


class ConfigError(WeightsError, ValueError):
    """A model configuration has a field of the wrong type, or fields that contradict each other."""


class InputError(GLPNError):
    """There is nothing to compute depth from."""

    exit_code = 4


class ImageError(InputError, ValueError):
    """An image is missing, broken, hostile or no image at all."""


class DepthFileError(InputError, ValueError):
    """A file cannot be turned back into depth."""


class DeviceError(GLPNError):
    """A device, a precision or the memory that was asked for is not there."""

    exit_code = 5


class OutputError(GLPNError):
    """A result could not be written."""

    exit_code = 6


class OutputExistsError(OutputError):
    """Writing would have replaced a file that nobody said may be replaced."""


class ReaderGoneError(OutputError):
    """Nobody reads standard output any more."""


class PartialFailureError(GLPNError):
    """Some inputs of several failed; the others were done."""

    exit_code = 7


class MissingPackageError(GLPNError):
    """An optional package is needed and not installed."""

    exit_code = 8


class TrainingError(GLPNError):
    """A training cannot go on."""

    exit_code = 9
