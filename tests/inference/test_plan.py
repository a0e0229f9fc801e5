from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from glpn_cli.errors import InputError, MissingPackageError, OutputError, OutputExistsError, UsageError
from glpn_cli.image.discovery import STDIN, ImageList
from glpn_cli.inference.plan import STDOUT, Plan, check_formats, is_depth_file, plan_beside
from glpn_cli.output.formats import find_formats
from glpn_cli.settings import OutputSettings, PredictionSettings, SearchSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from glpn_cli.depth import DepthMap


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")


def outputs(plan: Plan) -> dict[str, list[str]]:
    return {str(task.source): [str(path) for _, path in task.outputs] for task in plan.tasks}


def failures(plan: Plan) -> dict[str, type | None]:
    return {str(task.source): type(task.failure) if task.failure else None for task in plan.tasks}


def test_depth_is_written_beside_its_image() -> None:
    touch("a/one.jpg")
    assert outputs(plan_beside(["a/one.jpg"])) == {"a/one.jpg": ["a/one.depth.png"]}


def test_every_format_has_a_file() -> None:
    touch("one.jpg")
    plan = plan_beside(["one.jpg"], formats=["npy", "png", "npy"])
    assert outputs(plan) == {"one.jpg": ["one.depth.npy", "one.depth.png"]}


def test_names_depend_on_the_folder_not_on_the_arguments() -> None:
    touch("a.jpg", "a.png")
    assert outputs(plan_beside(["a.jpg"])) == {"a.jpg": ["a.jpg.depth.png"]}


@pytest.mark.parametrize("output", ["out/", "out/deeper/"])
def test_a_trailing_slash_means_a_folder(output: str) -> None:
    touch("one.jpg")
    plan = plan_beside(["one.jpg"], output=output)
    assert outputs(plan) == {"one.jpg": [output + "one.depth.png"]}
    assert plan.folder == Path(output)
    assert not Path("out").exists()


def test_an_existing_folder_needs_no_slash() -> None:
    touch("one.jpg")
    Path("out").mkdir()
    assert outputs(plan_beside(["one.jpg"], output="out")) == {"one.jpg": ["out/one.depth.png"]}


def test_several_files_need_a_folder() -> None:
    touch("one.jpg", "two.jpg", "file")
    for arguments, output, formats in (
        (["one.jpg", "two.jpg"], "out.png", []),
        (["one.jpg", "gone.jpg"], "out.tif", ["tiff"]),
        (["one.jpg"], "out.npz", ["npz", "png"]),
        (["one.jpg", "two.jpg"], "file", []),
    ):
        with pytest.raises(UsageError) as caught:
            plan_beside(arguments, output=output, formats=formats)
        assert caught.value.setting == "output"
        assert output in str(caught.value)
    assert outputs(plan_beside(["one.jpg", "two.jpg"], output="out.png/"))["one.jpg"] == ["out.png/one.depth.png"]
    plan = plan_beside(["one.jpg"], output="both", formats=["png", "npy"])
    assert outputs(plan) == {"one.jpg": ["both/one.depth.png", "both/one.depth.npy"]}


def test_the_suffix_of_an_output_file_sets_its_format() -> None:
    touch("one.jpg")
    (task,) = plan_beside(["one.jpg"], output="depth.npy").tasks
    assert [(row.name, str(path)) for row, path in task.outputs] == [("npy", "depth.npy")]
    for name, format_name in (("a.tif", "tiff"), ("a.uncertainty.tif", "uncertainty"), ("A.TIFF", "tiff")):
        (task,) = plan_beside(["one.jpg"], output=name).tasks
        assert [(row.name, str(path)) for row, path in task.outputs] == [(format_name, name)]


@pytest.mark.parametrize("name", ["depth", "depths/of.today/run.12"])
def test_a_name_without_the_suffix_of_a_file_is_a_folder(name: str) -> None:
    touch("one.jpg")
    plan = plan_beside(["one.jpg"], output=name, formats=["npy"])
    assert (outputs(plan), plan.folder) == ({"one.jpg": [f"{name}/one.depth.npy"]}, Path(name))


def test_an_existing_file_without_a_suffix_is_a_file() -> None:
    touch("one.jpg", "depth")
    plan = plan_beside(["one.jpg"], output="depth", formats=["npy"], overwrite=True)
    assert outputs(plan) == {"one.jpg": ["depth"]}


def test_a_missing_second_name_hints_at_the_output() -> None:
    touch("one.jpg", "three.png")
    (task,) = (task for task in plan_beside(["one.jpg", "out.png"]).tasks if task.failure)
    assert "`output=out.png`" in str(task.failure and task.failure.hint)
    (task,) = (task for task in plan_beside(["one.jpg", "thre.png"]).tasks if task.failure)
    assert "three.png" in str(task.failure and task.failure.hint)
    (task,) = (task for task in plan_beside(["one.jpg", "out.jpg"]).tasks if task.failure)
    assert task.failure is not None
    assert task.failure.hint is None


def test_nothing_is_written_unless_asked() -> None:
    touch("one.jpg", "one.depth.png")
    plan = plan_beside(["one.jpg"], write=False)
    assert (outputs(plan), failures(plan), plan.formats) == ({"one.jpg": []}, {"one.jpg": None}, ())
    assert outputs(plan_beside(["one.jpg"], write=False, formats=["npy"])) == {"one.jpg": ["one.depth.npy"]}
    assert outputs(plan_beside(["one.jpg"], write=False, output="x.png")) == {"one.jpg": ["x.png"]}


def test_an_existing_output_without_metadata_is_compared_later() -> None:
    touch("one.jpg", "one.depth.npy")
    (task,) = plan_beside(["one.jpg"], formats=["npy"]).tasks
    assert (task.exists, task.failure) == (True, None)
    assert not plan_beside(["one.jpg"], formats=["npy"], overwrite=True).tasks[0].exists


@pytest.mark.parametrize(
    ("output", "formats"),
    [("depth.jpg", []), ("depth.npy", ["png"]), ("-", ["png", "npy"])],
)
def test_contradictions_are_usage_errors(output: str, formats: list[str]) -> None:
    touch("one.jpg")
    with pytest.raises(UsageError):
        plan_beside(["one.jpg"], output=output, formats=formats)


def test_standard_output_takes_one_image() -> None:
    touch("one.jpg", "two.jpg")
    assert plan_beside(["one.jpg"], output="-").to_stdout
    with pytest.raises(UsageError):
        plan_beside(["one.jpg", "two.jpg"], output="-")


def test_standard_input_goes_to_standard_output_by_default() -> None:
    touch("one.jpg")
    (task,) = plan_beside(["-"]).tasks
    assert (task.source, task.outputs[0][1]) == (STDIN, STDOUT)
    assert outputs(plan_beside(["-"], output="out/")) == {"-": ["out/stdin.depth.png"]}
    assert outputs(plan_beside(["-"], output="x.npy")) == {"-": ["x.npy"]}
    with pytest.raises(UsageError):
        plan_beside(["-", "one.jpg"])


def test_a_file_in_place_of_the_folder_is_a_usage_error() -> None:
    touch("one.jpg", "two.jpg", "out")
    with pytest.raises(UsageError) as caught:
        plan_beside(["one.jpg", "two.jpg"], output="out")
    assert caught.value.setting == "output"


def test_an_existing_output_fails_its_image_alone() -> None:
    touch("one.jpg", "two.jpg", "one.depth.png")
    plan = plan_beside(["one.jpg", "two.jpg"])
    assert failures(plan) == {"one.jpg": OutputExistsError, "two.jpg": None}
    assert set(failures(plan_beside(["one.jpg", "two.jpg"], overwrite=True)).values()) == {None}


def test_one_existing_output_of_two_formats_is_enough_to_fail() -> None:
    touch("one.jpg", "one.depth.png")
    assert failures(plan_beside(["one.jpg"], formats=["npy", "png"])) == {"one.jpg": OutputExistsError}


def test_a_dangling_link_counts_as_an_existing_output() -> None:
    touch("one.jpg")
    Path("one.depth.png").symlink_to("nowhere")
    assert failures(plan_beside(["one.jpg"])) == {"one.jpg": OutputExistsError}


def test_an_image_is_never_an_output_even_with_overwrite() -> None:
    touch("one.jpg", "two.png")
    Path("link.png").symlink_to("two.png")
    for output in ("two.png", "./two.png", "link.png"):
        (task,) = plan_beside(["two.png"], output=output, overwrite=True).tasks
        assert isinstance(task.failure, OutputError), output


def test_images_of_the_same_name_do_not_share_an_output() -> None:
    touch("a/x.jpg", "b/x.jpg")
    plan = plan_beside(["a/x.jpg", "b/x.jpg"], output="out/", overwrite=True)
    assert failures(plan) == {"a/x.jpg": None, "b/x.jpg": OutputError}


def test_the_folder_of_an_output_file_must_exist() -> None:
    touch("one.jpg")
    assert failures(plan_beside(["one.jpg"], output="gone/x.png")) == {"one.jpg": OutputError}


def test_a_later_image_does_not_take_an_existing_output() -> None:
    touch("a.jpg")
    assert outputs(plan_beside(["a.jpg"])) == {"a.jpg": ["a.depth.png"]}
    touch("a.depth.png", "a.png")
    plan = plan_beside(["a.png"])
    assert outputs(plan) == {"a.png": ["a.png.depth.png"]}


def test_depth_files_are_skipped_unless_named_alone(make_image: Callable[..., Path], depth_map: DepthMap) -> None:
    make_image("set/a.jpg")
    make_image("set/a.depth.png")  # by its name
    depth_map.save("set/renamed.png")  # by its metadata
    plan = plan_beside(["set"])
    assert outputs(plan) == {"set/a.jpg": ["set/a.depth.png"]}
    assert plan.skipped_outputs == 2
    assert outputs(plan_beside(["set/a.jpg", "set/renamed.png"])) == {"set/a.jpg": ["set/a.depth.png"]}
    assert outputs(plan_beside(["set/renamed.png"])) == {"set/renamed.png": ["set/renamed.depth.png"]}
    with pytest.raises(InputError):
        plan_beside(["set/*.png"])


def test_a_depth_image_does_not_change_the_names_of_others(depth_map: DepthMap) -> None:
    touch("a.jpg")
    depth_map.save("a.png")
    assert outputs(plan_beside(["a.jpg"])) == {"a.jpg": ["a.depth.png"]}


def test_arguments_without_images_are_failed_tasks() -> None:
    touch("one.jpg")
    Path("empty").mkdir()
    plan = plan_beside(["one.jpg", "empty", "*.webp", "gone.jpg"])
    assert [task.failure is None for task in plan.tasks].count(True) == 1
    assert {task.failure.exit_code for task in plan.tasks if task.failure} == {4}


def test_missing_inputs_count_as_inputs() -> None:
    touch("one.jpg")
    plan = plan_beside(["one.jpg", "misspelt.jpg"], output="depths")
    assert outputs(plan)["one.jpg"] == ["depths/one.depth.png"]
    with pytest.raises(UsageError):
        plan_beside(["one.jpg", "misspelt.jpg"], output="-")


@pytest.mark.parametrize(("arguments", "output"), [([""], None), (["one.jpg", ""], None), (["one.jpg"], "")])
def test_an_empty_argument_is_not_the_current_folder(arguments: list[str], output: str | None) -> None:
    touch("one.jpg")
    with pytest.raises(UsageError) as caught:
        plan_beside(arguments, output=output)
    assert caught.value.setting == (None if output is None else "output")


def test_a_file_named_dash_is_not_standard_input() -> None:
    touch("-", "one.jpg")
    (task,) = plan_beside(["./-"]).tasks
    assert task.source is not STDIN
    assert [str(path) for _, path in task.outputs] == ["-.depth.png"]
    assert not plan_beside(["./-"]).to_stdout


def test_the_longest_possible_name_fails_alone() -> None:
    touch("one.jpg", "x" * 251 + ".jpg")
    plan = plan_beside(["."])
    assert len(plan.tasks) == 2
    assert failures(plan)["one.jpg"] is None


def test_named_files_without_an_image_suffix_do_not_share_an_output() -> None:
    touch("a", "a.dat")
    plan = plan_beside(["a", "a.dat"])
    assert set(failures(plan).values()) == {None}
    assert outputs(plan) == {"a": ["a.depth.png"], "a.dat": ["a.dat.depth.png"]}


def test_a_dangling_link_is_planned_as_an_image() -> None:
    touch("d/a.jpg")
    Path("d/annexed.jpg").symlink_to("gone")
    assert list(outputs(plan_beside(["d"]))) == ["d/a.jpg", "d/annexed.jpg"]


def test_without_arguments_there_is_nothing_to_plan() -> None:
    with pytest.raises(UsageError):
        plan_beside([])


def test_a_list_adds_images() -> None:
    touch("a.jpg", "b.jpg", "*.png")
    plan = plan_beside(["a.jpg"], listed=ImageList(("b.jpg", "*.png", "gone.jpg")))
    assert outputs(plan) == {
        "a.jpg": ["a.depth.png"],
        "b.jpg": ["b.depth.png"],
        "*.png": ["*.depth.png"],
        "gone.jpg": [],
    }


def test_other_files_of_a_list_are_skipped(make_image: Callable[..., Path]) -> None:
    touch("a.jpg", "a.txt", "empty/x.txt", "a.depth.png", "full/b.jpg")
    make_image("scan.png").rename("scan")  # an image by its content
    listed = ImageList(("a.jpg", "a.txt", "empty", "a.depth.png", "full", "scan"))
    plan = plan_beside([], listed=listed)
    assert {str(task.source): task.skipped for task in plan.tasks if task.skipped}.keys() == {
        "a.txt", "empty", "a.depth.png"
    }  # fmt: skip
    assert outputs(plan)["a.jpg"] == ["a.depth.png"]
    with pytest.raises(InputError):
        plan_beside([], listed=ImageList(("a.txt", "empty")))


def test_a_list_may_arrive_entry_by_entry() -> None:
    touch("a.jpg", "a.txt", "b.jpg")
    taken: list[str] = []

    def entries() -> Iterator[str]:
        for name in ("a.jpg", "a.txt", "gone.jpg", "b.jpg", "a.jpg"):
            taken.append(name)
            yield name

    plan = plan_beside([], listed=ImageList(entries()))
    assert (plan.tasks, taken) == ((), [])
    assert plan.arriving is not None
    first = next(plan.arriving)
    assert (str(first.source), taken) == ("a.jpg", ["a.jpg"])
    tasks = list(plan.arriving)
    assert [str(task.source) for task in tasks] == ["a.txt", "gone.jpg", "b.jpg", "a.jpg"]
    assert [bool(task.skipped) for task in tasks] == [True, False, False, False]
    assert tasks[-1].failure is None  # a driver may send a file again
    with pytest.raises(UsageError):
        plan_beside([], output="one.png", listed=ImageList(iter(["a.jpg"])))
    arriving = plan_beside([], listed=ImageList(iter(["a.txt"]))).arriving
    assert arriving is not None
    with pytest.raises(InputError):
        list(arriving)


def test_outputs_of_urls_are_in_the_current_folder() -> None:
    allowed = SearchSettings(allow_url=True)
    urls = ["http://h.org/x/a.jpg", "http://h.org/y/a.png"]
    plan = plan_beside(urls, search=allowed)
    assert outputs(plan) == {urls[0]: ["a.jpg.depth.png"], urls[1]: ["a.png.depth.png"]}
    assert outputs(plan_beside(urls[:1], search=allowed, output="out/")) == {urls[0]: ["out/a.depth.png"]}


def test_only_a_named_file_is_a_named_output() -> None:
    touch("one.jpg")
    assert plan_beside(["one.jpg"], output="x.png").named_file
    for output in (None, "out/", "-"):
        assert not plan_beside(["one.jpg"], output=output).named_file


def test_overwrite_reaches_the_tasks() -> None:
    touch("one.jpg", "one.depth.png")
    (task,) = plan_beside(["one.jpg"], overwrite=True).tasks
    assert task.may_replace(*task.outputs[0])
    (task,) = plan_beside(["one.jpg"]).tasks
    assert not task.may_replace(*task.outputs[0])


def test_a_folder_in_place_of_an_output_fails_its_image() -> None:
    touch("one.jpg", "one.depth.png/x")
    assert failures(plan_beside(["one.jpg"], overwrite=True)) == {"one.jpg": OutputError}


# Formats


def test_a_comma_at_the_end_of_formats_is_ignored() -> None:
    assert [row.name for row in find_formats("png,npz,")] == ["png", "npz"]


@pytest.mark.parametrize("name", ["pgn", "", ","])
def test_an_unknown_format_is_a_usage_error(name: str) -> None:
    touch("one.jpg")
    with pytest.raises(UsageError) as caught:
        plan_beside(["one.jpg"], formats=[name])
    assert caught.value.setting == "formats"
    assert name != "pgn" or "'png'" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("formats", "settings", "named"),
    [
        ("npy", {"normalize": "minmax"}, ("normalize", "png")),
        ("npy", {"range": "0:3"}, ("range", "color")),
        ("npy", {"near": "dark"}, ("near", "png")),
        ("png", {"colormap": "magma"}, ("colormap", "color")),
        ("png", {"legend": True}, ("legend", "color")),
        ("png", {"side_by_side": True}, ("side_by_side", "color")),
        ("png", {"edge_filter": 0.2}, ("edge_filter", "glb")),
        ("npz", {"valid_range": "1:3"}, ("valid_range", "ply")),
        ("npz", {"max_points": 7}, ("max_points", "ply")),
        ("uncertainty", {}, ("tta", "uncertainty")),
    ],
)
def test_a_setting_without_effect_is_refused(formats: str, settings: dict[str, object], named: tuple[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        check_formats(find_formats(formats), OutputSettings(**settings), PredictionSettings())  # type: ignore[arg-type]
    text = f"{caught.value.message} {caught.value.hint}"
    assert all(name in text for name in named)


def test_a_setting_with_effect_is_accepted() -> None:
    rows = find_formats("npy,color,ply")
    settings = OutputSettings(colormap="magma", near="dark", range="p0:p50", max_points=7, legend=True)  # type: ignore[arg-type]
    check_formats(rows, settings, PredictionSettings())
    check_formats(find_formats("uncertainty"), OutputSettings(), PredictionSettings(tta="flip"))  # type: ignore[arg-type]
    check_formats(find_formats("npy"), OutputSettings(png_compression=9), PredictionSettings())


def test_a_format_whose_package_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glpn_cli.output.formats.find_spec", lambda _: None)
    with pytest.raises(MissingPackageError):
        check_formats(find_formats("exr"), OutputSettings(), PredictionSettings())


def test_depth_files_are_known_by_name_or_content(make_image: Callable[..., Path], depth_map: DepthMap) -> None:
    depth_map.save("renamed.png")
    depth_map.save("renamed.tiff")
    assert is_depth_file(Path("any.depth.npy"))
    assert is_depth_file(Path("renamed.png"))
    assert is_depth_file(Path("renamed.tiff"))
    assert not is_depth_file(make_image("photo.png"))
    assert not is_depth_file(make_image("photo.tiff"))
    assert not is_depth_file(make_image("photo.jpg"))
    assert not is_depth_file(Path("gone.png"))
