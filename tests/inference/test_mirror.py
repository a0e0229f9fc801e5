from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from glpn_cli.errors import ImageError, OutputError, OutputExistsError, UsageError
from glpn_cli.image.discovery import ImageList
from glpn_cli.inference.mirror import plan_mirrored
from glpn_cli.inference.record import DONE, OUTDATED, Record, file_mark
from glpn_cli.output.formats import FORMATS
from glpn_cli.settings import SearchSettings

if TYPE_CHECKING:
    from glpn_cli.inference.plan import Task

SEARCH = SearchSettings(recursive=True)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"\xff\xd8\xff" + os.fsencode(name))  # an image by its content


def mirror(
    *folders: str,
    out: str = "out",
    formats: tuple[str, ...] = ("png",),
    records: dict[str, Record] | None = None,
    overwrite: bool = False,
) -> dict[str, Task]:
    here = Path.cwd()
    rows = [FORMATS[name] for name in formats]
    images = plan_mirrored(folders, here / out, formats=rows, records=records or {}, overwrite=overwrite)
    return {image.source.relative_to(here).as_posix(): image for image in images}


def outputs(images: dict[str, Task]) -> dict[str, list[str]]:
    here = Path.cwd()
    return {
        source: [path.relative_to(here).as_posix() for _, path in image.outputs] for source, image in images.items()
    }


def record_of(source: str, output: str, status: str = DONE, content: bytes | None = None) -> dict[str, Record]:
    path = Path("out") / output
    if content is None:
        content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    record = Record(
        str(Path(source).resolve()),
        status,
        {"png": output},
        source_mark=file_mark(Path(source)),
        sha256={"png": digest},
    )
    return {record.source: record}


def test_the_tree_is_mirrored() -> None:
    touch("in/a.jpg", "in/sub/deep/b.png", "in/notes.txt", "in/.hidden/c.jpg", "in/sub/.d.jpg")
    assert outputs(mirror("in")) == {
        "in/a.jpg": ["out/a.depth.png"],
        "in/sub/deep/b.png": ["out/sub/deep/b.depth.png"],
    }


def test_several_folders_get_subfolders_of_their_names() -> None:
    touch("x/a.jpg", "y/z/a.jpg")
    assert outputs(mirror("x", "y/z")) == {"x/a.jpg": ["out/x/a.depth.png"], "y/z/a.jpg": ["out/z/a.depth.png"]}


def test_invalid_folders_are_usage_errors() -> None:
    touch("x/set/a.jpg", "y/set/a.jpg")
    with pytest.raises(UsageError, match="'set'"):
        mirror("x/set", "y/set")
    with pytest.raises(UsageError, match="gone"):
        mirror("gone")
    with pytest.raises(UsageError) as caught:
        mirror("x/set/a.jpg")
    assert "`predict`" in str(caught.value.hint)
    with pytest.raises(UsageError):
        mirror()


def test_each_image_is_planned_once() -> None:
    touch("x/sub/a.jpg")
    assert list(mirror("x", "./x", "x/sub")) == ["x/sub/a.jpg"]


def test_names_follow_the_rules_of_predict() -> None:
    touch("in/a.jpg", "in/a.png", "in/sub/a.jpg")
    assert outputs(mirror("in", formats=("png", "npy"))) == {
        "in/a.jpg": ["out/a.jpg.depth.png", "out/a.jpg.depth.npy"],
        "in/a.png": ["out/a.png.depth.png", "out/a.png.depth.npy"],
        "in/sub/a.jpg": ["out/sub/a.depth.png", "out/sub/a.depth.npy"],
    }


def test_depth_files_are_not_images() -> None:
    touch("in/a.jpg", "in/a.depth.png", "in/out/a.depth.png", "in/out/b.jpg")
    assert list(mirror("in", out="in/out")) == ["in/a.jpg"]
    assert outputs(mirror("in", out="in"))["in/a.jpg"] == ["in/a.depth.png"]


def test_links_to_folders_are_followed_without_looping() -> None:
    touch("in/a.jpg", "elsewhere/b.jpg")
    Path("in/loop").symlink_to("..")
    Path("in/other").symlink_to("../elsewhere")
    found = mirror("in")
    assert "in/other/b.jpg" in found
    assert len(found) < 10


def test_an_image_is_done_while_its_outputs_exist() -> None:
    touch("in/a.jpg", "out/a.depth.png")
    records = record_of("in/a.jpg", "a.depth.png")
    assert mirror("in", records=records)["in/a.jpg"].done
    Path("out/a.depth.png").unlink()
    again = mirror("in", records=records)["in/a.jpg"]
    assert (again.done, again.failure) == (False, None)


def test_a_changed_image_may_replace_its_output() -> None:
    touch("in/a.jpg", "out/a.depth.png")
    records = record_of("in/a.jpg", "a.depth.png")
    Path("in/a.jpg").write_bytes(b"another image")
    again = mirror("in", records=records)["in/a.jpg"]
    assert (again.done, again.failure) == (False, None)
    assert again.may_replace(*again.outputs[0])


def test_an_edited_output_is_not_replaced() -> None:
    touch("in/a.jpg", "out/a.depth.png")
    records = record_of("in/a.jpg", "a.depth.png", content=b"what we wrote")
    Path("in/a.jpg").write_bytes(b"another image")
    again = mirror("in", records=records)["in/a.jpg"]
    assert isinstance(again.failure, OutputExistsError)
    assert mirror("in", records=records, overwrite=True)["in/a.jpg"].overwrite


def test_another_file_in_place_of_an_output_fails_its_image_alone() -> None:
    touch("in/a.jpg", "in/b.jpg", "out/a.depth.png")
    found = mirror("in")
    assert isinstance(found["in/a.jpg"].failure, OutputExistsError)
    assert found["in/b.jpg"].failure is None


def test_an_image_named_like_an_output_is_never_replaced() -> None:
    """An earlier version named color images like photos of data sets, such as one that has taken the place of ours."""
    touch("in/a.jpg", "in/a.color.png", "in/b.jpg", "elsewhere/b.depth-color.png")
    old = Record(str(Path("in/a.jpg").resolve()), OUTDATED, {"color": "a.color.png"}, sha256={"color": "ab"})
    planned = mirror("in", out="in", formats=("color",), overwrite=True, records={old.source: old})
    assert isinstance(planned["in/a.jpg"].failure, OutputError)
    assert not isinstance(planned["in/a.jpg"].failure, OutputExistsError)
    assert "a.color.png" in str(planned["in/a.jpg"].failure)
    assert planned["in/b.jpg"].failure is None
    # A file that is not an image of the batch may be replaced with `overwrite`.
    assert mirror("in", out="elsewhere", formats=("color",), overwrite=True)["in/b.jpg"].failure is None


def test_an_outdated_output_may_be_replaced() -> None:
    touch("in/a.jpg", "out/a.depth.png")
    again = mirror("in", records=record_of("in/a.jpg", "a.depth.png", OUTDATED))["in/a.jpg"]
    assert (again.done, again.failure) == (False, None)
    assert again.may_replace(*again.outputs[0])


def test_a_later_image_does_not_rename_existing_outputs() -> None:
    touch("in/a.jpg", "out/a.depth.png")
    records = record_of("in/a.jpg", "a.depth.png")
    touch("in/a.png")
    found = mirror("in", records=records)
    assert found["in/a.jpg"].done
    assert outputs(found)["in/a.png"] == ["out/a.png.depth.png"]


def test_two_images_do_not_share_an_output() -> None:
    touch("in/a.jpg", "in/a.png", "out/a.png.depth.png")
    records = record_of("in/a.jpg", "a.png.depth.png")
    assert isinstance(mirror("in", records=records, overwrite=True)["in/a.png"].failure, OutputError)


def test_an_unlistable_folder_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("in/a.jpg", "in/locked/b.jpg")
    scandir = os.scandir

    def refuse(path: str | Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("glpn_cli.image.folder.os.scandir", refuse)
    found = mirror("in")
    assert found["in/a.jpg"].failure is None
    assert isinstance(found["in/locked"].failure, ImageError)
    assert "Permission denied" in str(found["in/locked"].failure)


def test_a_removed_image_leaves_its_output_to_its_successor() -> None:
    touch("in/a.jpg", "out/a.depth.png")
    records = record_of("in/a.jpg", "a.depth.png")
    Path("in/a.jpg").unlink()
    touch("in/a.png")
    again = mirror("in", records=records)["in/a.png"]
    assert (again.done, again.failure) == (False, None)
    assert outputs({"x": again}) == {"x": ["out/a.depth.png"]}
    assert again.may_replace(*again.outputs[0])
    Path("out/a.depth.png").write_bytes(b"edited since")
    assert isinstance(mirror("in", records=records)["in/a.png"].failure, OutputExistsError)
    assert mirror("in", records=records, overwrite=True)["in/a.png"].failure is None


def test_a_dangling_link_is_planned_as_an_image() -> None:
    touch("in/a.jpg")
    Path("in/annexed.jpg").symlink_to("gone")
    assert list(mirror("in")) == ["in/a.jpg", "in/annexed.jpg"]


def test_an_empty_name_is_not_the_current_folder() -> None:
    touch("a.jpg")
    with pytest.raises(UsageError):
        mirror("")


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_an_output_folder_that_a_link_leads_elsewhere_is_refused() -> None:
    touch("in/sub/a.jpg", "in/b.jpg", "elsewhere/x")
    Path("out").mkdir()
    Path("out/sub").symlink_to("../elsewhere")
    for overwrite in (False, True):
        found = mirror("in", overwrite=overwrite)
        assert isinstance(found["in/sub/a.jpg"].failure, OutputError)
        assert found["in/b.jpg"].failure is None


def test_a_new_format_is_planned_although_another_is_done() -> None:
    touch("in/a.jpg", "out/a.depth.png")
    records = record_of("in/a.jpg", "a.depth.png")
    task = mirror("in", formats=("png", "npy"), records=records)["in/a.jpg"]
    assert (task.done, task.failure) == (False, None)


# Lists


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with others beside it."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


def listed_tasks(*entries: str, search: SearchSettings = SEARCH, folder: str | None = None) -> list[Task]:
    listed = ImageList(entries, folder)
    out = Path.cwd().parent / "out"
    return list(plan_mirrored([], out, formats=[FORMATS["png"]], records={}, search=search, listed=listed))


def places(*entries: str, search: SearchSettings = SEARCH) -> dict[str, str]:
    """Return the folder of each image's depth, relative to the output folder."""
    out = Path.cwd().parent / "out"
    tasks = listed_tasks(*entries, search=search)
    return {
        str(task.source): task.outputs[0][1].parent.relative_to(out).as_posix() for task in tasks if not task.failure
    }


def test_listed_images_keep_their_path_from_the_current_folder(inside: Path) -> None:
    touch("a.jpg", "sub/b.jpg", "sub/odd")
    assert places("a.jpg", "./sub/../sub/b.jpg", str(inside / "sub/odd")) == {
        str(inside / "a.jpg"): ".",
        str(inside / "sub/b.jpg"): "sub",
        str(inside / "sub/odd"): "sub",
    }


@pytest.mark.usefixtures("inside")
def test_images_elsewhere_get_their_whole_path(tmp_path: Path) -> None:
    touch("../beside/a.jpg", "../beside/sub/b.jpg", "sub/c.jpg")
    Path("link").symlink_to("../beside")
    whole = tmp_path.relative_to(tmp_path.anchor).as_posix()
    entries = ["../beside/a.jpg", str(tmp_path / "beside/sub/b.jpg"), "sub/../link/a.jpg", "link/sub/../../sub/c.jpg"]
    found = places(*entries)
    assert found == {
        str(tmp_path / "beside/a.jpg"): f"{whole}/beside",
        str(tmp_path / "beside/sub/b.jpg"): f"{whole}/beside/sub",
    }
    for place in found.values():
        assert not Path(place).is_absolute()
        assert ".." not in Path(place).parts


def test_a_listed_link_keeps_its_own_name(inside: Path) -> None:
    touch("../beside/a.jpg")
    Path("mine.jpg").symlink_to("../beside/a.jpg")
    assert places("mine.jpg") == {str(inside / "mine.jpg"): "."}


def test_a_listed_folder_is_searched_with_the_settings(inside: Path) -> None:
    touch("sub/a.jpg", "sub/deep/b.jpg", "sub/a.depth.png", "sub/.c.jpg")
    assert places("sub") == {str(inside / "sub/a.jpg"): "sub", str(inside / "sub/deep/b.jpg"): "sub/deep"}
    assert places("sub", search=SearchSettings()) == {str(inside / "sub/a.jpg"): "sub"}


def test_listed_depth_files_are_skipped_and_patterns_are_names(inside: Path) -> None:
    touch("a.depth.png", "*.jpg", "-", "b.jpg")
    assert places("a.depth.png", "*.jpg", "-") == {str(inside / "*.jpg"): ".", str(inside / "-"): "."}


@pytest.mark.usefixtures("inside")
def test_a_missing_listed_image_is_a_failure() -> None:
    touch("../lists/a.jpg")
    first, second, third = (task.failure for task in listed_tasks("a.jpg", "b.jpg", "a\0b", folder="../lists"))
    assert isinstance(first, ImageError)
    assert "current folder" in str(first.hint)  # it exists beside the list
    assert isinstance(second, ImageError)
    assert "current folder" not in str(second.hint)
    assert isinstance(third, ImageError)


@pytest.mark.usefixtures("inside")
def test_a_url_gets_a_folder_named_after_its_host() -> None:
    allowed = SearchSettings(allow_url=True)
    assert places("https://me:pw@h.org/x/a.jpg", search=allowed) == {"https://h.org/x/a.jpg": "h.org/x"}
    with pytest.raises(UsageError) as caught:
        listed_tasks("https://me:pw@h.org/x/a.jpg")
    assert "pw" not in caught.value.message
    assert "`allow_url`" in f"{caught.value.message} {caught.value.hint}"
    (broken,) = listed_tasks("http://pw@", search=allowed)
    assert broken.failure is not None
    assert "pw" not in f"{broken.source} {broken.failure}"


@pytest.mark.usefixtures("inside")
def test_urls_of_one_folder_are_named_among_each_other() -> None:
    allowed = SearchSettings(allow_url=True)
    tasks = listed_tasks("http://h/x/a.jpg", "http://h/x/a.png", "http://h/y/a.jpg", search=allowed)
    assert [task.outputs[0][1].name for task in tasks] == ["a.jpg.depth.png", "a.png.depth.png", "a.depth.png"]


@pytest.mark.usefixtures("inside")
def test_a_listed_image_is_never_replaced() -> None:
    touch("a.jpg", "a.depth.png", "../out/a.depth.png", "../out/odd")
    records: dict[str, Record] = {}
    listed = ImageList(("a.jpg", "../out/odd"))
    out = Path.cwd().parent / "out"
    tasks = list(plan_mirrored([], out, formats=[FORMATS["png"]], records=records, overwrite=True, listed=listed))
    assert [task.failure for task in tasks] == [None, None]
    Path("../out/a.depth.png").unlink()
    Path("../out/a.depth.png").symlink_to("odd")  # an image by its place in the list
    tasks = list(plan_mirrored([], out, formats=[FORMATS["png"]], records=records, overwrite=True, listed=listed))
    assert isinstance(tasks[0].failure, OutputError)
    assert tasks[1].failure is None


def test_folders_and_lists_are_planned_together() -> None:
    touch("in/a.jpg", "b.jpg")
    tasks = plan_mirrored(
        ["in"], Path.cwd() / "out", formats=[FORMATS["png"]], records={}, listed=ImageList(("b.jpg", "in/a.jpg"))
    )
    assert [Path(str(task.source)).name for task in tasks] == ["a.jpg", "b.jpg"]


@pytest.mark.skipif(os.name == "nt", reason="Windows does not allow such names")
def test_any_file_name_can_be_listed(inside: Path) -> None:
    odd = ["new\nline.jpg", "-rf.jpg", os.fsdecode(b"\xff.jpg"), " .jpg", "..jpg", "...", "~"]
    touch(*odd)
    assert list(places(*odd)) == [str(inside / name) for name in odd]
