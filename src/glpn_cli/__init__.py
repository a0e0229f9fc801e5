"""Depth maps in meters from ordinary photos: GLPN (arXiv 2201.07436) in plain PyTorch.

In short:

    import glpn_cli

    predictor = glpn_cli.load()
    depth = predictor.predict("photo.jpg")
    depth.meters                    # (H, W) float32
    depth.image(legend=True)        # in colors, a PIL image
    depth.save("photo.depth.png")
    glpn_cli.read("photo.depth.png")

    glpn_cli.run_batch("photos", "depths")
    glpn_cli.run_video("clip.mp4", "clip.depth.mp4")

The classes of the documented model have their documented names: `GLPNConfig`, `GLPNImageProcessor`, `GLPNModel`,
`GLPNForDepthEstimation`. Names are imported when they are first used, because importing torch takes seconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from glpn_cli._version import __version__

if TYPE_CHECKING:
    from glpn_cli.api import run_batch
    from glpn_cli.depth import DepthMap
    from glpn_cli.errors import ApproximateDepthWarning, GLPNError
    from glpn_cli.image.processor import GLPNFeatureExtractor, GLPNImageProcessor
    from glpn_cli.inference.load import load
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.model.config import GLPNConfig
    from glpn_cli.model.glpn import GLPNForDepthEstimation, GLPNModel
    from glpn_cli.output.reading import read_depth as read
    from glpn_cli.video.depth_file import read_video
    from glpn_cli.video.prediction import predict_video
    from glpn_cli.video.run import run_video

__all__ = [
    "ApproximateDepthWarning",
    "DepthMap",
    "GLPNConfig",
    "GLPNError",
    "GLPNFeatureExtractor",
    "GLPNForDepthEstimation",
    "GLPNImageProcessor",
    "GLPNModel",
    "Predictor",
    "__version__",
    "load",
    "predict_video",
    "read",
    "read_video",
    "run_batch",
    "run_video",
]

_HOMES = {
    "ApproximateDepthWarning": ("glpn_cli.errors", "ApproximateDepthWarning"),
    "DepthMap": ("glpn_cli.depth", "DepthMap"),
    "GLPNConfig": ("glpn_cli.model.config", "GLPNConfig"),
    "GLPNError": ("glpn_cli.errors", "GLPNError"),
    "GLPNFeatureExtractor": ("glpn_cli.image.processor", "GLPNFeatureExtractor"),
    "GLPNForDepthEstimation": ("glpn_cli.model.glpn", "GLPNForDepthEstimation"),
    "GLPNImageProcessor": ("glpn_cli.image.processor", "GLPNImageProcessor"),
    "GLPNModel": ("glpn_cli.model.glpn", "GLPNModel"),
    "Predictor": ("glpn_cli.inference.predictor", "Predictor"),
    "load": ("glpn_cli.inference.load", "load"),
    "predict_video": ("glpn_cli.video.prediction", "predict_video"),
    "read": ("glpn_cli.output.reading", "read_depth"),
    "read_video": ("glpn_cli.video.depth_file", "read_video"),
    "run_batch": ("glpn_cli.api", "run_batch"),
    "run_video": ("glpn_cli.video.run", "run_video"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return all public names, also those that are not imported yet."""
    return sorted({*globals(), *__all__})
