from __future__ import annotations

import pytest

from glpn_cli.errors import UsageError
from glpn_cli.image.folder import PathFilter

PATHS = ["a.jpg", "b.PNG", "raw/a.jpg", "raw/deep/c.jpg", "sub/raw/d.jpg", "sub/rawish/e.jpg", "sub/[x].jpg"]


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("*.jpg", ["a.jpg", "raw/a.jpg", "raw/deep/c.jpg", "sub/raw/d.jpg", "sub/rawish/e.jpg", "sub/[x].jpg"]),
        ("*.png", ["b.PNG"]),
        ("?.jpg", ["a.jpg", "raw/a.jpg", "raw/deep/c.jpg", "sub/raw/d.jpg", "sub/rawish/e.jpg"]),
        ("[!a].*", ["b.PNG", "raw/deep/c.jpg", "sub/raw/d.jpg", "sub/rawish/e.jpg"]),
        ("[a-b].*", ["a.jpg", "b.PNG", "raw/a.jpg"]),
        ("raw", ["raw/a.jpg", "raw/deep/c.jpg", "sub/raw/d.jpg"]),
        ("raw/", ["raw/a.jpg", "raw/deep/c.jpg", "sub/raw/d.jpg"]),
        ("/raw", ["raw/a.jpg", "raw/deep/c.jpg"]),
        ("./raw", ["raw/a.jpg", "raw/deep/c.jpg"]),
        ("raw/*.jpg", ["raw/a.jpg"]),
        ("raw/**", ["raw/a.jpg", "raw/deep/c.jpg"]),
        ("**/raw/*.jpg", ["raw/a.jpg", "sub/raw/d.jpg"]),
        ("*/raw/*", ["sub/raw/d.jpg"]),
        ("raw/**/*.jpg", ["raw/a.jpg", "raw/deep/c.jpg"]),
        ("sub/raw*", ["sub/raw/d.jpg", "sub/rawish/e.jpg"]),
        ("[[]x[]].jpg", ["sub/[x].jpg"]),
        ("a[/]b", []),
        ("*a", []),
    ],
)
def test_what_a_pattern_means(pattern: str, matched: list[str]) -> None:
    include, exclude = PathFilter.of([pattern], []), PathFilter.of([], [pattern])
    assert [path for path in PATHS if include.wants(path)] == matched
    assert [path for path in PATHS if not exclude.wants(path)] == matched


def test_exclusion_wins_and_several_inclusions_add_up() -> None:
    chosen = PathFilter.of(["*.png", "raw"], ["deep"])
    assert [path for path in PATHS if chosen.wants(path)] == ["b.PNG", "raw/a.jpg", "sub/raw/d.jpg"]


def test_a_folder_that_is_left_out_is_not_entered_and_one_that_may_hold_something_is() -> None:
    chosen = PathFilter.of(["raw/*.jpg"], ["deep", "sub/raw"])
    assert [path for path in ("raw", "raw/deep", "sub", "sub/raw", "other") if chosen.enters(path)] == [
        "raw",
        "sub",
        "other",
    ]


@pytest.mark.parametrize("odd", ["^", "\\", "a&&b", "~", "a|b", "]", "x--y", "(", "{a}", "+", "$", "new\nline", "[x"])
def test_what_means_something_elsewhere_means_itself(odd: str) -> None:
    """Also inside a set, and with no warning, which would be an error here."""
    assert PathFilter.of([f"{odd}.jpg"], []).wants(f"{odd}.jpg")
    inside = odd[0] if odd[0] not in "![" else "x"
    assert PathFilter.of([f"[{inside}q].jpg"], []).wants(f"{inside}.jpg")


@pytest.mark.parametrize("pattern", ["", "/", "./", "../x", "a/../b", "[z-a]"])
def test_what_is_no_pattern_is_a_usage_error(pattern: str) -> None:
    with pytest.raises(UsageError):
        PathFilter.of([pattern], [])
