from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from typing import Annotated, get_type_hints

import typer

from glpn_cli.cli.commands.batch import batch
from glpn_cli.cli.commands.predict import predict
from glpn_cli.cli.groups import NetworkOptions, OutputOptions, TalkOptions, with_option_groups
from glpn_cli.output.formats import FORMATS
from glpn_cli.settings import InputSize, OutputSettings, PredictorSettings

Number = Annotated[int, typer.Option("--number")]


@dataclass(frozen=True, kw_only=True)
class Pair:
    first: Number = 1
    second: Number = 2


def test_a_command_shows_the_fields_of_its_groups_and_gets_the_groups() -> None:
    got: list[tuple[int, Pair]] = []

    @with_option_groups
    def command(plain: Number, *, pair: Pair) -> None:
        """Do something."""
        got.append((plain, pair))

    assert list(inspect.signature(command).parameters) == ["plain", "first", "second"]
    assert get_type_hints(command, include_extras=True)["second"] == Number
    assert inspect.signature(command).parameters["second"].default == 2
    assert command.__doc__ == "Do something."
    command(plain=7, first=8, second=9)
    assert got == [(7, Pair(first=8, second=9))]


def test_predict_and_batch_share_every_option_of_the_groups() -> None:
    for group in (OutputOptions, NetworkOptions, TalkOptions):
        for command in (predict, batch):
            assert {item.name for item in fields(group)} <= inspect.signature(command).parameters.keys()


def test_nothing_given_is_the_defaults_of_the_settings() -> None:
    assert OutputOptions().settings() == OutputSettings()
    assert NetworkOptions().settings() == PredictorSettings()


def test_what_is_given_arrives() -> None:
    options = NetworkOptions(weights="x", input_size="64x32", threads=3, offline=True)
    assert options.settings([FORMATS["npy"]]) == PredictorSettings(
        weights="x", input_size=InputSize("fixed", 64, 32), threads=3, offline=True
    )
