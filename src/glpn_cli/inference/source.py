"""Where an image comes from, and how it gets from there to the predictor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glpn_cli.image.fetching import Address, fetch_image

if TYPE_CHECKING:
    from pathlib import Path

    from glpn_cli.image.discovery import Source
    from glpn_cli.image.fetching import Stopper
    from glpn_cli.inference.autotune import Stopwatch


def open_source(
    source: Source | str, *, stopwatch: Stopwatch, stopper: Stopper | None = None
) -> tuple[Path | str | bytes, str]:
    """Make a source into what `Predictor.prepare` takes, and the name to give it; an address is fetched.

    Args:
        source: a path or an address.
        stopwatch: collects the time of fetching.
        stopper: may end fetching early.

    Raises:
        ImageError: it cannot be fetched.
    """
    if not isinstance(source, Address):
        return source, str(source)
    with stopwatch.stage("fetch"):
        return fetch_image(source, stopper=stopper), str(source)
