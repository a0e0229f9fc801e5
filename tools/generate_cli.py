"""Write docs/cli.md from the command line itself, so that the two cannot disagree: `make docs`."""

from __future__ import annotations

import enum
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from glpn_cli import errors
from glpn_cli.cli.app import build_app
from glpn_cli.output.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import typer

PAGE = Path(__file__).with_name("cli.md")

HEAD = """# The command line

This page is written by `make docs` from the program itself.

Results go to standard output, everything that is said goes to standard error. `glpn COMMAND --help` shows what
most people need on one screen of the terminal, `--help-all` the same options as this page, and
`glpn --install-completion` teaches them to bash, zsh, fish or PowerShell.
"""

JSON = """## What `predict --json` prints

One object per image and line, in the order of the arguments:

| field | what |
|---|---|
| `source` | the image as it was named |
| `status` | `done` or `failed` |
| `outputs` | path of each output, by format |
| `depth_m` | `min`, `median` and `max` of the depth, meters |
| `image_size`, `network_size` | `height` and `width` in pixels of the upright image, and of what the network saw |
| `tile_size` | likewise of the overlapping tiles that the network saw, too; or null |
| `weights` | `name`, `sha256`, and `metric`: true, false (approximate) or null (unknown) |
| `depth_limit_m`, `meters_per_unit` | the largest depth of these weights; meters per unit of the published scale |
| `scale` | of the numbers in the outputs; `depth_m` is always meters |
| `device`, `precision` | what really computed |
| `tta` | `flip`, or null |
| `saturated_share` | the share of pixels so close to the depth limit that they may be any farther |
| `camera` | `focal_px` in pixels of the upright image, and its `source` |
| `anchor_factor`, `anchors` | of `--anchor`: the factor; `x`, `y`, `known_m`, `predicted_m`, `residual_m` of each |
| `elapsed_ms` | milliseconds of `decode`, `preprocess`, `network`, `upsample`, `encode`, `write`; `fetch`, `tiles` |
| `notes` | what had to be done to the image |
| `error` | of a failed image, instead of all that follows `status`: `message`, `hint` (or null) and `exit_code` |
"""

BATCH_JSON = """## What `batch --json` prints

One object per image and line, as the images are finished: the line that the manifest gets ([batch.md](batch.md)).

With `--verify`, one object per output and line:

| field | what |
|---|---|
| `output` | path relative to DIR |
| `status` | `intact`, `missing`, `changed`, `unlisted` (unknown to the manifest) or `left over` (hidden, of a kill) |
| `source`, `format`, `sha256` | what the manifest says of it; null where it says nothing |
"""

INFO_JSON = """## What `info --json` prints

One object per file and line:

| field | what |
|---|---|
| `file` | as it was named |
| `status` | `ours` (it says what it is), `foreign` (it does not) or `failed` |
| `format`, `reads_back` | the format, and what reading it gives; or null |
| `size` | `height` and `width` in pixels, or null |
| `depth_m` | `min`, `median` and `max` of the known depth, meters, and `unknown_share`; or null |
| `says` | what the file says of itself, as [formats.md](formats.md) has it; or null |
| `remark` | why there is no depth, or no more is known; or null |
| `error` | of a failed file, instead of all that follows `status`: `message`, `hint` (or null) and `exit_code` |
"""

MEASURE_JSON = """## What `measure --json` prints

One object:

| field | what |
|---|---|
| `source`, `kind` | what was named, and whether it was a `image` or `depth` |
| `image_size` | `height` and `width` in pixels of the upright image |
| `weights` | `name`, `sha256` and `metric`, as above; after `--anchor` that is `anchored` |
| `measurements` | in the order `--at`, `--box`: `box` (`x0`, `y0`, `x1`, `y1`; null for the whole image), `median_m`, `p10_m`, `p90_m` (null where no depth is known), `pixels`, `known` (of how many), `uncertainty_m` (with `--tta flip`) |
| `anchor_factor`, `anchors` | as above |
"""  # noqa: E501

WEIGHTS_JSON = """## What `weights list --json` and `weights verify --json` print

One object per weights and line. `list`:

| field | what |
|---|---|
| `name` | what to give to `--weights` |
| `status` | `bundled`, `downloaded`, `imported`, `absent` or `damaged` |
| `path` | the file, or null |
| `size_bytes` | of the file, or about what a download fetches |
| `source`, `revision` | repository and commit, or the file that was imported and null |
| `license` | what is known of it, and the doubt about it |
| `domain` | what images they were made for, or null |
| `metric` | true, false (approximate) or null (unknown) |
| `depth_limit_m`, `meters_per_unit` | the largest depth; meters per unit of the published scale |
| `working_size` | `height` and `width` in pixels of the images that they were made for |

`verify`: `name`, `path`, `sha256` of the file, and `status`: `intact`, `readable` (it carries no record of what it
was) or `damaged`, then with `error`: `message` and `hint` (or null).
"""


def page() -> str:
    """Give the whole page."""
    app = build_app()
    parts = [HEAD, *_commands(app, "glpn")]
    for group in app.registered_groups:
        inner: Any = group.typer_instance
        parts += _commands(inner, f"glpn {inner.info.name}")
    parts += [_formats(), JSON, BATCH_JSON, INFO_JSON, MEASURE_JSON, WEIGHTS_JSON, _exit_codes()]
    return "\n".join(parts)


def _commands(group: typer.Typer, called: str) -> Iterator[str]:
    for command in group.registered_commands:
        function: Any = command.callback
        name = command.name or function.__name__.replace("_", "-")
        yield f"## `{called} {name}`\n\n{inspect.getdoc(function)}\n"
        yield _options(function)


def _options(function: Callable[..., None]) -> str:
    hints = get_type_hints(function, include_extras=True)
    rows = ["| option | what | default |", "|---|---|---|"]
    for name, parameter in inspect.signature(function).parameters.items():
        kind, info = get_args(hints[name])
        # Inside Annotated, Typer keeps the first name where a default would stand.
        declared = [info.default, *(getattr(info, "param_decls", None) or ())]
        # "--this/--no-this" are two names.
        names = ", ".join(f"`{option}`" for both in declared if isinstance(both, str) for option in both.split("/"))
        values = info.metavar or "|".join(_choices(kind))
        cells = [f"{names} `{values}`".strip() if values else names, info.help, _default(parameter.default)]
        rows.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _choices(kind: Any) -> list[str]:
    """List the values of an enumeration, also inside `list[...] | None`."""
    if inspect.isclass(kind) and issubclass(kind, enum.Enum):
        return [str(member.value) for member in kind]
    return [choice for inner in get_args(kind) for choice in _choices(inner)] or (["N"] if kind is int else [])


def _default(value: Any) -> str:
    return "" if value in (None, False, "", inspect.Parameter.empty) else f"`{value}`"


def _formats() -> str:
    rows = [
        "## Formats\n",
        "More in [formats.md](formats.md).\n",
        "| `--format` | file | what is in it |",
        "|---|---|---|",
    ]
    rows += [f"| `{row.name}` | `NAME{row.ending}` | {row.holds} |" for row in FORMATS.values()]
    return "\n".join(rows) + "\n"


def _exit_codes() -> str:
    rows = ["## Exit codes\n", "| code | when |", "|---|---|", "| 0 | everything was done |", "| 1 | a bug in glpn |"]
    seen: set[int] = {1}
    for name in errors.__all__:
        error = getattr(errors, name)
        if inspect.isclass(error) and error.exit_code not in seen and error.__base__ is errors.GLPNError:
            seen.add(error.exit_code)
            rows.append(f"| {error.exit_code} | {_lowered(inspect.getdoc(error))} |")
    rows = rows[:4] + sorted(rows[4:], key=lambda row: int(row.split("|")[1]))
    rows.append(f"| {errors.INTERRUPTED_EXIT_CODE} | it was interrupted (Ctrl-C or SIGTERM) |")
    rows.append("\nWhere every image of several failed for the same reason, the code is that reason's, else 7.\n")
    return "\n".join(rows)


def _lowered(text: str | None) -> str:
    line = (text or "").splitlines()[0].rstrip(".")
    return line[:1].lower() + line[1:]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
