"""What is learnt, from what and how: the options of `glpn train` and `glpn scenes`."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated

import typer

from glpn_cli.cli.options.panels import DATA, RESULT, WORK
from glpn_cli.settings import Precision
from glpn_cli.training.settings import SHARED_CROP, Photometric, TrainSettings

_LEARN = "How it is learnt"

_TRAIN = {item.name: item.default for item in fields(TrainSettings)}

LearnFrom = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="nyu|kitti|scenes|FOLDER[=TIMES]",
        help="What to learn from; may be given several times. scenes are rendered. =2 sees each sample twice an epoch.",
        rich_help_panel=DATA,
        show_default=False,
    ),
]
ValidateBy = Annotated[
    list[str] | None,
    typer.Option(
        "--validation",
        metavar="nyu|kitti|scenes|FOLDER",
        help="What to measure by. Default: the test split, or the last tenth of each folder, which is not learnt from.",
        rich_help_panel=DATA,
        show_default=False,
    ),
]
Textures = Annotated[
    list[str] | None,
    typer.Option(
        "--textures",
        metavar="DIR",
        help="Images of which the surfaces of scenes get pieces; may be given several times.",
        rich_help_panel=DATA,
        hidden=True,
        show_default=False,
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="FILE",
        help="A JSON file of settings, such as the settings.json of a training; options count more.",
        rich_help_panel=_LEARN,
        hidden=True,
        show_default=False,
    ),
]
Init = Annotated[
    str | None,
    typer.Option(
        "--init",
        metavar="tiny|nyu|PATH|none",
        help=f"Weights to begin with; none draws a new network. Default: {_TRAIN['init']}.",
        rich_help_panel=_LEARN,
        show_default=False,
    ),
]
Architecture = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="tiny|b0|b1|published|FILE",
        help="With --init none: how the network is built, by name or as a config.json. Default: tiny.",
        rich_help_panel=_LEARN,
        hidden=True,
        show_default=False,
    ),
]
TrainSizes = Annotated[
    list[str] | None,
    typer.Option(
        "--size",
        metavar="HxW[=SHARE]",
        help="What the network sees; several, with their shares of the steps. Default: what the weights were made for.",
        rich_help_panel=_LEARN,
        show_default=False,
    ),
]
TrainBatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        min=1,
        help=f"Samples of a step, in all processes together. Default: {_TRAIN['batch_size']}.",
        rich_help_panel=_LEARN,
        show_default=False,
    ),
]
Accumulate = Annotated[
    int | None,
    typer.Option(
        "--accumulate",
        min=1,
        help="Compute a step in so many parts, to save memory.",
        rich_help_panel=_LEARN,
        hidden=True,
        show_default=False,
    ),
]
Epochs = Annotated[
    float | None,
    typer.Option(
        "--epochs",
        min=0.001,
        help=f"How often everything is seen. Default: {_TRAIN['epochs']}.",
        rich_help_panel=_LEARN,
        show_default=False,
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        "--steps", min=1, help="How many steps, instead of epochs.", rich_help_panel=_LEARN, show_default=False
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        "--learning-rate",
        min=0,
        help=f"The highest, half way. Default: {_TRAIN['learning_rate']}.",
        rich_help_panel=_LEARN,
        show_default=False,
    ),
]
CutDepth = Annotated[
    float | None,
    typer.Option(
        "--cut-depth",
        min=0,
        max=1,
        help=f"How often a strip of the image shows its depth. Default: {_TRAIN['cut_depth']}.",
        rich_help_panel=_LEARN,
        hidden=True,
        show_default=False,
    ),
]
PhotometricOf = Annotated[
    Photometric | None,
    typer.Option(
        "--photometric",
        help=f"How much colors are changed. Default: {_TRAIN['photometric']}.",
        rich_help_panel=_LEARN,
        hidden=True,
        show_default=False,
    ),
]
DropPath = Annotated[
    float | None,
    typer.Option(
        "--drop-path",
        min=0,
        max=1,
        help="How often the last layer is skipped. Default: what the weights say.",
        rich_help_panel=_LEARN,
        hidden=True,
        show_default=False,
    ),
]
Ema = Annotated[
    float | None,
    typer.Option(
        "--ema",
        min=0,
        max=0.999999,
        help="Average the weights over the steps, with this decay, such as 0.999.",
        rich_help_panel=_LEARN,
        hidden=True,
        show_default=False,
    ),
]
ClipNorm = Annotated[
    float | None,
    typer.Option(
        "--clip-norm",
        min=0,
        help="Shorten gradients to this length.",
        rich_help_panel=_LEARN,
        hidden=True,
        show_default=False,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed", min=0, help="All chance follows from it.", rich_help_panel=_LEARN, hidden=True, show_default=False
    ),
]
TrainPrecision = Annotated[
    Precision | None,
    typer.Option(
        "--precision",
        metavar="float32|bfloat16",
        help="bfloat16 is by autocast.",
        rich_help_panel=_LEARN,
        hidden=True,
        show_default=False,
    ),
]
TrainOut = Annotated[
    str,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR",
        help="Where weights, logs and the state go. The same command goes on where it stopped.",
        rich_help_panel=RESULT,
        show_default=False,
    ),
]
NameOf = Annotated[
    str,
    typer.Option(
        "--name",
        metavar="NAME",
        help="What the weights are called. Default: as DIR.",
        rich_help_panel=RESULT,
        show_default=False,
        hidden=True,
    ),
]
TrainOverwrite = Annotated[
    bool, typer.Option("--overwrite", help="Begin anew where a training has been.", rich_help_panel=RESULT)
]
Tensorboard = Annotated[
    bool, typer.Option("--tensorboard", help="Also write logs for TensorBoard.", rich_help_panel=RESULT, hidden=True)
]
SaveEvery = Annotated[
    int,
    typer.Option(
        "--save-every", min=1, metavar="STEPS", help="Keep the state so often.", rich_help_panel=RESULT, hidden=True
    ),
]
ValidateEvery = Annotated[
    int,
    typer.Option(
        "--validate-every",
        min=0,
        metavar="STEPS",
        help="Measure so often. Default: once per epoch, but not within a hundred steps.",
        rich_help_panel=RESULT,
        hidden=True,
        show_default=False,
    ),
]
Until = Annotated[
    int,
    typer.Option(
        "--until",
        min=0,
        metavar="STEP",
        help="Stop after this step, to go on another time or from what there is; 0 for never.",
        rich_help_panel=WORK,
        hidden=True,
        show_default=False,
    ),
]
MaxMinutes = Annotated[
    float,
    typer.Option(
        "--max-minutes",
        min=0,
        metavar="MINUTES",
        help="Stop after so long, to go on another time.",
        rich_help_panel=WORK,
        show_default=False,
    ),
]
TrainWorkers = Annotated[
    int, typer.Option("--workers", min=0, help="Processes that make samples.", rich_help_panel=WORK, hidden=True)
]
SceneWorkers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=0,
        help="Processes that render. Default: the number of cores.",
        rich_help_panel=WORK,
        hidden=True,
        show_default=False,
    ),
]
SceneOut = Annotated[
    str,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR",
        help="Where scenes are kept. The same command goes on where it stopped.",
        rich_help_panel=RESULT,
        show_default=False,
    ),
]
SceneKinds = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        help="Render only this kind of scene: room, tabletop, meal, street, jam, traffic, evening, square, park, "
        "portrait; as KIND=SHARE several in shares. Default: room, tabletop, street and park.",
        rich_help_panel=RESULT,
        metavar="KIND",
        hidden=True,
        show_default=False,
    ),
]
SceneCount = Annotated[
    int, typer.Option("--count", min=1, help="How many, rounded up to a multiple of 64.", rich_help_panel=RESULT)
]
SceneSize = Annotated[
    str,
    typer.Option(
        "--size",
        metavar="HxW",
        help="Pixels; some scenes are upright, square or wide, with about as many.",
        rich_help_panel=RESULT,
    ),
]
Preview = Annotated[
    bool,
    typer.Option("--preview", help="Also write preview.png: a few scenes over their depth.", rich_help_panel=RESULT),
]
CropShare = Annotated[
    str | None,
    typer.Option(
        "--crop",
        metavar="native|LOW-HIGH",
        help="Show pieces of the size as they are, or such shares of an image, resized. Default: native for nyu and "
        f"kitti, else {SHARED_CROP[0]:g}-{SHARED_CROP[1]:g}.",
        rich_help_panel=_LEARN,
        hidden=True,
        show_default=False,
    ),
]
