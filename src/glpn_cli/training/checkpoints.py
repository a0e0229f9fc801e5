"""The checkpoint from which a run resumes: one file, replaced atomically.

It holds no random state: all randomness is a function of the seed and the step number.
"""

from __future__ import annotations

import json
import os
import pickle
import re
from dataclasses import MISSING, asdict, fields
from typing import TYPE_CHECKING, Any

import torch

from glpn_cli.errors import InputError, OutputError, UsageError
from glpn_cli.files import make_folder, os_reason, replacing
from glpn_cli.training.recipe import rename_settings

if TYPE_CHECKING:
    from pathlib import Path

    from glpn_cli.training.settings import TrainSettings

STATE_NAME = "state.pt"
"""The file in the run folder."""

_REQUIRED_KEYS = {"settings", "step", "network"}

_PATHS = frozenset({"data", "validation", "root", "init", "config"})
"""Settings that may name files or folders."""

_TIMES = re.compile(r"(.+)=(\d+(?:\.\d*)?|\.\d+)")

_OTHER_HINT = "repeat the options of that run to resume it, set `overwrite` to start over, or choose another `out`"
_LONGER_HINT = (
    "the learning rate follows the length of the run, so it cannot change; to train longer, start another run from "
    "these weights: `init={folder}/last` and another `out`"
)


def save_state(file: Path, state: dict[str, Any]) -> None:
    """Save a checkpoint. The previous one stays until the new one is complete.

    Args:
        file: the checkpoint file.
        state: tensors, numbers and texts.

    Raises:
        OutputError: the file cannot be written, for example because the disk is full.
    """
    make_folder(file.parent)
    try:
        with replacing(file) as partial, partial.open("wb") as stream:
            torch.save(state, stream)
    except (OSError, RuntimeError) as error:
        raise OutputError(
            f"{file}: cannot be written: {_write_failure(error)}",
            hint="free some space; the same command resumes from the last checkpoint",
        ) from error


def read_state(file: Path) -> dict[str, Any] | None:
    """Read a checkpoint without running code from it.

    Returns:
        The state, with tensors on the CPU, or None if there is no checkpoint.

    Raises:
        InputError: the file is damaged, or is not a training checkpoint.
        OutputError: the run folder is a file.
    """
    try:
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise OutputError(f"{file.parent}: is not a folder", hint="choose another `out`") from error
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {os_reason(error)}") from error
    except (
        RuntimeError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        pickle.UnpicklingError,
    ) as error:
        raise InputError(
            f"{file}: damaged, or not a training checkpoint", hint="set `overwrite` to start over"
        ) from error
    if not isinstance(state, dict) or not state.keys() >= _REQUIRED_KEYS:
        raise InputError(f"{file}: is not a training checkpoint", hint="choose another `out`")
    return state


def settings_to_json(settings: TrainSettings) -> str:
    """Return settings as a JSON object that is also a recipe; the same text for the same settings."""
    return json.dumps(asdict(settings), sort_keys=True, indent=1)


def same_settings(saved: str, settings: TrainSettings) -> bool:
    """Return whether JSON that this or an earlier version saved holds the same settings."""
    try:
        return not _changed_settings(saved, settings)
    except (ValueError, AttributeError):  # not a JSON object
        return False


def check_same_settings(saved: str, settings: TrainSettings, folder: Path) -> None:
    """Refuse to resume with other settings.

    Args:
        saved: the settings of the run, from `settings_to_json` of this or an earlier version.
        settings: the settings of this command.
        folder: the run folder, for messages.

    Raises:
        UsageError: a setting differs; the message names the first one.
    """
    changed = _changed_settings(saved, settings)
    if changed:
        name, (before, now) = next(iter(changed.items()))
        raise UsageError(
            f"{folder}: contains a run with `{name}={before}`, not {now}",
            hint=_LONGER_HINT.format(folder=folder) if changed.keys() <= {"steps", "epochs"} else _OTHER_HINT,
        )


def check_same_data(saved: str, counts: str, folder: Path) -> None:
    """Refuse to resume with other numbers of samples: all later steps would use other samples.

    Args:
        saved: [name, samples, samples per epoch] of each data set, as JSON.
        counts: the same for this command.
        folder: the run folder, for messages.

    Raises:
        UsageError: a data set differs; the message names the first one.
    """
    for (name, before, _), (_, now, _) in zip(json.loads(saved), json.loads(counts), strict=True):
        if before != now:
            raise UsageError(
                f"{folder}: the run started with {before} samples of {name}, and now there are {now}",
                hint="set `overwrite` to start over, or choose another `out`",
            )


def _changed_settings(saved: str, settings: TrainSettings) -> dict[str, tuple[Any, Any]]:
    """Return (saved value, value now) of all settings that differ, by name."""
    now = json.loads(settings_to_json(settings))
    # A setting that an earlier version did not have counts as its default, which keeps the behavior of that version.
    defaults = {item.name: item.default for item in fields(settings) if item.default is not MISSING}
    before = json.loads(json.dumps(defaults)) | rename_settings(json.loads(saved))
    return {
        name: (before.get(name), now.get(name))
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
        and not (name in _PATHS and _are_same_paths(before.get(name), now.get(name)))
    }


def _are_same_paths(before: Any, now: Any) -> bool:
    """Return whether settings name the same files and folders, such as `ok` and `ok/`.

    A folder that is no longer where it was, as in a project that was moved, counts as the one of the same name.
    """
    if isinstance(before, list) and isinstance(now, list):
        return len(before) == len(now) and all(map(_are_same_paths, before, now))
    if not isinstance(before, str) or not isinstance(now, str):
        return bool(before == now)
    (before, times_before), (now, times_now) = _split_times(before), _split_times(now)
    if times_before != times_now:
        return False
    if os.path.realpath(before) == os.path.realpath(now):
        return True
    moved = os.path.isabs(before) and not os.path.exists(before) and os.path.exists(now)
    return moved and os.path.basename(os.path.normpath(before)) == os.path.basename(os.path.normpath(now))


def _split_times(entry: str) -> tuple[str, float]:
    """Split "FOLDER=2" as `datasets` does; the number is 1 if it is not given."""
    found = _TIMES.fullmatch(entry)
    return (found[1], float(found[2])) if found else (entry, 1.0)


def _write_failure(error: BaseException) -> str:
    """Return the reason of the file system, which torch hides behind an error of its own."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error).partition("\n")[0]
