"""Names of depth files."""

from __future__ import annotations

import itertools

import pytest

from glpn_cli.output.formats import FORMATS
from glpn_cli.output.naming import SiblingNames, has_output_ending, may_be_output

PNG = FORMATS["png"]


def name_beside(image: str, *others: str, outputs: tuple[str, ...] = ()) -> str:
    return SiblingNames([image, *others], is_output=lambda name: name in outputs).output_name(image, PNG)


def test_depth_file_is_named_after_the_stem() -> None:
    assert name_beside("a.jpg", "b.jpg") == "a.depth.png"
    assert SiblingNames(["a.jpg"], is_output=lambda _: False).output_name("a.jpg", FORMATS["npy"]) == "a.depth.npy"


def test_only_the_last_suffix_is_removed() -> None:
    assert name_beside("holiday.2024.tar.jpg") == "holiday.2024.tar.depth.png"


def test_images_with_the_same_stem_use_their_whole_names() -> None:
    assert name_beside("a.jpg", "a.png") == "a.jpg.depth.png"
    assert name_beside("a.png", "a.jpg") == "a.png.depth.png"


def test_case_and_unicode_form_do_not_distinguish_stems() -> None:
    assert name_beside("A.jpg", "a.png") == "A.jpg.depth.png"
    assert name_beside("caf\u00e9.jpg", "cafe\u0301.png") == "caf\u00e9.jpg.depth.png"


def test_depth_files_do_not_count_as_images() -> None:
    assert name_beside("a.jpg", "a.png", outputs=("a.png",)) == "a.depth.png"


def test_names_without_suffix_and_hidden_names() -> None:
    assert name_beside("scan") == "scan.depth.png"
    assert name_beside(".hidden.jpg") == ".hidden.depth.png"


@pytest.mark.parametrize(
    "names", [("a.jpg", "a.png", "a.jpg.png"), ("a.jpg", "a.jpg.png", "a.jpg.png.tif"), ("a", "a.jpg", "a.jpg.jpg")]
)
def test_images_of_a_folder_have_different_depth_files(names: tuple[str, ...]) -> None:
    for order in itertools.permutations(names):
        siblings = SiblingNames(order, is_output=lambda _: False)
        assert len({siblings.output_name(name, PNG) for name in names}) == len(names)


def test_image_added_later_has_another_depth_file() -> None:
    finished = name_beside("a.jpg")
    assert name_beside("a.png", "a.jpg") != finished
    assert name_beside("a.jpg.png", "a.jpg") != finished


def test_output_endings_ignore_case() -> None:
    assert has_output_ending("a.depth.png")
    assert has_output_ending("A.DEPTH.NPY")
    assert has_output_ending("a.depth-color.png")
    assert not has_output_ending("a.color.png"), "photos in data sets have such names"
    assert may_be_output("a.COLOR.PNG")
    assert not may_be_output("a.jpg")
    assert not has_output_ending("a.png")
    assert not has_output_ending("depth.png")
