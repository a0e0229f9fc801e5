"""Patterns of file names, as `--include` and `--exclude` take them and as shells know them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glpn_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PathFilter", "to_regex"]


@dataclass(frozen=True, slots=True)
class PathFilter:
    """Which paths of a folder are wanted.

    A pattern without a slash is held against every name on the way to a file, its own and those of its folders; one
    with a slash against the path from the folder that was named. `*`, `?` and `[...]` stay within one name, `**`
    stands for any folders. What matches a folder goes for all that is in it. Case does not count, because cameras
    write .JPG and people .jpg.

    Attributes:
        include: if there are any, only what matches one is wanted.
        exclude: what matches one is not wanted, whatever includes it.
    """

    include: tuple[re.Pattern[str], ...] = ()
    exclude: tuple[re.Pattern[str], ...] = ()

    @classmethod
    def of(cls, include: Iterable[str], exclude: Iterable[str]) -> PathFilter:
        """Read the patterns as a user writes them.

        Raises:
            UsageError: a pattern is empty, or leads out of the folder.
        """
        return cls(tuple(map(_parse, include)), tuple(map(_parse, exclude)))

    def wants(self, path: str) -> bool:
        """Tell whether a file is wanted, by its path from the named folder, with slashes."""
        if any(pattern.match(path) for pattern in self.exclude):
            return False
        return not self.include or any(pattern.match(path) for pattern in self.include)

    def enters(self, path: str) -> bool:
        """Tell whether a folder may hold what is wanted; one that is left out is not even listed."""
        return not any(pattern.match(path) for pattern in self.exclude)


def to_regex(pattern: str) -> str:
    """Translate a pattern of a whole path: `*`, `?` and `[...]` within one name, `**` for any folders.

    Raises:
        re.error: a set makes no sense, such as `[z-a]`.
    """
    *folders, name = pattern.split("/")
    translated = "".join(_ANY_FOLDERS if part == "**" else _name_regex(part) + "/" for part in folders)
    regex = translated + (_ANY_FOLDERS + "[^/]+" if name == "**" else _name_regex(name))
    re.compile(regex)
    return regex


_ANY_FOLDERS = "(?:[^/]+/)*"
_TOKEN = re.compile(r"\*+|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)
_MEANS_MORE_IN_A_SET = re.compile(r"[\\\[\]&~|^]")


def _parse(pattern: str) -> re.Pattern[str]:
    stripped = pattern.removeprefix("./").strip("/")
    if not stripped:
        raise UsageError(f"{pattern!r} is no pattern of file names", hint="for example '*.jpg' or 'raw/**'")
    if ".." in stripped.split("/"):
        raise UsageError(f"{pattern!r}: a pattern is held against paths inside the folder, so '..' matches nothing")
    anywhere = "" if "/" in pattern.removesuffix("/") else "(?:.*/)?"
    try:
        # What follows a match is inside a folder that matched.
        return re.compile(f"{anywhere}{to_regex(stripped)}(?:/.*)?\\Z", re.IGNORECASE | re.DOTALL)
    except re.error as error:
        raise UsageError(f"{pattern!r} is no pattern of file names: {error}") from error


def _name_regex(part: str) -> str:
    """Translate a pattern within one name."""
    return "".join(map(_token_regex, _TOKEN.findall(part)))


def _token_regex(part: str) -> str:
    if part[0] == "*":
        return "[^/]*"
    if part == "?":
        return "[^/]"
    if len(part) > 1:
        negated = part[1] == "!"
        members = _MEANS_MORE_IN_A_SET.sub(r"\\\g<0>", part[2:-1] if negated else part[1:-1])
        return f"(?!/)[{'^' if negated else ''}{members}]"
    return re.escape(part)
