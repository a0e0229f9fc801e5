"""A weights file of the user's becomes weights with a name."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from glpn_cli.errors import UsageError, WeightsError
from glpn_cli.weights.catalog import CATALOG
from glpn_cli.weights.files import find_weights_file
from glpn_cli.weights.home import is_plain_name, is_repository, stored_file
from glpn_cli.weights.intake import KeptWeights, Origin, keep, take_in
from glpn_cli.weights.location import to_known_name
from glpn_cli.weights.store import alone_with
from glpn_cli.weights.watcher import QUIET, Watcher

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["import_weights"]

_MEANINGS = {"auto", "all"}  # words that stand for other weights


def import_weights(
    path: str | PathLike[str],
    name: str,
    *,
    meters_per_unit: float | None = None,
    overwrite: bool = False,
    watcher: Watcher = QUIET,
) -> KeptWeights:
    """Keep a file under a name.

    Args:
        path: a folder as transformers saves it, a safetensors file, a pickle, or a checkpoint of the authors.
        name: what to keep it as: one of the catalog's, which gives it the facts and the scale of its row; OWNER/REPO,
            as if it had been downloaded; or a new one.
        meters_per_unit: the factor from its scale to meters, where the user knows it.
        overwrite: replace what is kept under the name.
        watcher: is told of a wait.

    Raises:
        UsageError: the name cannot be one, or the factor is not positive.
        WeightsError: there are no such weights, they are no GLPN, something is kept under the name already, or the
            home cannot be written to.
    """
    name = _checked_name(name)
    if meters_per_unit is not None and not 0 < meters_per_unit < math.inf:
        raise UsageError(f"--meters-per-unit must be a positive number, not {meters_per_unit}")
    file = find_weights_file(os.path.expanduser(path))
    with alone_with(name, watcher=watcher):
        if stored_file(name).exists() and not overwrite:
            raise WeightsError(f"the weights {name!r} are there already", hint="--overwrite replaces them")
        origin = Origin.of(file, source=str(file.resolve()))
        return keep(name, take_in(file), origin, meters_per_unit=meters_per_unit)


def _checked_name(name: str) -> str:
    known = to_known_name(name)
    if known is not None and (known in CATALOG or is_repository(known)):
        if known in CATALOG and CATALOG[known].bundled_file is not None:
            raise UsageError(f"the weights {known!r} come with the package and stay", hint="choose another name")
        return known
    if not is_plain_name(name) or to_known_name("owner/" + name) is None or name.lower() in _MEANINGS:
        raise UsageError(
            f"no weights can be called {name!r}",
            hint="a name has letters, digits, - _ and . in it, is not that of a file, and is neither auto nor all",
        )
    if name.lower() in CATALOG:
        raise UsageError(f"no weights can be called {name!r}", hint=f"did you mean {name.lower()}?")
    return name
