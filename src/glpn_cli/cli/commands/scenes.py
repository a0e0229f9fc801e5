"""`glpn scenes`: render scenes with known depth once, to train with them many times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from glpn_cli.cli.groups import with_option_groups
from glpn_cli.cli.options.learning import (
    Preview,
    SceneCount,
    SceneKinds,
    SceneOut,
    SceneSize,
    SceneWorkers,
    Seed,
    Textures,
)
from glpn_cli.cli.options.network import Device
from glpn_cli.cli.options.talk import TalkOptions
from glpn_cli.errors import UsageError
from glpn_cli.settings import parse_size
from glpn_cli.training.settings import SceneSettings

if TYPE_CHECKING:
    from glpn_cli.cli.console import Console


_DEFAULTS = SceneSettings(out="")


@with_option_groups
def scenes(
    *,
    out: SceneOut,
    count: SceneCount = _DEFAULTS.count,
    size: SceneSize = f"{_DEFAULTS.size[0]}x{_DEFAULTS.size[1]}",
    preview: Preview = False,
    textures: Textures = None,
    kinds: SceneKinds = None,
    seed: Seed = None,
    workers: SceneWorkers = _DEFAULTS.workers,
    device: Device = _DEFAULTS.device,
    talk: TalkOptions,
) -> None:
    """Render made-up scenes with exactly known depth, for glpn train --data DIR.

    Rooms, tables, streets, parks, people. The same seed gives the same scenes.
    """
    console = talk.console()
    with console.errors_reported():
        if not out:
            raise UsageError("--out is empty", hint="is a variable of the shell not set?")
        shares = tuple(map(_parse_kind, kinds or ()))
        try:
            settings = SceneSettings(
                out, count, parse_size(size), tuple(textures or ()), seed or 0, workers, shares, device
            )
        except ValueError as error:
            raise UsageError(f"--size {size}: {error}") from error
        _render(console, settings, preview=preview)


def _parse_kind(text: str) -> tuple[str, float]:
    from glpn_cli.scenes.rendering import SCENE_KINDS

    name, _, share = text.partition("=")
    try:
        parts = float(share or 1)
    except ValueError:
        parts = -1.0
    if name not in SCENE_KINDS or not 0 < parts < 1e6:
        raise UsageError(
            f"--kind {text}: is no kind of scene", hint=f"{', '.join(SCENE_KINDS)}; or with a share: room=2"
        )
    return name, parts


def _render(console: Console, settings: SceneSettings, *, preview: bool) -> None:
    from glpn_cli.scenes.filling import fill, write_preview

    bar = console.bar(TextColumn("scenes"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    task = bar.add_task("scenes", total=settings.count)
    done = 0
    with bar:
        for done in fill(settings):
            bar.update(task, completed=min(done, settings.count))
            console.detail(f"{done} scenes")
    console.say(f"{settings.out}: {done} scenes")
    if preview:
        console.say(f"{write_preview(settings)}: some of them")
