"""From settings to a ready predictor: weights are located once, and their file is hashed while torch is imported."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from glpn_cli.convert import ALL_DEVICES, parse_devices, refuse_unknown_keywords
from glpn_cli.errors import ApproximateDepthWarning, WeightsError
from glpn_cli.files import FileDigest
from glpn_cli.settings import PredictionSettings
from glpn_cli.values import EngineName
from glpn_cli.weights.location import locate_weights, obtain_weights
from glpn_cli.weights.store import NO_PROGRESS, ProgressCallback, weights_files

if TYPE_CHECKING:
    from os import PathLike

    from glpn_cli.inference.network import LoadedWeights
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.inference.remote import RemotePredictor
    from glpn_cli.weights.location import LocatedWeights

_warned_names: set[str] = set()
"""Approximate weights that this process has been warned about."""


def load(
    weights: str | PathLike[str] = "auto", device: str = "auto", precision: str = "float32", **settings: Any
) -> Predictor:
    """Load weights and return a ready predictor.

    Weights whose meters are approximate, such as "tiny", give an `ApproximateDepthWarning` once in a process.

    Args:
        weights: a name ("tiny", "nyu", "kitti" or an imported one), a weights file, a folder as transformers saves
            it, OWNER/REPO of the Hugging Face Hub, or "auto": the environment variable GLPN_WEIGHTS, else "nyu" if
            it is installed, else "tiny". Weights that are named and not installed are downloaded once.
        device: "auto", "cpu", "cuda", "cuda:N", "mps", "xpu", or "openvino:GPU" for a device of OpenVINO.
        precision: number format of the network: "float32", "bfloat16", "float16", or "tf32" on NVIDIA GPUs.
        **settings: any other field of `glpn_cli.settings.PredictionSettings`, also as text: `input_size` ("native",
            "model" or "HxW"), `tiles` ("off", "auto" or "HxW"), `sharp_edges`, `tta` ("none" or "flip"), `threads`,
            `max_pixels`, `fov_deg`, `focal_px`, `focal_mm_35`, `camera` (a file), `stretch`, `offline`, `keep_rgb`,
            `engine` ("auto", "torch" or "openvino").

    Raises:
        UsageError: a setting is invalid.
        WeightsError: the weights are missing or damaged.
        DeviceError: the device or the precision is not available.
        TypeError: there is no such setting.
    """
    refuse_unknown_keywords("load", settings, [item.name for item in fields(PredictionSettings)])
    predictor = load_predictor(PredictionSettings(weights=weights, device=device, precision=precision, **settings))  # type: ignore[arg-type]  # text is converted
    warn_if_approximate(predictor)
    return predictor


def warn_if_approximate(predictor: Predictor | RemotePredictor, *, stacklevel: int = 2) -> None:
    """Warn a Python user, once in a process, that the meters of these weights are approximate.

    The command line does not call this: it prints a note, and marks each result.

    Args:
        predictor: has the weights.
        stacklevel: of the function that calls this; 2 blames its caller.
    """
    card = predictor.card
    if card.metric is not False or card.name in _warned_names:
        return
    _warned_names.add(card.name)
    warnings.warn(
        f"depth of the weights {card.name!r} is only approximately in meters; for true meters, use `load('nyu')` or "
        "`load('kitti')`, or scale depth to known distances with `DepthMap.anchored`",
        ApproximateDepthWarning,
        stacklevel=stacklevel + 1,
    )


def _signature_of_load() -> inspect.Signature:
    """Return the signature with every setting, so that `help(load)` and editors show them."""
    shown = [
        inspect.Parameter(
            item.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD if index < 3 else inspect.Parameter.KEYWORD_ONLY,
            default=item.default,
            annotation=item.type,
        )
        for index, item in enumerate(fields(PredictionSettings))
    ]
    return inspect.Signature(shown, return_annotation="Predictor")


load.__signature__ = _signature_of_load()  # type: ignore[attr-defined]


def load_predictor(settings: PredictionSettings, *, progress: ProgressCallback = NO_PROGRESS) -> Predictor:
    """Return a predictor for settings; see `load`.

    Args:
        settings: what to load, and how images become depth.
        progress: is notified of a download.

    Raises:
        WeightsError: the weights are missing or damaged.
        InputError: the camera file is missing or invalid; raised before a download.
        DeviceError: the device or the precision is not available; raised before a download.
    """
    _check_camera(settings)
    located, digest = _locate_and_hash(settings.weights)
    from glpn_cli.device import choose_runtime  # torch: most of a second
    from glpn_cli.inference.engines import settle_engine
    from glpn_cli.inference.network import load_network
    from glpn_cli.inference.predictor import Predictor

    wants_openvino = settings.engine.name is EngineName.OPENVINO
    device = "cpu" if settings.device == "auto" and wants_openvino else settings.device
    runtime = choose_runtime(device, settings.precision, settings.threads)
    settle_engine(settings.engine, runtime)
    if located is None:
        located = obtain_weights(settings.weights, offline=settings.offline, progress=progress)
    loaded = load_network(located, digest)
    for note in loaded.notes:
        progress.note(note)
    return Predictor(loaded, runtime, settings, consume=True, detail=progress.detail)


def load_for_run(
    settings: PredictionSettings, *, cluster: str | None = None, progress: ProgressCallback = NO_PROGRESS
) -> Predictor | RemotePredictor:
    """Return a predictor for a run over many images, which may use several devices: then it runs in other processes.

    Args:
        settings: what to load, and how images become depth; the device may be several, see `device.list_devices`.
        cluster: see `RunSettings`; the device is then that of each worker.
        progress: is notified of a download.

    Raises:
        UsageError: a device is invalid.
        WeightsError, InputError, DeviceError: as from `load_predictor`; DeviceError also of a cluster.
    """
    if cluster is not None:
        return _load_in_cluster(settings, cluster, progress)
    devices = parse_devices(settings.device)
    if devices == [ALL_DEVICES]:
        from glpn_cli.device import list_devices  # torch

        devices = list_devices(settings.device)
    if len(devices) == 1:
        return load_predictor(replace(settings, device=devices[0]), progress=progress)
    from glpn_cli.inference.crews.processes import ProcessCrew
    from glpn_cli.inference.remote import RemotePredictor

    _check_camera(settings)
    if set(devices) != {"cpu"}:  # a run might end on the other devices before a worker reports that its own is missing
        from glpn_cli.device import choose_runtime  # torch

        for device in devices:
            choose_runtime(device, settings.precision)
    try:
        locate_weights(settings.weights)
    except WeightsError:
        obtain_weights(settings.weights, offline=settings.offline, progress=progress)
    return _with_notes(RemotePredictor(ProcessCrew(devices, settings)), progress)


def _load_in_cluster(settings: PredictionSettings, cluster: str, progress: ProgressCallback) -> RemotePredictor:
    """Return a predictor whose network runs in a Ray cluster, with the weights that this machine has."""
    from glpn_cli.inference.crews.ray import RayCrew
    from glpn_cli.inference.remote import RemotePredictor

    _check_camera(settings)
    located = obtain_weights(settings.weights, offline=settings.offline, progress=progress)
    digest = FileDigest(*weights_files(located.path))
    return _with_notes(RemotePredictor(RayCrew(cluster, settings), weights_sha256=digest.hexdigest()), progress)


def _check_camera(settings: PredictionSettings) -> None:
    """Read the camera file, so that a damaged one is noticed early."""
    if settings.camera is not None:
        from glpn_cli.geometry.calibration import read_calibration

        read_calibration(settings.camera)


def _with_notes(predictor: RemotePredictor, progress: ProgressCallback) -> RemotePredictor:
    for note in predictor.notes:
        progress.note(note)
    return predictor


def load_weights(weights: str, *, offline: bool = False, progress: ProgressCallback = NO_PROGRESS) -> LoadedWeights:
    """Return a network and the facts of its weights, without a device.

    Args:
        weights: as for `load`.
        offline: do not download.
        progress: is notified of a download.

    Raises:
        WeightsError: the weights are missing or damaged.
    """
    from glpn_cli.inference.network import load_network

    loaded = load_network(obtain_weights(weights, offline=offline, progress=progress))
    for note in loaded.notes:
        progress.note(note)
    return loaded


def _locate_and_hash(weights: str) -> tuple[LocatedWeights | None, FileDigest | None]:
    """Locate installed weights and start to hash their file.

    If that fails, both are None: the weights may be downloaded, and if not, the error is raised then.
    """
    try:
        located = locate_weights(weights)
        return located, FileDigest(*weights_files(located.path))
    except WeightsError:
        return None, None
