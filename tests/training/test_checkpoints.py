from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from glpn_cli.errors import InputError, OutputError, UsageError
from glpn_cli.training.checkpoints import (
    STATE_NAME,
    check_same_data,
    check_same_settings,
    read_state,
    same_settings,
    save_state,
    settings_to_json,
)
from glpn_cli.training.settings import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SETTINGS = TrainSettings(data=("a",), crop=(0.5, 1.0), sizes=((32, 64, 1.0),))
STATE = {"settings": "{}", "step": 3, "network": {"weight": torch.arange(6.0).reshape(2, 3)}, "best": None}


def test_a_state_is_read_as_it_was_saved(tmp_path: Path, same: Callable[[Any, Any], bool]) -> None:
    file = tmp_path / "new" / STATE_NAME
    save_state(file, STATE)
    assert same(read_state(file), STATE)
    save_state(file, STATE | {"step": 4})
    state = read_state(file)
    assert state is not None
    assert state["step"] == 4
    assert [path.name for path in file.parent.iterdir()] == [STATE_NAME]


def test_there_may_be_no_state(tmp_path: Path) -> None:
    assert read_state(tmp_path / STATE_NAME) is None
    assert read_state(tmp_path / "missing" / STATE_NAME) is None


def test_a_failed_save_leaves_the_previous_state(tmp_path: Path, same: Callable[[Any, Any], bool]) -> None:
    file = tmp_path / STATE_NAME
    save_state(file, STATE)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save_state(file, STATE | {"network": {"weight": torch.ones(3), "code": lambda: 0}})
    assert same(read_state(file), STATE)
    assert [path.name for path in tmp_path.iterdir()] == [STATE_NAME]


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        save_state(tmp_path / "file" / STATE_NAME, STATE)
    with pytest.raises(OutputError, match="file"):
        read_state(tmp_path / "file" / STATE_NAME)


@pytest.mark.parametrize("content", [b"", b"nothing"])
def test_a_damaged_state_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / STATE_NAME).write_bytes(content)
    with pytest.raises(InputError, match=STATE_NAME) as raised:
        read_state(tmp_path / STATE_NAME)
    assert "`overwrite`" in str(raised.value.hint)


def test_a_truncated_state_is_named(tmp_path: Path) -> None:
    file = tmp_path / STATE_NAME
    save_state(file, STATE)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=STATE_NAME):
        read_state(file)


@pytest.mark.parametrize("other", [{"model": 1}, [1, 2], {"settings": "{}", "step": 1}])
def test_a_file_of_something_else_is_not_a_state(tmp_path: Path, other: object) -> None:
    torch.save(other, tmp_path / STATE_NAME)
    with pytest.raises(InputError, match=STATE_NAME) as raised:
        read_state(tmp_path / STATE_NAME)
    assert "`out`" in str(raised.value.hint)


def test_code_in_a_state_is_not_run(tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[Any, ...]:
            return (tmp_path / "ran").touch, ()

    torch.save({"settings": "{}", "step": 1, "network": Code()}, tmp_path / STATE_NAME)
    with pytest.raises(InputError):
        read_state(tmp_path / STATE_NAME)
    assert not (tmp_path / "ran").exists()


def test_the_same_settings_are_accepted(tmp_path: Path) -> None:
    check_same_settings(settings_to_json(SETTINGS), SETTINGS, tmp_path)
    assert same_settings(settings_to_json(SETTINGS), SETTINGS)


def test_the_first_setting_that_differs_is_named(tmp_path: Path) -> None:
    changed = replace(SETTINGS, seed=1, batch_size=2)
    with pytest.raises(UsageError, match=r"batch_size=12.* 2"):
        check_same_settings(settings_to_json(SETTINGS), changed, tmp_path)
    assert not same_settings(settings_to_json(SETTINGS), changed)


def test_settings_of_version_0_1_are_compared_by_todays_names(tmp_path: Path) -> None:
    old = json.loads(settings_to_json(replace(SETTINGS, units_per_meter=5000.0, loss_per_image=True)))
    old["units_per_metre"] = old.pop("units_per_meter")
    old["loss_per_picture"] = old.pop("loss_per_image")
    old["validation_pictures"] = old.pop("validation_images")
    old["textures"] = []
    del old["muon"]  # a setting that an earlier version did not have
    check_same_settings(json.dumps(old), replace(SETTINGS, units_per_meter=5000.0, loss_per_image=True), tmp_path)
    with pytest.raises(UsageError, match="loss_per_image"):
        check_same_settings(json.dumps(old), replace(SETTINGS, units_per_meter=5000.0), tmp_path)
    with pytest.raises(UsageError, match="muon"):
        changed = replace(SETTINGS, units_per_meter=5000.0, loss_per_image=True, muon=True)
        check_same_settings(json.dumps(old), changed, tmp_path)


@pytest.mark.parametrize(
    ("before", "now", "is_same"),
    [
        ("ok", "ok/", True),
        ("ok/", "./ok", True),
        ("ok", "{here}/ok", True),
        ("ok=2", "ok/=2.0", True),
        ("ok=2", "ok/=3", False),
        ("ok", "other", False),
        ("/gone/from/ok", "{here}/ok", True),  # a project that was moved
        ("/gone/from/other", "{here}/ok", False),
        ("{here}/ok", "{here}/copy/ok", False),
        ("nyu", "kitti", False),
    ],
)
def test_folders_are_compared_by_where_they_are(
    before: str, now: str, is_same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ok", "other", "copy/ok"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    saved, today = (
        replace(SETTINGS, data=(text.format(here=tmp_path),), root=None, validation=(text.format(here=tmp_path),))
        for text in (before, now)
    )
    assert same_settings(settings_to_json(saved), today) is is_same


@pytest.mark.parametrize("text", ["", "{", "[1]", "name,price\n"])
def test_other_texts_are_not_the_same_settings(text: str) -> None:
    assert not same_settings(text, SETTINGS)


def test_another_length_explains_how_to_continue(tmp_path: Path) -> None:
    before = TrainSettings(data=("a",), steps=5)
    for now, explains in ((replace(before, steps=9), True), (replace(before, steps=9, seed=3), False)):
        with pytest.raises(UsageError) as caught:
            check_same_settings(settings_to_json(before), now, tmp_path)
        assert (f"`init={tmp_path}/last`" in str(caught.value.hint)) == explains


def test_the_data_set_that_differs_is_named(tmp_path: Path) -> None:
    saved, now = [["a", 3, 3], ["b", 5, 10]], [["a", 3, 3], ["b", 6, 12]]
    check_same_data(json.dumps(saved), json.dumps(saved), tmp_path)
    with pytest.raises(UsageError, match=r"5 samples of b, .* 6"):
        check_same_data(json.dumps(saved), json.dumps(now), tmp_path)
