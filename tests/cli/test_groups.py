from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import pytest
import typer
from glpn_cli.cli.groups import with_option_groups
from glpn_cli.cli.options.network import (
    CameraOptions,
    NetworkOptions,
)
from glpn_cli.cli.options.results import OutputOptions
from glpn_cli.cli.options.talk import TalkOptions

from glpn_cli.cli.commands.batch import batch
from glpn_cli.cli.commands.predict import predict
from glpn_cli.errors import MissingPackageError, UsageError
from glpn_cli.output.formats import FORMATS
from glpn_cli.settings import (
    CameraSettings,
    Colormap,
    DepthRange,
    InputSize,
    Near,
    Normalize,
    OutputSettings,
    PredictorSettings,
)

if TYPE_CHECKING:
    from glpn_cli.output.formats import DepthFormat

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
    for group in (OutputOptions, NetworkOptions, CameraOptions, TalkOptions):
        for command in (predict, batch):
            assert {item.name for item in fields(group)} <= inspect.signature(command).parameters.keys()


def test_nothing_given_is_the_defaults_of_the_settings() -> None:
    assert OutputOptions().settings([FORMATS["npy"]]) == OutputSettings()
    assert NetworkOptions().settings() == PredictorSettings()
    assert CameraOptions().settings() == CameraSettings()


def test_what_is_given_arrives() -> None:
    options = NetworkOptions(weights="x", input_size="64x32", threads=3, offline=True)
    assert options.settings([FORMATS["npy"]]) == PredictorSettings(
        weights="x", input_size=InputSize("fixed", 64, 32), threads=3, offline=True
    )


def rows(*names: str) -> list[DepthFormat]:
    return [FORMATS[name] for name in names]


def test_how_images_look_arrives() -> None:
    options = OutputOptions(range="p2:p98", near=Near.DARK, colormap=Colormap.MAGMA, legend=True, side_by_side=True)
    assert options.settings(rows("color")) == OutputSettings(
        range=DepthRange("percentiles", 2, 98, "p2:p98"),
        near=Near.DARK,
        colormap=Colormap.MAGMA,
        legend=True,
        side_by_side=True,
    )


def test_range_and_normalize_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="--range and --normalize"):
        OutputOptions(range="auto", normalize=Normalize.MAX).settings(rows("png"))


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"legend": True}, ["png"]),
        ({"side_by_side": True}, ["npy", "png16"]),
        ({"colormap": Colormap.MAGMA}, ["png"]),
        ({"range": "0:3"}, ["npy"]),
        ({"near": Near.DARK}, ["tiff"]),
    ],
)
def test_an_option_about_a_format_that_is_not_written_is_a_slip(given: dict[str, Any], names: list[str]) -> None:
    with pytest.raises(UsageError, match="none of it is written"):
        OutputOptions(**given).settings(rows(*names))
    OutputOptions(**given).settings(rows(*names, "color"))


def test_a_format_whose_package_is_absent_is_refused_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glpn_cli.output.formats.find_spec", lambda _name: None)
    with pytest.raises(MissingPackageError, match="OpenEXR") as caught:
        OutputOptions().settings(rows("npy", "exr"))
    assert "pip install" in str(caught.value.hint)
    assert caught.value.exit_code == 8
