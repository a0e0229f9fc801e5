"""The table of options: complete, without conflicts, and with the names of earlier versions."""

from __future__ import annotations

from dataclasses import fields

import pytest

from every_command import COMMANDS, parameters, parse
from glpn_cli.cli.app import _COMMANDS
from glpn_cli.cli.options import COMMON, OPTIONS, PANELS, Option, all_flags, flag_of
from glpn_cli.settings import OutputSettings, PredictionSettings
from glpn_cli.training.settings import TrainSettings
from glpn_cli.values import Colormap, Scale

WITHOUT_OPTION = {"keep_rgb", "range_m"}
"""Fields that the program sets by itself."""


@pytest.mark.parametrize("settings", OPTIONS, ids=lambda settings: settings.__name__)
def test_every_row_belongs_to_a_field(settings: type) -> None:
    assert OPTIONS[settings].keys() <= {item.name for item in fields(settings)}


@pytest.mark.parametrize("settings", [each for each in OPTIONS if each is not TrainSettings])
def test_every_field_has_a_row(settings: type) -> None:
    assert {item.name for item in fields(settings)} - OPTIONS[settings].keys() <= WITHOUT_OPTION


def test_every_common_row_is_used() -> None:
    used = {item.name for path in COMMANDS for item in parameters(path)}
    assert COMMON.keys() <= used


def test_all_commands_are_checked() -> None:
    assert {path[0] for path in COMMANDS} == set(_COMMANDS)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_no_name_is_used_twice(path: tuple[str, ...]) -> None:
    names = [name for item in COMMANDS[path].params for name in (*item.opts, *item.secondary_opts)]
    names += ["-h", "--help"]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_parameter_is_described(path: tuple[str, ...]) -> None:
    for item in parameters(path):
        assert item.row.help.endswith((".", ")")), item.name
        assert item.is_flag or item.metavar not in ("", "TEXT"), item.name
        if isinstance(item.row, Option):
            assert item.row.panel in PANELS
        assert "object at" not in item.default_text


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (("predict", "a.jpg", "--out", "b.png"), "output", "b.png"),
        (("predict", "a.jpg", "--output", "b.png"), "output", "b.png"),
        (("predict", "a.jpg", "-o", "b.png"), "output", "b.png"),
        (("batch", "in", "--out", "d"), "output", "d"),
        (("batch", "in", "--output", "d"), "output", "d"),
        (("batch", "in", "-o", "d"), "output", "d"),
        (("train", "--data", "d", "--units-per-metre", "9", "--out", "r"), "units_per_meter", "9"),
        (("evaluate", "--data", "d", "--units-per-metre", "9"), "units_per_meter", "9"),
        (("evaluate", "--data", "d", "--per-picture", "p.jsonl"), "per_image", "p.jsonl"),
        (("weights", "import", "w", "--as", "x", "--metres-per-unit", "8"), "meters_per_unit", "8"),
    ],
)
def test_old_names_still_work(arguments: tuple[str, ...], name: str, value: str) -> None:
    assert parse(*arguments)[name] == value


def test_old_values_still_work() -> None:
    settings = OutputSettings(scale="metres", colormap="grey")  # type: ignore[arg-type]  # text is converted
    assert (settings.scale, settings.colormap) == (Scale.METERS, Colormap.GRAY)


def test_flags_follow_from_names() -> None:
    assert flag_of("max_pixels") == "--max-pixels"
    assert flag_of("recursive", Option("", "", flag="--recursive/--no-recursive")) == "--recursive"
    assert all_flags().keys() >= OPTIONS[PredictionSettings].keys() | {"formats", "format"}


def test_every_flag_in_messages_exists() -> None:
    known = {name for command in COMMANDS.values() for item in command.params for name in item.opts}
    assert set(all_flags().values()) <= known
