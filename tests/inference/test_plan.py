from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from glpn_cli.errors import InputError, OutputError, OutputExistsError, UsageError
from glpn_cli.image.discovery import STDIN
from glpn_cli.inference.plan import STDOUT, Plan, plan_outputs

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")


def outputs(plan: Plan) -> dict[str, list[str]]:
    return {str(job.source): [str(path) for _, path in job.outputs] for job in plan.jobs}


def failures(plan: Plan) -> dict[str, type | None]:
    return {str(job.source): type(job.failure) if job.failure else None for job in plan.jobs}


def test_depth_lies_beside_its_image() -> None:
    touch("a/one.jpg")
    assert outputs(plan_outputs(["a/one.jpg"])) == {"a/one.jpg": ["a/one.depth.png"]}


def test_every_format_gives_a_file() -> None:
    touch("one.jpg")
    plan = plan_outputs(["one.jpg"], formats=["npy", "png", "npy"])
    assert outputs(plan) == {"one.jpg": ["one.depth.npy", "one.depth.png"]}


def test_names_are_judged_from_the_folder_not_from_the_arguments() -> None:
    touch("a.jpg", "a.png")
    assert outputs(plan_outputs(["a.jpg"])) == {"a.jpg": ["a.jpg.depth.png"]}


@pytest.mark.parametrize("output", ["out/", "out/deeper/"])
def test_a_name_with_a_slash_is_a_folder_for_one_image_too(output: str) -> None:
    touch("one.jpg")
    plan = plan_outputs(["one.jpg"], output=output)
    assert outputs(plan) == {"one.jpg": [output + "one.depth.png"]}
    plan.make_folder()
    assert Path(output).is_dir()


def test_an_existing_folder_needs_no_slash() -> None:
    touch("one.jpg")
    Path("out").mkdir()
    assert outputs(plan_outputs(["one.jpg"], output="out")) == {"one.jpg": ["out/one.depth.png"]}


def test_several_files_make_a_folder_of_any_name() -> None:
    touch("one.jpg", "two.jpg")
    plan = plan_outputs(["one.jpg", "two.jpg"], output="out.png")
    assert outputs(plan) == {"one.jpg": ["out.png/one.depth.png"], "two.jpg": ["out.png/two.depth.png"]}
    plan = plan_outputs(["one.jpg"], output="both", formats=["png", "npy"])
    assert outputs(plan) == {"one.jpg": ["both/one.depth.png", "both/one.depth.npy"]}


def test_one_file_is_a_file_and_its_suffix_tells_the_format() -> None:
    touch("one.jpg")
    (job,) = plan_outputs(["one.jpg"], output="depth.npy").jobs
    assert [(row.name, str(path)) for row, path in job.outputs] == [("npy", "depth.npy")]
    (job,) = plan_outputs(["one.jpg"], output="depth", formats=["npy"]).jobs
    assert [(row.name, str(path)) for row, path in job.outputs] == [("npy", "depth")]


@pytest.mark.parametrize(
    ("output", "formats"),
    [("depth.jpg", []), ("depth.npy", ["png"]), ("-", ["png", "npy"])],
)
def test_contradictions_are_usage_errors(output: str, formats: list[str]) -> None:
    touch("one.jpg")
    with pytest.raises(UsageError):
        plan_outputs(["one.jpg"], output=output, formats=formats)


def test_standard_output_takes_one_image() -> None:
    touch("one.jpg", "two.jpg")
    assert plan_outputs(["one.jpg"], output="-").to_stdout
    with pytest.raises(UsageError, match="standard output"):
        plan_outputs(["one.jpg", "two.jpg"], output="-")


def test_standard_input_goes_to_standard_output_unless_told_otherwise() -> None:
    touch("one.jpg")
    (job,) = plan_outputs(["-"]).jobs
    assert (job.source, job.outputs[0][1]) == (STDIN, STDOUT)
    assert outputs(plan_outputs(["-"], output="out/")) == {"-": ["out/stdin.depth.png"]}
    assert outputs(plan_outputs(["-"], output="x.npy")) == {"-": ["x.npy"]}
    with pytest.raises(UsageError, match="no folder of its own"):
        plan_outputs(["-", "one.jpg"])


def test_a_file_where_a_folder_is_needed_is_a_usage_error() -> None:
    touch("one.jpg", "two.jpg", "out")
    with pytest.raises(UsageError, match="this is a file"):
        plan_outputs(["one.jpg", "two.jpg"], output="out")


def test_an_existing_output_fails_its_image_alone() -> None:
    touch("one.jpg", "two.jpg", "one.depth.png")
    plan = plan_outputs(["one.jpg", "two.jpg"])
    assert failures(plan) == {"one.jpg": OutputExistsError, "two.jpg": None}
    assert set(failures(plan_outputs(["one.jpg", "two.jpg"], overwrite=True)).values()) == {None}


def test_one_existing_output_of_two_formats_is_enough_to_fail() -> None:
    touch("one.jpg", "one.depth.npy")
    assert failures(plan_outputs(["one.jpg"], formats=["png", "npy"])) == {"one.jpg": OutputExistsError}


def test_a_dangling_link_in_the_way_counts_as_existing() -> None:
    touch("one.jpg")
    Path("one.depth.png").symlink_to("nowhere")
    assert failures(plan_outputs(["one.jpg"])) == {"one.jpg": OutputExistsError}


def test_a_image_is_never_an_output_even_with_overwrite() -> None:
    touch("one.jpg", "two.png")
    Path("link.png").symlink_to("two.png")
    for output in ("two.png", "./two.png", "link.png"):
        (job,) = plan_outputs(["two.png"], output=output, overwrite=True).jobs
        assert isinstance(job.failure, OutputError), output


def test_images_of_one_name_from_two_folders_do_not_share_an_output() -> None:
    touch("a/x.jpg", "b/x.jpg")
    plan = plan_outputs(["a/x.jpg", "b/x.jpg"], output="out/", overwrite=True)
    assert failures(plan) == {"a/x.jpg": None, "b/x.jpg": OutputError}


def test_the_folder_of_a_single_output_file_must_be_there() -> None:
    touch("one.jpg")
    assert failures(plan_outputs(["one.jpg"], output="gone/x.png")) == {"one.jpg": OutputError}


def test_a_finished_output_outlives_a_image_that_appears_later() -> None:
    touch("a.jpg")
    assert outputs(plan_outputs(["a.jpg"])) == {"a.jpg": ["a.depth.png"]}
    touch("a.depth.png", "a.png")
    plan = plan_outputs(["a.png"])
    assert outputs(plan) == {"a.png": ["a.png.depth.png"]}


def test_own_outputs_are_left_out_unless_one_is_named_alone(make_image: Callable[..., Path], depth_map: object) -> None:
    make_image("set/a.jpg")
    make_image("set/a.depth.png")  # by its name
    depth_map.save("set/renamed.png")  # type: ignore[attr-defined]  # by its text
    plan = plan_outputs(["set"])
    assert outputs(plan) == {"set/a.jpg": ["set/a.depth.png"]}
    assert plan.skipped_outputs == 2
    assert outputs(plan_outputs(["set/a.jpg", "set/renamed.png"])) == {"set/a.jpg": ["set/a.depth.png"]}
    assert outputs(plan_outputs(["set/renamed.png"])) == {"set/renamed.png": ["set/renamed.depth.png"]}
    with pytest.raises(InputError, match="only depth files"):
        plan_outputs(["set/*.png"])


def test_our_image_of_depth_does_not_change_the_name_of_its_source(depth_map: object) -> None:
    touch("a.jpg")
    depth_map.save("a.png")  # type: ignore[attr-defined]
    assert outputs(plan_outputs(["a.jpg"])) == {"a.jpg": ["a.depth.png"]}


def test_what_is_no_image_is_a_job_that_failed() -> None:
    touch("one.jpg")
    Path("empty").mkdir()
    plan = plan_outputs(["one.jpg", "empty", "*.webp", "gone.jpg"])
    assert [job.failure is None for job in plan.jobs].count(True) == 1
    assert {job.failure.exit_code for job in plan.jobs if job.failure} == {4}


def test_what_cannot_be_found_counts_when_it_is_decided_whether_there_are_several() -> None:
    touch("one.jpg")
    plan = plan_outputs(["one.jpg", "misspelt.jpg"], output="depths")
    assert outputs(plan)["one.jpg"] == ["depths/one.depth.png"]
    with pytest.raises(UsageError, match="standard output"):
        plan_outputs(["one.jpg", "misspelt.jpg"], output="-")


@pytest.mark.parametrize(("arguments", "output"), [([""], None), (["one.jpg", ""], None), (["one.jpg"], "")])
def test_an_empty_argument_is_not_the_current_folder(arguments: list[str], output: str | None) -> None:
    touch("one.jpg")
    with pytest.raises(UsageError, match="empty"):
        plan_outputs(arguments, output=output)


def test_a_file_called_dash_is_not_standard_input() -> None:
    touch("-", "one.jpg")
    (job,) = plan_outputs(["./-"]).jobs
    assert job.source is not STDIN
    assert [str(path) for _, path in job.outputs] == ["-.depth.png"]
    assert not plan_outputs(["./-"]).to_stdout


def test_a_name_as_long_as_a_name_can_be_fails_alone() -> None:
    touch("one.jpg", "x" * 251 + ".jpg")
    plan = plan_outputs(["."])
    assert len(plan.jobs) == 2
    assert failures(plan)["one.jpg"] is None


def test_named_files_without_a_images_suffix_do_not_share_an_output() -> None:
    touch("a", "a.dat")
    plan = plan_outputs(["a", "a.dat"])
    assert set(failures(plan).values()) == {None}
    assert outputs(plan) == {"a": ["a.depth.png"], "a.dat": ["a.dat.depth.png"]}


def test_a_link_to_a_image_that_is_gone_is_not_passed_over() -> None:
    touch("d/a.jpg")
    Path("d/annexed.jpg").symlink_to("gone")
    assert list(outputs(plan_outputs(["d"]))) == ["d/a.jpg", "d/annexed.jpg"]
