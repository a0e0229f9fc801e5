"""The network for a command, with what the user wants to know of its arrival."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glpn_cli.cli.download_progress import DownloadProgress

if TYPE_CHECKING:
    from glpn_cli.cli.console import Console
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.settings import PredictorSettings


def load_predictor(console: Console, settings: PredictorSettings) -> Predictor:
    """Build a predictor, show a download that it needs, and tell if nobody chose its weights."""
    from glpn_cli.inference.predictor import build_predictor

    predictor = build_predictor(settings, watcher=DownloadProgress(console))
    if not predictor.weights_chosen:
        used = f"no weights named, so {predictor.card.name!r} is used"
        if predictor.card.metric is False:
            console.note(f"{used}: depth is approximate")
        else:
            console.detail(used)  # the last line of every image names them anyway
    return predictor
