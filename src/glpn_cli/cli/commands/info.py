"""`glpn info`: the metadata of depth files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glpn_cli.cli.command import command
from glpn_cli.cli.console import Console, conclude, printable
from glpn_cli.cli.options import LOGGING, Argument, Option
from glpn_cli.errors import GLPNError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from glpn_cli.output.reading import Description
    from glpn_cli.video.depth_file import VideoDescription

_METRIC = {True: "true meters", False: "approximate meters", "anchored": "meters, scaled to known distances"}
_LABELS = {"meters_per_unit": "network unit in m"}
_LABEL_WIDTH = 18


@command(
    arguments={"files": Argument("Depth files, or any other files.", "FILE...")},
    options={"json": Option("Print a JSON object for each file on standard output.", LOGGING)},
    examples=("glpn info photo.depth16.png", "glpn info depths/*.npz --json"),
)
def info(console: Console, files: tuple[str, ...], *, json: bool) -> None:
    """Show the metadata of depth files.

    Prints the source image, weights, unit and range of the values, and the depth that is read back. Of a video, the
    depth is that of all frames, as it was written.
    """
    from glpn_cli.video.depth_file import is_video

    failures: list[int] = []
    for file in files:
        try:
            record, lines = _described_video(file) if is_video(file) else _described_file(file)
        except GLPNError as error:
            failures.append(error.exit_code)
            console.error(error)
            if json:
                console.record({"file": file, "status": "failed", "error": console.error_record(error)})
            continue
        if json:
            console.record(record)
        else:
            console.data(printable(file))
            for label, value in lines:
                console.data(f"  {printable(label):<{_LABEL_WIDTH}}{printable(value)}")
    conclude(len(files), failures)


def _described_file(file: str) -> tuple[dict[str, Any], Iterator[tuple[str, str]]]:
    """Return the JSON record of a file, and the lines for people."""
    from glpn_cli.output.reading import describe_file

    described = describe_file(file)
    return _record(file, described), _lines(described)


def _described_video(file: str) -> tuple[dict[str, Any], Iterator[tuple[str, str]]]:
    """Return the JSON record of a video, and the lines for people."""
    from glpn_cli.video.depth_file import describe_video

    video = describe_video(file)
    metadata = video.metadata or {}
    record = {
        "file": file,
        "status": "foreign" if video.metadata is None else "ours",
        "format": metadata.get("format"),
        "size": video.size and {"height": video.size[0], "width": video.size[1]},
        "duration_s": video.duration_s,
        "codec": video.codec or None,
        "sound": list(video.sound),
        "metadata": video.metadata,
        "note": video.note or None,
    }
    return record, _video_lines(video)


def _video_lines(video: VideoDescription) -> Iterator[tuple[str, str]]:
    facts = dict(video.metadata or {})
    form = facts.pop("format", "video")
    yield "format", ", ".join(filter(None, [form, video.codec]))
    if video.size is not None:
        yield "size", _pixels(video.size)
    if video.duration_s is not None:
        yield "duration", f"{video.duration_s:.2f} s"
    yield "sound", ", ".join(video.sound) or "none"
    depth_m = facts.pop("depth_m", None)
    if isinstance(depth_m, list) and len(depth_m) == 2:
        yield "depth", f"{_text(depth_m[0])} to {_text(depth_m[1])} m"
    if video.note:
        yield "note", video.note
    if video.metadata is not None:
        yield from _metadata_lines(facts)


def _record(file: str, described: Description) -> dict[str, Any]:
    """Return the JSON record of a file; docs/cli.md lists the fields."""
    return {
        "file": file,
        "status": "ours" if described.metadata is not None else "foreign",
        "format": described.row and described.row.name,
        "reads_back": described.row and str(described.row.reads_back),
        "size": described.size and {"height": described.size[0], "width": described.size[1]},
        "depth_m": _depth(described),
        "metadata": described.metadata,
        "note": described.note or None,
    }


def _depth(described: Description) -> dict[str, float | None] | None:
    """Return nearest, median and farthest depth, and the fraction of unknown pixels."""
    import numpy as np

    from glpn_cli.depth import is_known

    if described.depth is None:
        return None
    meters = described.depth.meters
    known = meters[is_known(meters)]
    ends = (known.min(), np.median(known), known.max()) if known.size else (None, None, None)
    low, median, high = (None if value is None else float(value) for value in ends)
    return {"min": low, "median": median, "max": high, "unknown_fraction": 1 - known.size / meters.size}


def _lines(described: Description) -> Iterator[tuple[str, str]]:
    if described.row is not None:
        yield "format", f"{described.row.name}: {described.row.holds}"
    if described.size is not None:
        yield "size", _pixels(described.size)
    depth = _depth(described)
    if depth is not None and depth["median"] is not None:
        fraction = depth["unknown_fraction"] or 0
        unknown = f"; {100 * fraction:.3g} % unknown" if fraction else ""
        yield "depth", f"{depth['min']:.4g} to {depth['max']:.4g} m, median {depth['median']:.4g}{unknown}"
    if described.note:
        yield "note", described.note
    if described.metadata is not None:
        yield from _metadata_lines({name: value for name, value in described.metadata.items() if name != "format"})


def _metadata_lines(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the facts of a file of ours, apart from its format."""
    provenance = dict(facts["provenance"])
    metric = provenance.pop("metric", None)
    yield "accuracy", _METRIC.get(metric if isinstance(metric, bool | str) else "", "unknown scale")
    for name, value in facts.items():
        if name != "provenance":
            yield name.replace("_", " "), _text(value)
    for name, value in provenance.items():
        is_size = name.endswith("_size") and isinstance(value, list) and len(value) == 2
        text = _pixels(tuple(value)) if is_size else _text(value)
        yield _LABELS.get(name, name.replace("_", " ")), text


def _pixels(size: tuple[int, ...]) -> str:
    """Return (height, width) as people and other programs write it."""
    height, width = size
    return f"{width} \N{MULTIPLICATION SIGN} {height} (width \N{MULTIPLICATION SIGN} height)"


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
