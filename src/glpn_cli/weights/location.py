"""From what a user calls weights to where they lie on this machine."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from glpn_cli.errors import WeightsError
from glpn_cli.settings import WEIGHTS_VARIABLE
from glpn_cli.weights.catalog import CATALOG, FALLBACK_NAME, CatalogEntry

__all__ = ["LocatedWeights", "locate_weights"]


@dataclass(frozen=True, slots=True)
class LocatedWeights:
    """Weights on this machine.

    Attributes:
        name: what to call them.
        path: a weights file or a folder with one.
        entry: their row in the catalogue, or None for a path.
        chosen: False when nobody asked for them and they are only what is always there.
    """

    name: str
    path: Path
    entry: CatalogEntry | None
    chosen: bool = True


def locate_weights(weights: str) -> LocatedWeights:
    """Find weights by a name of the catalogue or by path; "auto" means GLPN_WEIGHTS, else those in the package.

    Raises:
        WeightsError: there are none, with the nearest name as a hint.
    """
    if weights == "auto":
        wanted = os.environ.get(WEIGHTS_VARIABLE, "")
        if wanted and wanted != "auto":
            return locate_weights(wanted)
        return LocatedWeights(
            FALLBACK_NAME, _bundled_path(CATALOG[FALLBACK_NAME]), CATALOG[FALLBACK_NAME], chosen=False
        )
    entry = CATALOG.get(weights)
    if entry is not None:
        return LocatedWeights(weights, _path_of(entry), entry)
    path = Path(weights).expanduser()
    if not path.exists():
        near = difflib.get_close_matches(weights, CATALOG, n=1)
        names = ", ".join(CATALOG)
        raise WeightsError(
            f"no weights are called {weights!r}, nor is there such a file or folder",
            hint=f"did you mean {near[0]}?" if near else f"the names are {names}; anything else is a path",
        )
    return LocatedWeights(path.resolve().name, path, None)


def _path_of(entry: CatalogEntry) -> Path:
    if entry.bundled_file is None:
        raise WeightsError(
            f"the weights {entry.card.name!r} are not on this machine",
            hint=f"get the files of {entry.source} from the Hugging Face Hub and give their folder to --weights",
        )
    return _bundled_path(entry)


def _bundled_path(entry: CatalogEntry) -> Path:
    return Path(__file__).with_name(entry.bundled_file or "")
