"""The options of commands that take pictures with known depth, as one group."""

from __future__ import annotations

from dataclasses import dataclass

from glpn_cli.cli.options import (  # noqa: TC001 - Typer reads the annotations when the program runs
    Data,
    DataList,
    DataRoot,
    UnitsPerMetre,
)
from glpn_cli.errors import UsageError
from glpn_cli.settings.measuring import DataSettings

__all__ = ["DataOptions"]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Pictures with known depth."""

    data: Data
    root: DataRoot = None
    list_file: DataList = None
    units_per_metre: UnitsPerMetre = None

    def settings(self) -> DataSettings:
        """Give where the pictures are and how their files are to be understood.

        Raises:
            UsageError: no data are named.
        """
        if not self.data:
            raise UsageError("--data is empty", hint="is a variable of the shell not set?")
        return DataSettings(
            data=self.data, root=self.root, list_file=self.list_file, units_per_metre=self.units_per_metre
        )
