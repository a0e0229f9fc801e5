"""What a training needs to go on exactly, in one file that is whole or not there.

Chance is no part of it: everything that is drawn follows from the seed and the number of the step.
"""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import MISSING, asdict, fields
from typing import TYPE_CHECKING, Any

import torch

from glpn_cli.errors import InputError, OutputError, UsageError
from glpn_cli.files import make_folder, partial_path

if TYPE_CHECKING:
    from pathlib import Path

    from glpn_cli.training.settings import TrainSettings


def keep_state(file: Path, state: dict[str, Any]) -> None:
    """Keep a state in place of the one before.

    Args:
        file: where; the state before stays until this one is whole.
        state: tensors, numbers and texts.

    Raises:
        OutputError: it cannot be written, as on a full disk.
    """
    make_folder(file.parent)
    partial = partial_path(file)
    try:
        with partial.open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, file)
    except (OSError, RuntimeError) as error:
        raise OutputError(
            f"{file}: cannot be written: {_reason(error)}",
            hint="make room; the same command goes on from the last state that was kept",
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _reason(error: BaseException) -> str:
    """Say what the file said: torch raises something of its own in place of it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error).partition("\n")[0]


def read_state(file: Path) -> dict[str, Any] | None:
    """Read a state; None if there is none. Nothing in the file is run.

    Raises:
        InputError: it is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise OutputError(f"{file.parent}: is no folder", hint="another --out") from error
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror or error}") from error
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise InputError(f"{file}: is damaged, or no state of a training", hint="--overwrite begins anew") from error
    if not isinstance(state, dict) or not {"settings", "step", "network"} <= state.keys():
        raise InputError(f"{file}: is not the state of a training", hint="another --out")
    return state


def settings_as_json(settings: TrainSettings) -> str:
    """Give settings as text that is the same for the same training."""
    return json.dumps(asdict(settings), sort_keys=True, indent=1)


def check_same_training(kept: str, settings: TrainSettings, folder: Path) -> None:
    """Refuse to go on with a training of other settings.

    Raises:
        UsageError: with the first setting that differs.
    """
    now = json.loads(settings_as_json(settings))
    # A setting that there was not yet had the value that it has now if nobody asks for another.
    defaults = {item.name: item.default for item in fields(settings) if item.default is not MISSING}
    before = json.loads(json.dumps(defaults)) | json.loads(kept)
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            raise UsageError(
                f"{folder}: a training with {name} = {before.get(name)} is there, not {now.get(name)}",
                hint="the same options go on with it; --overwrite begins anew; or another --out",
            )


def check_same_data(kept: str, amounts: str, folder: Path) -> None:
    """Refuse to go on with sets that have another number of samples: every later step would have other ones.

    Args:
        kept: name, samples and samples per epoch of every set, as JSON.
        amounts: the same of now.
        folder: of the training.

    Raises:
        UsageError: with the first set that differs.
    """
    for (name, before, _), (_, now, _) in zip(json.loads(kept), json.loads(amounts), strict=True):
        if before != now:
            raise UsageError(
                f"{folder}: {name} had {before} samples when this training began, and has {now} now",
                hint="--overwrite begins anew; or another --out",
            )
