from __future__ import annotations

import itertools

import pytest

from glpn_cli.output.formats import FORMATS
from glpn_cli.output.naming import SiblingNames, ends_like_an_output

PNG = FORMATS["png"]


def name_beside(image: str, *others: str, outputs: tuple[str, ...] = ()) -> str:
    return SiblingNames([image, *others], is_output=lambda name: name in outputs).output_name(image, PNG)


def test_a_image_is_known_by_its_stem() -> None:
    assert name_beside("a.jpg", "b.jpg") == "a.depth.png"
    assert SiblingNames(["a.jpg"], is_output=lambda _: False).output_name("a.jpg", FORMATS["npy"]) == "a.depth.npy"


def test_only_the_last_suffix_is_left_out() -> None:
    assert name_beside("holiday.2024.tar.jpg") == "holiday.2024.tar.depth.png"


def test_images_that_share_a_stem_both_keep_their_whole_names() -> None:
    assert name_beside("a.jpg", "a.png") == "a.jpg.depth.png"
    assert name_beside("a.png", "a.jpg") == "a.png.depth.png"


def test_stems_that_differ_only_in_case_or_unicode_form_count_as_the_same() -> None:
    assert name_beside("A.jpg", "a.png") == "A.jpg.depth.png"
    assert name_beside("caf\u00e9.jpg", "cafe\u0301.png") == "caf\u00e9.jpg.depth.png"


def test_a_depth_file_is_no_rival() -> None:
    assert name_beside("a.jpg", "a.png", outputs=("a.png",)) == "a.depth.png"


def test_a_name_without_a_suffix_and_a_hidden_one_keep_what_they_have() -> None:
    assert name_beside("scan") == "scan.depth.png"
    assert name_beside(".hidden.jpg") == ".hidden.depth.png"


@pytest.mark.parametrize(
    "names", [("a.jpg", "a.png", "a.jpg.png"), ("a.jpg", "a.jpg.png", "a.jpg.png.tif"), ("a", "a.jpg", "a.jpg.jpg")]
)
def test_no_two_images_of_a_folder_ask_for_the_same_file(names: tuple[str, ...]) -> None:
    for order in itertools.permutations(names):
        siblings = SiblingNames(order, is_output=lambda _: False)
        assert len({siblings.output_name(name, PNG) for name in names}) == len(names)


def test_a_image_that_appears_later_asks_for_another_file() -> None:
    finished = name_beside("a.jpg")
    assert name_beside("a.png", "a.jpg") != finished
    assert name_beside("a.jpg.png", "a.jpg") != finished


def test_output_names_are_known_whatever_their_case() -> None:
    assert ends_like_an_output("a.depth.png")
    assert ends_like_an_output("A.DEPTH.NPY")
    assert not ends_like_an_output("a.png")
    assert not ends_like_an_output("depth.png")
