"""Which images are taken."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from glpn_cli.cli.options.panels import SOURCE
from glpn_cli.errors import UsageError
from glpn_cli.settings import SearchSettings

if TYPE_CHECKING:
    from glpn_cli.image.discovery import ImageList


Input = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PHOTO...",
        help="Images, folders of images, patterns such as 'shots/**/*.jpg', or - for standard input.",
        show_default=False,
    ),
]

Folders = Annotated[
    list[str] | None,
    typer.Argument(metavar="FOLDER...", help="Folders of images; folders below them are done too.", show_default=False),
]

FromList = Annotated[
    str | None,
    typer.Option(
        "--from-list",
        metavar="FILE|-",
        help="More images: a path on each line, or between NULs.",
        rich_help_panel=SOURCE,
        show_default=False,
    ),
]

Recursive = Annotated[
    bool | None,
    typer.Option(
        "--recursive/--no-recursive",
        help="Look into folders below folders. By default batch does, predict does not.",
        rich_help_panel=SOURCE,
        show_default=False,
    ),
]

Include = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="PATTERN",
        help="Take of folders only what matches. Such as '*.jpg' or 'left/**'; repeatable.",
        rich_help_panel=SOURCE,
        show_default=False,
    ),
]

Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="PATTERN",
        help="Leave out what matches. Files or whole folders; repeatable.",
        rich_help_panel=SOURCE,
        show_default=False,
    ),
]

Hidden = Annotated[
    bool,
    typer.Option("--hidden", help="Take hidden files and folders too.", rich_help_panel=SOURCE, hidden=True),
]

AllowUrl = Annotated[
    bool,
    typer.Option(
        "--allow-url", help="Fetch images that are named by http(s) addresses.", rich_help_panel=SOURCE, hidden=True
    ),
]

_SEARCH = SearchSettings()


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """Which images are taken."""

    from_list: FromList = None
    recursive: Recursive = None
    include: Include = None
    exclude: Exclude = None
    hidden: Hidden = _SEARCH.hidden
    allow_url: AllowUrl = _SEARCH.allow_url

    @property
    def list_is_stdin(self) -> bool:
        """Whether the list comes from standard input."""
        return self.from_list == "-"

    def settings(self, *, recursive: bool, offline: bool) -> SearchSettings:
        """Give what is looked for.

        Args:
            recursive: what the command does unless it is told.
            offline: whether the user forbids the network.

        Raises:
            UsageError: the user forbids the network and allows it.
        """
        if self.allow_url and offline:
            raise UsageError("--offline uses no network, and --allow-url does")
        return SearchSettings(
            recursive=recursive if self.recursive is None else self.recursive,
            include=tuple(self.include or ()),
            exclude=tuple(self.exclude or ()),
            hidden=self.hidden,
            allow_url=self.allow_url,
        )

    def read_list(self) -> ImageList | None:
        """Read the list that is named, if one is.

        Raises:
            UsageError: it is to come from a terminal.
            InputError: it cannot be read, or is empty.
        """
        from glpn_cli.image.discovery import read_list

        if self.from_list is None:
            return None
        if not self.list_is_stdin:
            return read_list(self.from_list)
        if sys.stdin is None:
            raise UsageError("standard input is closed")
        if sys.stdin.isatty():
            raise UsageError(
                "standard input is a terminal", hint="pipe a list in: find . -print0 | glpn ... --from-list -"
            )
        return read_list(sys.stdin.buffer)
