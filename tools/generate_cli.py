"""Write docs/cli.md from the command line itself: `make docs`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glpn_cli import errors
from glpn_cli.cli.app import build_app
from glpn_cli.cli.options import Argument, flag_of
from glpn_cli.output.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import typer

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"

HEAD = """# The command line

`make docs` writes this page from the program itself.

Results go to standard output, messages to standard error. `glpn COMMAND --help` shows the common options,
`--help-all` all of them, as this page does. `glpn --install-completion` adds completion of options and values to
bash, zsh, fish or PowerShell.
"""

JSON = """## JSON of `predict` and `batch`

With `--json`, both print one object per image and line. `predict` prints them in the order of the images, `batch` as
the images are finished. `predict --json` writes no files unless `--format` or `--output` is given; `--preview` too.

| field | content |
|---|---|
| `source` | the image: as it was named, or for `batch` its absolute path |
| `status` | `done`, `failed`, `up to date` (the outputs are from this image with these settings) or `skipped` |
| `outputs` | path of each output, by format |
| `sha256` | of each output, by format |
| `depth_m` | `min`, `median` and `max` of the depth, meters |
| `image_size`, `network_size` | `height` and `width` in pixels of the upright image, and of the network's input |
| `tile_size` | `height` and `width` of the tiles, or null |
| `weights` | `name`, `sha256`, and `metric`: true, false (approximate), `anchored` (by `--anchor`), null (unknown) |
| `depth_limit_m`, `meters_per_unit` | the largest depth of these weights; meters per unit of the network's output |
| `scale` | unit of the outputs; `depth_m` is always in meters |
| `device`, `precision` | the ones that were used |
| `tta` | `flip`, or null |
| `sharp_edges` | whether the edges of depth were aligned with those of the image |
| `saturated_fraction` | fraction of pixels at the depth limit, whose true depth may be larger |
| `camera` | `fx`, `fy`, `cx`, `cy`, `width`, `height` in pixels of the upright image; `focal_px` (`fx`), `source` |
| `anchor_factor`, `anchors` | with `--anchor`: the factor; `x`, `y`, `known_m`, `predicted_m`, `residual_m` of each |
| `notes` | how the image was converted; an empty list if it was not |
| `elapsed_ms` | milliseconds of `decode`, `preprocess`, `network`, `upsample`, `encode`, `write`; `fetch`, `tiles` |
| `error` | only of a failed image, instead of all fields after `status`: `message`, `hint` (or null) and `exit_code` |
| `reason` | only for an entry of a list that is not an image, instead of all fields after `status` |

Of an image that is up to date, only `source`, `status`, `outputs` and `sha256` are known. If one of its formats has no
room for metadata (npy, pfm), its depth was computed to compare, and all fields are there.

`predict` finds out whether an existing output is up to date from the metadata in it: the SHA-256 of the image, and a
digest of the weights and of all settings that affect this format. Files of npy and pfm are compared byte by byte. Any
other file in the way is an error, and `--overwrite` replaces it.

`batch --verify --json` prints one object per output and line:

| field | content |
|---|---|
| `output` | path relative to the output folder |
| `status` | `intact`, `missing`, `changed`, `unlisted` (not in the manifest) or `left over` (of a killed run) |
| `source`, `format`, `sha256` | from the manifest, or null |

## JSON of `info`

One object per file and line:

| field | content |
|---|---|
| `file` | as it was named |
| `status` | `ours` (it has metadata of glpn), `foreign` (it does not) or `failed` |
| `format`, `reads_back` | the format, and what reading it returns; or null |
| `size` | `height` and `width` in pixels, or null |
| `depth_m` | `min`, `median` and `max` of the known depth, meters, and `unknown_fraction`; or null |
| `metadata` | the metadata of the file ([formats.md](formats.md)), or null |
| `note` | why there is no depth or metadata, or null |
| `error` | only of a failed file, instead of all fields after `status`: `message`, `hint` (or null) and `exit_code` |

Of a video, the fields are `file`, `status`, `format`, `size`, `duration_s`, `codec`, `sound` (a list of codecs),
`metadata` and `note`.

## JSON of `video`

One object:

| field | content |
|---|---|
| `source`, `output` | the video, and the file or folder that was written |
| `status` | `done`, or `partial`: frames could not be decoded, or the video ends early (exit code 7) |
| `frames` | number of frames |
| `broken_frames`, `resumed_frames` | number of those not decoded, and of those that an earlier run had finished |
| `ends_early` | why the video ends before its stated end, or null |
| `cuts` | number of scene cuts; 0 with `--steady off` |
| `last_time_s` | the time of the last frame, seconds |
| `depth_m` | `min` and `max` of the depth of all frames, meters |
| `range_m` | nearest and farthest depth of the colors or grays, meters; null if there are none |
| `sound_packets` | number of packets of sound that were copied |
| `hdr` | `PQ` or `HLG` if the video had a high dynamic range, else null |
| `weights`, `elapsed_s` | name of the weights; seconds |

## JSON of `measure`

One object:

| field | content |
|---|---|
| `source`, `kind` | the file, and whether it is an `image` or `depth` |
| `image_size` | `height` and `width` in pixels of the upright image |
| `weights` | `name`, `sha256` and `metric`, as above; with `--anchor` the last is `anchored` |
| `camera` | as above |
| `measurements` | in the order `--at`, `--box`: see below |
| `anchor_factor`, `anchors` | as above |

A measurement has `box` (`x0`, `y0`, `x1`, `y1`; null for the whole image), `median_m`, `p10_m`, `p90_m` (null without
known depth), `pixels`, `known` (how many of them have depth) and `uncertainty_m` (with `--tta flip`).

## JSON of `weights list` and `weights verify`

One object per entry and line. `list`:

| field | content |
|---|---|
| `name` | for `--weights` |
| `status` | `bundled`, `downloaded`, `imported`, `absent` or `damaged` |
| `path` | the file, or null |
| `size_bytes` | of the file, or of the download |
| `source`, `revision` | repository and commit, or the imported file and null |
| `license` | as far as it is known |
| `domain` | the kind of images that they were trained for, or null |
| `metric` | true, false (approximate) or null (unknown) |
| `depth_limit_m`, `meters_per_unit` | the largest depth; meters per unit of the network's output |
| `working_size` | `height` and `width` in pixels of the images that they were trained for |

`verify`: `name`, `path`, `sha256` of the file, and `status`: `intact`, `readable` (the file has no checksum) or
`damaged`, then with `error`: `message` and `hint` (or null).
"""


def page() -> str:
    """Return the whole page."""
    app = build_app()
    parts = [HEAD, *_commands(app, "glpn")]
    for group in app.registered_groups:
        inner: Any = group.typer_instance
        parts += _commands(inner, f"glpn {inner.info.name}")
    parts += [_formats(), JSON, _exit_codes()]
    return "\n".join(parts)


def _commands(group: typer.Typer, program: str) -> Iterator[str]:
    for command in group.registered_commands:
        function: Any = command.callback
        yield f"## `{program} {function.command_name}`\n\n{inspect.cleandoc(function.__doc__)}\n"
        yield _options(function)


def _options(function: Any) -> str:
    rows = ["| option | description | default |", "|---|---|---|"]
    for item in function.parameters:
        if isinstance(item.row, Argument):
            names = f"`{item.row.metavar}`"
        else:
            flags = [flag for flag in (item.row.short, *(item.row.flag or flag_of(item.name)).split("/")) if flag]
            names = ", ".join(f"`{flag}`" for flag in flags) + (f" `{item.metavar}`" if item.metavar else "")
        rows.append(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in (names, item.row.help, item.default_text)) + " |"
        )
    return "\n".join(rows) + "\n"


def _formats() -> str:
    rows = [
        "## Formats\n",
        "[formats.md](formats.md) describes them.\n",
        "| `--format` | file | content |",
        "|---|---|---|",
    ]
    rows += [f"| `{row.name}` | `NAME{row.ending}` | {row.holds} |" for row in FORMATS.values()]
    return "\n".join(rows) + "\n"


def _exit_codes() -> str:
    meanings = {0: "success", 1: "a bug in glpn"}
    for name in errors.__all__:
        error = getattr(errors, name)
        if inspect.isclass(error) and error.__base__ is errors.GLPNError:
            line = (inspect.getdoc(error) or "").splitlines()[0].rstrip(".")
            meanings.setdefault(error.exit_code, line[:1].lower() + line[1:])
    meanings[errors.INTERRUPTED_EXIT_CODE] = "interrupted (Ctrl-C or SIGTERM)"
    meanings[errors.CLOSED_PIPE_EXIT_CODE] = "the reader of standard output closed it, as `head -1` does; no message"
    rows = ["## Exit codes\n", "| code | meaning |", "|---|---|"]
    rows += [f"| {code} | {meanings[code]} |" for code in sorted(meanings)]
    return "\n".join(
        [*rows, "\nIf all of several images fail for the same reason, the code is that of the reason, else 7.\n"]
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
