from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from glpn_cli.data.layouts import ListedPair, read_list
from glpn_cli.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def test_the_lines_of_the_authors_and_of_others_are_read(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text(
        "/kitchen_0/rgb_00045.jpg /kitchen_0/sync_depth_00045.png\n"
        "# a remark\n\n"
        "2011/image_02/data/1.png  drive/proj_depth/1.png 721.5377\n"
        "2011/image_02/data/2.png None 721.5377\n"
        "with a space.jpg\twith a space.png\n"
    )
    assert read_list(file) == [
        ListedPair("kitchen_0/rgb_00045.jpg", "kitchen_0/sync_depth_00045.png"),
        ListedPair("2011/image_02/data/1.png", "drive/proj_depth/1.png"),
        ListedPair("2011/image_02/data/2.png", None),
        ListedPair("with a space.jpg", "with a space.png"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a.jpg a.png\nalone.jpg\n", "line 2"), (b"\n# nothing\n", "lists nothing"), (b"\xff\xfe", "no text")],
)
def test_what_is_no_list_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_list(file)


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.txt: cannot be read"):
        read_list(tmp_path / "gone.txt")
