"""Generate docs/cli.md from the declarations of the command line: `make docs`."""

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

PAGE = Path(__file__).resolve().parents[1] / "docs" / "cli.md"

HEAD = """# The command line

`make docs` generates this page from the program.

Results are written to standard output, messages to standard error. `glpn COMMAND --help` shows the common options on
one screen of the terminal, `--help-all` shows all options of this page. `glpn --install-completion` installs shell
completion for bash, zsh, fish or PowerShell.
"""

JSON = """## Output of `predict --json`

One JSON object per line and image, in the order of the arguments:

| field | meaning |
|---|---|
| `source` | the image as given |
| `status` | `done` or `failed` |
| `outputs` | path of each output, by format |
| `depth_m` | `min`, `median` and `max` depth in meters |
| `image_size`, `network_size` | `height` and `width` in pixels of the upright image, and of the input of the network |
| `tile_size` | `height` and `width` in pixels of the overlapping tiles, or null |
| `weights` | `name`, `sha256`, and `metric`: true, false (approximate) or null (unknown) |
| `depth_limit_m`, `meters_per_unit` | the largest depth of these weights; meters per unit of the published scale |
| `scale` | unit of the values in the outputs; `depth_m` is always in meters |
| `device`, `precision` | device and precision that were used |
| `tta` | `flip`, or null |
| `saturated_share` | fraction of pixels so close to the depth limit that their true depth may be larger |
| `camera` | `focal_px` in pixels of the upright image, and its `source` |
| `anchor_factor`, `anchors` | with `--anchor`: the scale factor; `x`, `y`, `known_m`, `predicted_m`, `residual_m` of each anchor |
| `elapsed_ms` | milliseconds of `decode`, `preprocess`, `network`, `upsample`, `encode`, `write`; `fetch`, `tiles` |
| `notes` | conversions that the image needed |
| `error` | only for failed images, instead of all fields after `status`: `message`, `hint` (or null), `exit_code` |
"""  # noqa: E501

BATCH_JSON = """## Output of `batch --json`

One JSON object per line and image, as images finish: the record in the manifest ([batch.md](batch.md)).

With `--verify`, one object per line and output:

| field | meaning |
|---|---|
| `output` | path relative to DIR |
| `status` | `intact`, `missing`, `changed`, `unlisted` (not in the manifest) or `left over` (file of a killed run) |
| `source`, `format`, `sha256` | from the manifest; null if it is not listed there |
"""

INFO_JSON = """## Output of `info --json`

One JSON object per line and file:

| field | meaning |
|---|---|
| `file` | the file as given |
| `status` | `ours` (has metadata of glpn), `foreign` (has none) or `failed` |
| `format`, `reads_back` | the format, and which values can be read from it; or null |
| `size` | `height` and `width` in pixels, or null |
| `depth_m` | `min`, `median` and `max` of the known depth in meters, and `unknown_share` (fraction); or null |
| `says` | the metadata of the file, see [formats.md](formats.md); or null |
| `remark` | why depth or metadata is missing; or null |
| `error` | only for failed files, instead of all fields after `status`: `message`, `hint` (or null), `exit_code` |
"""

MEASURE_JSON = """## Output of `measure --json`

One JSON object:

| field | meaning |
|---|---|
| `source`, `kind` | the file as given; `image` or `depth` |
| `image_size` | `height` and `width` in pixels of the upright image |
| `weights` | `name`, `sha256` and `metric`, as above; `metric` is `anchored` with `--anchor` |
| `measurements` | points, then boxes: `box` (`x0`, `y0`, `x1`, `y1`; null for the whole image), `median_m`, `p10_m`, `p90_m` (null without known depth), `pixels`, `known` (number of pixels with known depth), `uncertainty_m` (with `--tta flip`) |
| `anchor_factor`, `anchors` | as above |
"""  # noqa: E501

WEIGHTS_JSON = """## Output of `weights list --json` and `weights verify --json`

One JSON object per line and weights. `list`:

| field | meaning |
|---|---|
| `name` | value for `--weights` |
| `status` | `bundled`, `downloaded`, `imported`, `absent` or `damaged` |
| `path` | the file, or null |
| `size_bytes` | size of the file, or the approximate size of the download |
| `source`, `revision` | repository and commit; for imported weights the original file and null |
| `license` | the license, as far as it is known |
| `domain` | kind of images that they were trained for, or null |
| `metric` | true, false (approximate) or null (unknown) |
| `depth_limit_m`, `meters_per_unit` | the largest depth; meters per unit of the published scale |
| `working_size` | `height` and `width` in pixels of the images that they work best with |

`verify`: `name`, `path`, `sha256` of the file, and `status`: `intact`, `readable` (it contains no hash to compare with)
or `damaged`. Damaged weights also have `error`: `message` and `hint` (or null).
"""


def page() -> str:
    """Return the whole page."""
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
    rows = ["| option | meaning | default |", "|---|---|---|"]
    for name, parameter in inspect.signature(function).parameters.items():
        kind, info = get_args(hints[name])
        # Inside Annotated, Typer stores the first name as the default.
        declared = [info.default, *(getattr(info, "param_decls", None) or ())]
        # "--this/--no-this" declares two names.
        names = ", ".join(f"`{option}`" for both in declared if isinstance(both, str) for option in both.split("/"))
        values = info.metavar or "|".join(_choices(kind))
        cells = [f"{names} `{values}`".strip() if values else names, info.help, _default(parameter.default)]
        rows.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _choices(kind: Any) -> list[str]:
    """Return the values of an enumeration, also inside `list[...] | None`."""
    if inspect.isclass(kind) and issubclass(kind, enum.Enum):
        return [str(member.value) for member in kind]
    return [choice for inner in get_args(kind) for choice in _choices(inner)] or (["N"] if kind is int else [])


def _default(value: Any) -> str:
    return "" if value in (None, False, "", inspect.Parameter.empty) else f"`{value}`"


def _formats() -> str:
    rows = [
        "## Formats\n",
        "See [formats.md](formats.md) for details.\n",
        "| `--format` | file | content |",
        "|---|---|---|",
    ]
    rows += [f"| `{row.name}` | `NAME{row.ending}` | {row.holds} |" for row in FORMATS.values()]
    return "\n".join(rows) + "\n"


def _exit_codes() -> str:
    rows = ["## Exit codes\n", "| code | meaning |", "|---|---|", "| 0 | success |", "| 1 | a bug in glpn |"]
    seen: set[int] = {1}
    for name in errors.__all__:
        error = getattr(errors, name)
        if inspect.isclass(error) and error.exit_code not in seen and error.__base__ is errors.GLPNError:
            seen.add(error.exit_code)
            rows.append(f"| {error.exit_code} | {_lowered(inspect.getdoc(error))} |")
    rows = rows[:4] + sorted(rows[4:], key=lambda row: int(row.split("|")[1]))
    rows.append(f"| {errors.INTERRUPTED_EXIT_CODE} | interrupted (Ctrl-C or SIGTERM) |")
    rows.append(
        "\nIf all of several images fail for the same reason, the exit code is that of the reason, otherwise 7.\n"
    )
    return "\n".join(rows)


def _lowered(text: str | None) -> str:
    line = (text or "").splitlines()[0].rstrip(".")
    return line[:1].lower() + line[1:]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
