"""What `predict`, `batch` and `measure` share: loading, notes on depth, and anchors."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from glpn_cli.cli.console import Console, format_size
from glpn_cli.cli.process import check_stdin
from glpn_cli.cli.progress import DownloadProgress
from glpn_cli.errors import UsageError
from glpn_cli.settings import ASSUMED_FOV_DEG, MAX_MESH_POINTS, MUCH_SATURATED_FRACTION, OutputSettings
from glpn_cli.weights.catalog import find_entry_beyond

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from glpn_cli.geometry.measure import Anchor
    from glpn_cli.image.discovery import ImageList
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.inference.remote import RemotePredictor
    from glpn_cli.inference.result import Noted, Result
    from glpn_cli.output.formats import DepthFormat
    from glpn_cli.settings import PredictionSettings


def load_predictor(console: Console, settings: PredictionSettings) -> Predictor:
    """Return a predictor; show a download, and print notes on approximate weights and on lens distortion."""
    from glpn_cli.inference.load import load_predictor as load

    predictor = load(settings, progress=DownloadProgress(console))
    _print_weights(console, predictor)
    return predictor


def load_for_run(
    console: Console, settings: PredictionSettings, cluster: str | None = None
) -> Predictor | RemotePredictor:
    """Return a predictor for a run over many images, which may use several devices; see `load_predictor`."""
    from glpn_cli.inference.load import load_for_run as load

    predictor = load(settings, cluster=cluster, progress=DownloadProgress(console))
    _print_weights(console, predictor)
    return predictor


def _print_weights(console: Console, predictor: Predictor | RemotePredictor) -> None:
    if not predictor.weights_chosen:
        name = predictor.card.name
        if predictor.card.metric is False:
            console.note(
                f"using the small bundled model {name!r}: distances are approximate; "
                "`glpn download-weights nyu` installs better weights"
            )
        else:
            console.detail(f"using the weights {name!r}")
    if predictor.calibration is not None and predictor.calibration.is_distorted:
        console.note(
            f"the lens distortion in {predictor.calibration.name} is not corrected: undistort the images before, "
            "or 3D is bent towards the edges"
        )


def read_image_list(path: str | None, arguments: Sequence[str], *, arriving: bool = False) -> ImageList | None:
    """Return the list of images that `from_list` names.

    Args:
        path: of the list, "-" for standard input, or None.
        arguments: the images that are named one by one.
        arriving: read entries from standard input one by one, as they are needed.

    Raises:
        UsageError: it is standard input, and that is a terminal or an image too.
        InputError: it cannot be read, or is empty.
    """
    from glpn_cli.image.discovery import read_arriving_list, read_list

    if path is None:
        return None
    if path != "-":
        return read_list(path)
    if "-" in arguments:
        raise UsageError("standard input cannot be both an image and the list")
    check_stdin("a list", "find . -print0 | glpn ... --from-list -")
    return (read_arriving_list if arriving else read_list)(sys.stdin.buffer)


def parse_anchors(texts: Sequence[str], *, images: int = 1, more: bool = False) -> list[Anchor]:
    """Return anchors, which belong to one image.

    Args:
        texts: X,Y=METERS each.
        images: number of images that are known.
        more: whether an unknown number of images follows.

    Raises:
        UsageError: a text is not an anchor, or there are several images.
    """
    if not texts:
        return []
    from glpn_cli.geometry.measure import Anchor

    if more:
        raise UsageError("names a pixel of one image, but there is a list of images", setting="anchor")
    if images != 1:
        raise UsageError(
            f"names a pixel of one image, but there are {images}", hint="predict them one by one", setting="anchor"
        )
    return [Anchor.parse(text) for text in texts]


def record_of(console: Console, result: Result) -> dict[str, Any]:
    """Return the JSON record of a result, with its settings as flags."""
    record = result.to_dict()
    return record if result.error is None else record | {"error": console.error_record(result.error)}


def print_anchors(console: Console, factor: float | None, anchors: Iterable[dict[str, float]]) -> None:
    """Print the scale factor of anchors, and the error that is left at each."""
    anchors = list(anchors)
    if not anchors:
        return
    console.info(f"depth scaled by {factor:.4g} to match known distances:")
    for anchor in anchors:
        known_m, residual_m = anchor["known_m"], anchor["residual_m"]
        console.info(
            f"  {anchor['x']:g},{anchor['y']:g}: known {known_m:g} m, predicted {anchor['predicted_m']:.2f} m, "
            f"now {known_m + residual_m:.2f} m ({residual_m / known_m:+.1%})"
        )


def print_details(console: Console, result: Result) -> None:
    """Print sizes, times and the camera of an image, if verbose."""
    facts = result.facts
    stages = ", ".join(f"{name} {1000 * seconds:.1f}" for name, seconds in result.elapsed_s.items())
    tiles = "" if facts["tile_size"] is None else f" and in tiles of {format_size((*facts['tile_size'].values(),))}"
    network = format_size((*facts["network_size"].values(),))
    image = format_size((*facts["image_size"].values(),))
    console.detail(f"  {image}, network input {network}{tiles}; ms: {stages}")
    camera = facts["camera"]
    if camera is not None and any(row.needs_camera for row, _ in result.task.outputs):
        focal = f"{camera['fx']:.1f}" if camera["fx"] == camera["fy"] else f"{camera['fx']:.1f} x {camera['fy']:.1f}"
        console.detail(f"  focal length {focal} px, center {camera['cx']:.1f}, {camera['cy']:.1f} ({camera['source']})")


class DepthNotes:
    """Collects notes on all images of a run, for its end.

    They are about assumed cameras, depth at the limit of the weights, depth beyond 16 bits, and reduced meshes.
    """

    def __init__(self, rows: Iterable[DepthFormat], output: OutputSettings | None = None) -> None:
        """Take the formats that are written, as only some have such limits, and their settings."""
        rows = list(rows)
        self._needs_camera = any(row.needs_camera for row in rows)
        self._output = output or OutputSettings()
        self._reduces_meshes = any(row.name == "glb" for row in rows) and self._output.max_points is None
        self._images = 0
        # The first one of each kind, and their number: a run may have millions of images.
        self._assumed: tuple[str, str] | None = None
        self._saturated: tuple[str, str, float, float] | None = None
        self._beyond_16_bits: tuple[str, float] | None = None
        self._counts: Counter[str] = Counter()
        self._reduced = 0

    def add(self, noted: Noted | None) -> None:
        """Take what is known of an image; None for one without depth."""
        if noted is None:
            return
        self._images += 1
        self._reduced += self._reduces_meshes and noted.points > MAX_MESH_POINTS
        if self._needs_camera and noted.assumed_camera:
            self._assumed = self._assumed or (noted.name, noted.assumed_camera)
            self._counts["assumed"] += 1
        if noted.depth_limit_m is not None and noted.saturated_fraction > MUCH_SATURATED_FRACTION:
            weights = noted.weights or "these weights"
            self._saturated = self._saturated or (
                noted.name,
                weights,
                noted.depth_limit_m,
                noted.saturated_fraction,
            )
            self._counts["saturated"] += 1
        if noted.beyond_16_bits:
            self._beyond_16_bits = self._beyond_16_bits or (noted.name, noted.beyond_16_bits)
            self._counts["beyond 16 bits"] += 1

    def print(self, console: Console) -> None:
        """Print each kind of note in one line."""
        self._print_formats(console)
        if self._assumed:
            name, assumption = self._assumed
            if self._counts["assumed"] > 1:
                name = f"{self._counts['assumed']} of {self._images} images"
                assumption = f"{ASSUMED_FOV_DEG:g}° along the long side"
            console.note(f"no lens data in {name}; assuming a field of view of {assumption} (set `fov_deg`)")
        if self._saturated:
            name, weights, limit_m, fraction = self._saturated
            who = f"{fraction:.0%} of {name} is"
            if self._counts["saturated"] > 1:
                who = f"much of {self._counts['saturated']} of {self._images} images is"
            console.note(f"{who} at the limit of {weights}, {limit_m:g} m, and may be farther{_advice(limit_m)}")

    def _print_formats(self, console: Console) -> None:
        if self._beyond_16_bits:
            from glpn_cli.output.png import MAX_UINT16

            name, fraction = self._beyond_16_bits
            limit_m = MAX_UINT16 / self._output.png16_scale
            who = f"{'less than 1%' if fraction < 0.01 else f'{fraction:.0%}'} of {name} is"
            if self._counts["beyond 16 bits"] > 1:
                who = f"parts of {self._counts['beyond 16 bits']} of {self._images} images are"
            console.note(
                f"{who} beyond {limit_m:.4g} m and stored as {MAX_UINT16} in png16; "
                f"`png16_scale={_farther_scale(self._output)}` reaches farther in larger steps"
            )
        if self._reduced:
            console.note(
                f"meshes have at most {MAX_MESH_POINTS:,} points, for use on the web (set `max_points` for more)"
            )


def _farther_scale(output: OutputSettings) -> str:
    """Return a scale of png16 with which depth beyond 16 bits fits: KITTI's, if it is coarser."""
    return "256" if output.png16_scale > 256 else f"{output.png16_scale / 4:g}"


def _advice(limit_m: float) -> str:
    better = find_entry_beyond(limit_m)
    if better is None:
        return ""
    return f"; `weights={better.card.name}` reaches {better.card.depth_limit_m:g} m ({better.domain})"
