from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from glpn_cli.errors import OutputError, OutputExistsError, UsageError
from glpn_cli.inference.manifest import DONE, OUTDATED, Record, file_mark
from glpn_cli.inference.mirror import MirroredImage, mirror_folders
from glpn_cli.output.formats import FORMATS


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(name.encode())


def mirror(
    *folders: str,
    out: str = "out",
    formats: tuple[str, ...] = ("png",),
    records: dict[str, Record] | None = None,
    overwrite: bool = False,
) -> dict[str, MirroredImage]:
    here = Path.cwd()
    rows = [FORMATS[name] for name in formats]
    images = mirror_folders(folders, here / out, formats=rows, records=records or {}, overwrite=overwrite)
    return {image.source.relative_to(here).as_posix(): image for image in images}


def outputs(images: dict[str, MirroredImage]) -> dict[str, list[str]]:
    here = Path.cwd()
    return {
        source: [path.relative_to(here).as_posix() for _, path in image.outputs] for source, image in images.items()
    }


def record_of(source: str, output: str, status: str = DONE, content: bytes | None = None) -> dict[str, Record]:
    path = Path("out") / output
    if content is None:
        content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    made = Record(
        str(Path(source).resolve()),
        status,
        {"png": output},
        source_mark=file_mark(Path(source)),
        sha256={"png": digest},
    )
    return {made.source: made}


def test_the_tree_is_mirrored() -> None:
    touch("in/a.jpg", "in/sub/deep/b.png", "in/notes.txt", "in/.hidden/c.jpg", "in/sub/.d.jpg")
    assert outputs(mirror("in")) == {
        "in/a.jpg": ["out/a.depth.png"],
        "in/sub/deep/b.png": ["out/sub/deep/b.depth.png"],
    }


def test_several_folders_get_folders_of_their_names() -> None:
    touch("x/a.jpg", "y/z/a.jpg")
    assert outputs(mirror("x", "y/z")) == {"x/a.jpg": ["out/x/a.depth.png"], "y/z/a.jpg": ["out/z/a.depth.png"]}


def test_two_folders_of_one_name_and_what_is_no_folder_are_usage_errors() -> None:
    touch("x/set/a.jpg", "y/set/a.jpg")
    with pytest.raises(UsageError, match="'set'"):
        mirror("x/set", "y/set")
    with pytest.raises(UsageError, match="no folder"):
        mirror("gone")
    with pytest.raises(UsageError) as caught:
        mirror("x/set/a.jpg")
    assert "predict" in str(caught.value.hint)


def test_a_folder_that_is_named_twice_or_inside_another_is_done_once() -> None:
    touch("x/sub/a.jpg")
    assert list(mirror("x", "./x", "x/sub")) == ["x/sub/a.jpg"]


def test_names_follow_the_rules_of_predict() -> None:
    touch("in/a.jpg", "in/a.png", "in/sub/a.jpg")
    assert outputs(mirror("in", formats=("png", "npy"))) == {
        "in/a.jpg": ["out/a.jpg.depth.png", "out/a.jpg.depth.npy"],
        "in/a.png": ["out/a.png.depth.png", "out/a.png.depth.npy"],
        "in/sub/a.jpg": ["out/sub/a.depth.png", "out/sub/a.depth.npy"],
    }


def test_own_outputs_are_never_done_again_wherever_they_lie() -> None:
    touch("in/a.jpg", "in/a.depth.png", "in/out/a.depth.png", "in/out/b.jpg")
    assert list(mirror("in", out="in/out")) == ["in/a.jpg"]
    assert outputs(mirror("in", out="in"))["in/a.jpg"] == ["in/a.depth.png"]


def test_a_link_to_a_folder_is_followed_and_a_loop_survived() -> None:
    touch("in/a.jpg", "elsewhere/b.jpg")
    Path("in/loop").symlink_to("..")
    Path("in/other").symlink_to("../elsewhere")
    found = mirror("in")
    assert "in/other/b.jpg" in found
    assert len(found) < 10


def test_what_is_done_is_done_while_source_and_outputs_are_what_they_were() -> None:
    touch("in/a.jpg", "out/a.depth.png")
    records = record_of("in/a.jpg", "a.depth.png")
    assert mirror("in", records=records)["in/a.jpg"].done
    Path("out/a.depth.png").unlink()
    again = mirror("in", records=records)["in/a.jpg"]
    assert (again.done, again.failure) == (False, None)


def test_a_source_that_changed_is_done_again_and_its_output_may_be_replaced() -> None:
    touch("in/a.jpg", "out/a.depth.png")
    records = record_of("in/a.jpg", "a.depth.png")
    Path("in/a.jpg").write_bytes(b"another image")
    again = mirror("in", records=records)["in/a.jpg"]
    assert (again.done, again.failure) == (False, None)
    assert again.may_replace(*again.outputs[0])


def test_an_output_that_somebody_edited_is_not_replaced() -> None:
    touch("in/a.jpg", "out/a.depth.png")
    records = record_of("in/a.jpg", "a.depth.png", content=b"what we wrote")
    Path("in/a.jpg").write_bytes(b"another image")
    again = mirror("in", records=records)["in/a.jpg"]
    assert isinstance(again.failure, OutputExistsError)
    assert mirror("in", records=records, overwrite=True)["in/a.jpg"].overwrite


def test_a_file_in_the_way_fails_its_image_alone() -> None:
    touch("in/a.jpg", "in/b.jpg", "out/a.depth.png")
    found = mirror("in")
    assert isinstance(found["in/a.jpg"].failure, OutputExistsError)
    assert found["in/b.jpg"].failure is None


def test_a_photo_that_is_called_like_an_output_is_not_replaced_whatever_is_allowed() -> None:
    touch("in/a.jpg", "in/a.color.png", "in/b.jpg", "elsewhere/b.color.png")
    planned = mirror("in", out="in", formats=("color",), overwrite=True)
    assert isinstance(planned["in/a.jpg"].failure, OutputError)
    assert "one of the images" in str(planned["in/a.jpg"].failure)
    assert planned["in/b.jpg"].failure is None
    # Where it is no image of the batch, whoever says --overwrite means it.
    assert mirror("in", out="elsewhere", formats=("color",), overwrite=True)["in/b.jpg"].failure is None


def test_an_outdated_output_is_ours_to_replace() -> None:
    touch("in/a.jpg", "out/a.depth.png")
    again = mirror("in", records=record_of("in/a.jpg", "a.depth.png", OUTDATED))["in/a.jpg"]
    assert (again.done, again.failure) == (False, None)
    assert again.may_replace(*again.outputs[0])


def test_a_image_keeps_its_name_when_another_appears_later() -> None:
    touch("in/a.jpg", "out/a.depth.png")
    records = record_of("in/a.jpg", "a.depth.png")
    touch("in/a.png")
    found = mirror("in", records=records)
    assert found["in/a.jpg"].done
    assert outputs(found)["in/a.png"] == ["out/a.png.depth.png"]


def test_an_output_belongs_to_one_image() -> None:
    touch("in/a.jpg", "in/a.png", "out/a.png.depth.png")
    records = record_of("in/a.jpg", "a.png.depth.png")
    assert isinstance(mirror("in", records=records, overwrite=True)["in/a.png"].failure, OutputError)


def test_a_folder_that_cannot_be_listed_is_a_failure_among_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    touch("in/a.jpg", "in/locked/b.jpg")
    scandir = os.scandir

    def refuse(path: str | Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("glpn_cli.image.folder.os.scandir", refuse)
    found = mirror("in")
    assert found["in/a.jpg"].failure is None
    assert "Permission denied" in str(found["in/locked"].failure)


def test_a_image_in_place_of_one_that_is_gone_takes_over_its_output() -> None:
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


def test_a_link_to_a_image_that_is_gone_is_not_passed_over() -> None:
    touch("in/a.jpg")
    Path("in/annexed.jpg").symlink_to("gone")
    assert list(mirror("in")) == ["in/a.jpg", "in/annexed.jpg"]


def test_an_empty_name_is_not_the_current_folder() -> None:
    touch("a.jpg")
    with pytest.raises(UsageError, match="empty"):
        mirror("")
