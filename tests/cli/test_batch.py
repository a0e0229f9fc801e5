"""`glpn batch`: folders, resumed runs, interrupts, and the manifest."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from e2e.watched_glpn import start_watched
from glpn_cli.inference.manifest import Manifest, read_records
from waiting import HANG_S

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def folder(tmp_path: Path, photo: Path, make_image: Callable[..., Path]) -> Path:
    """A folder of good, odd and broken images."""
    make_image("in/a.jpg")
    make_image("in/a.png")
    make_image("in/sub/deep/b.png", 70, 50)
    make_image("in/sub/t\u00fcr [1].webp")
    shutil.copy(photo, tmp_path / "in" / "coffee.png")
    Image.new("P", (40, 40)).save(tmp_path / "in" / "palette.gif")
    Image.new("I;16", (40, 40), 9000).save(tmp_path / "in" / "deep.tif")
    Image.new("L", (5, 200)).save(tmp_path / "in" / "thin.png")
    (tmp_path / "in" / "text.jpg").write_text("no image")
    (tmp_path / "in" / "empty.png").touch()
    (tmp_path / "in" / "cut.jpg").write_bytes((tmp_path / "in" / "a.jpg").read_bytes()[:300])
    (tmp_path / "in" / "notes.txt").write_text("not an image by its name either")
    return tmp_path / "in"


GOOD = {
    "a.jpg.depth.png",
    "a.png.depth.png",
    "sub/deep/b.depth.png",
    "sub/t\u00fcr [1].depth.png",
    "coffee.depth.png",
    "palette.depth.png",
    "deep.depth.png",
    "thin.depth.png",
}
BROKEN = {"text.jpg", "empty.png", "cut.jpg"}


def lines(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "out" / "glpn-batch.jsonl").read_text().splitlines()]


def files(tmp_path: Path) -> set[str]:
    out = tmp_path / "out"
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file() and path.name[0] != "."}


@pytest.mark.usefixtures("folder")
def test_good_images_get_depth_and_bad_ones_a_line(glpn: Glpn, tmp_path: Path) -> None:
    run = glpn("batch", "in", "--out", "out")
    assert run.returncode == 7
    assert run.stdout == b""
    assert files(tmp_path) == GOOD | {"glpn-batch.jsonl"}
    report = {Path(line["source"]).name: line for line in lines(tmp_path)}
    assert len(lines(tmp_path)) == len(report) == len(GOOD) + len(BROKEN)
    for name, line in report.items():
        assert Path(line["source"]).is_absolute()
        assert line["status"] == ("failed" if name in BROKEN else "done")
        assert bool(line["error"]) == (name in BROKEN)
        assert line["seconds"] >= 0
        assert all((tmp_path / "out" / output).is_file() for output in line["outputs"].values())
    for name in BROKEN:
        assert name.encode() in run.stderr
    assert b"8 of 11 done" in run.stderr
    assert b"3 of 11 failed" in run.stderr


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("options", [(), ("--batch-size", "3", "--workers", "3"), ("--workers", "1")])
def test_depth_is_the_same_as_that_of_predict(glpn: Glpn, tmp_path: Path, options: tuple[str, ...]) -> None:
    assert glpn("batch", "in", "--out", "out", "-f", "npy", *options).returncode == 7
    assert glpn("predict", "in/*.*g", "in/deep.tif", "-f", "npy", "-o", "single/").returncode == 7
    for name in ("a.jpg", "a.png", "coffee", "deep", "thin"):
        np.testing.assert_array_equal(
            np.load(tmp_path / "out" / f"{name}.depth.npy"), np.load(tmp_path / "single" / f"{name}.depth.npy")
        )


@pytest.mark.usefixtures("folder")
def test_a_second_run_only_processes_what_is_missing(
    glpn: Glpn, tmp_path: Path, make_image: Callable[..., Path]
) -> None:
    glpn("batch", "in", "--out", "out")
    before = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in GOOD}
    (tmp_path / "out" / "coffee.depth.png").unlink()
    make_image("in/new.png")
    for name in BROKEN:
        (tmp_path / "in" / name).unlink()
    run = glpn("batch", "in", "--out", "out")
    assert run.returncode == 0, run.stderr
    assert b"2 of 2 done" in run.stderr
    assert b"7 up to date" in run.stderr
    assert files(tmp_path) == GOOD | {"new.depth.png", "glpn-batch.jsonl"}
    for name in GOOD - {"coffee.depth.png"}:
        assert (tmp_path / "out" / name).stat().st_mtime_ns == before[name]
    assert sorted(Path(line["source"]).name for line in lines(tmp_path)) == sorted(
        path.name for path in (tmp_path / "in").rglob("*.*") if path.suffix != ".txt"
    )
    run = glpn("batch", "in", "--out", "out")
    assert run.returncode == 0
    assert b"all 9 images are up to date" in run.stderr


@pytest.mark.usefixtures("folder")
def test_overwrite_redoes_all_images(glpn: Glpn, tmp_path: Path) -> None:
    glpn("batch", "in", "--out", "out")
    before = (tmp_path / "out" / "coffee.depth.png").stat().st_mtime_ns
    run = glpn("batch", "in", "--out", "out", "--overwrite")
    assert b"8 of 11 done" in run.stderr
    assert (tmp_path / "out" / "coffee.depth.png").stat().st_mtime_ns != before
    assert len(lines(tmp_path)) == 11


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("options", "before"),
    [
        (("--precision", "bfloat16"), "float32"),
        (("--format", "npy"), "png"),
        (("--normalize", "minmax"), "max"),
        (("--input-size", "64x64"), "model"),
        (("--scale", "published"), "meters"),
        (("--tiles", "96x128"), "off"),
    ],
)
def test_changed_settings_need_overwrite(glpn: Glpn, tmp_path: Path, options: tuple[str, str], before: str) -> None:
    glpn("batch", "in", "--out", "out", "-q")
    done = (tmp_path / "out" / "glpn-batch.jsonl").read_text().count("done")
    run = glpn("batch", "in", "--out", "out", *options)
    assert run.returncode == 2
    error, hint = run.stderr.decode().splitlines()[-2:]
    assert all(text in error for text in (str(tmp_path / "out"), *options, before))
    assert all(flag in hint for flag in ("--overwrite", "--output"))
    assert (tmp_path / "out" / "glpn-batch.jsonl").read_text().count("done") == done
    assert glpn("batch", "in", "--out", "out", *options, "--overwrite").returncode == 7
    assert glpn("batch", "in", "--out", "out", *options).returncode == 7


@pytest.mark.usefixtures("folder")
def test_other_weights_are_changed_settings(glpn: Glpn, tmp_path: Path) -> None:
    import glpn_cli

    glpn("batch", "in", "--out", "out", "-q")
    bundled = Path(glpn_cli.__file__).parent / "weights" / "glpn-tiny.safetensors"
    network = glpn_cli.GLPNForDepthEstimation.from_pretrained(bundled)
    network.config.max_depth = 40
    network.save_pretrained(tmp_path / "mine")
    run = glpn("batch", "in", "--out", "out", "-w", "mine")
    assert run.returncode == 2
    assert b"SHA-256 of the weights" in run.stderr
    assert b"`" not in run.stderr


@pytest.mark.usefixtures("folder")
def test_a_failed_overwrite_changes_nothing(glpn: Glpn, tmp_path: Path) -> None:
    glpn("batch", "in", "--out", "out", "-q")
    before = (tmp_path / "out" / "glpn-batch.jsonl").read_bytes()
    assert glpn("batch", "in", "--out", "out", "--overwrite", "-w", "no-such").returncode == 3
    assert glpn("batch", "in", "--out", "out", "--precision", "bfloat16").returncode == 2
    assert (tmp_path / "out" / "glpn-batch.jsonl").read_bytes() == before


@pytest.mark.usefixtures("folder")
def test_depth_beside_the_images_leaves_them_unchanged(glpn: Glpn, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (tmp_path / "in").rglob("*") if path.is_file()}
    assert glpn("batch", "in", "--out", "in").returncode == 7
    assert glpn("batch", "in", "--out", "in", "--overwrite").returncode == 7
    assert all(path.read_bytes() == data for path, data in before.items())
    assert (tmp_path / "in" / "sub" / "deep" / "b.depth.png").exists()
    assert not list((tmp_path / "in").rglob("*.depth.depth.*"))


@pytest.mark.usefixtures("folder")
def test_a_dry_run_writes_nothing(glpn: Glpn, tmp_path: Path) -> None:
    run = glpn("batch", "in", "--out", "out", "--dry-run")
    assert run.returncode == 0
    assert not (tmp_path / "out").exists()
    assert len(run.stdout.splitlines()) == 11
    assert b"coffee.depth.png: pending" in run.stdout
    glpn("batch", "in", "--out", "out", "-q")
    assert glpn("batch", "in", "--out", "out", "--dry-run").stdout.count(b"up to date") == 8


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nowhere", "--out", "out"], 2),
        (["in/coffee.png", "--out", "out"], 2),
        (["in"], 2),
        (["in/sub/none", "--out", "out"], 4),
        (["in", "--out", "in/coffee.png"], 6),
        (["in", "--out", "out", "--weights", "no-such"], 3),
        (["in", "--out", "out", "--device", "cuda:9"], 5),
        (["in", "--out", "out", "--workers", "0"], 2),
    ],
)
@pytest.mark.usefixtures("folder")
def test_every_failure_has_its_exit_code(glpn: Glpn, tmp_path: Path, arguments: list[str], code: int) -> None:
    (tmp_path / "in" / "sub" / "none").mkdir()
    run = glpn("batch", *arguments)
    assert run.returncode == code, run.stderr
    assert b"Traceback" not in run.stderr


def test_one_kind_of_failure_has_its_own_code(glpn: Glpn, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_text("no")
    assert glpn("batch", "in", "--out", "out").returncode == 4


def test_control_characters_in_names_are_escaped(glpn: Glpn, tmp_path: Path, make_image: Callable[..., Path]) -> None:
    make_image("in/\x1b[31mred\n.png")
    (tmp_path / "in" / "\x1b[31mbad\n.png").write_text("x")
    run = glpn("batch", "in", "--out", "out")
    assert run.returncode == 7
    assert b"\x1b" not in run.stderr
    assert (tmp_path / "out" / "\x1b[31mred\n.depth.png").exists()
    assert len(lines(tmp_path)) == 2
    assert b"\x1b" not in glpn("batch", "in", "--out", "out", "--dry-run").stdout


def many(make_image: Callable[..., Path], count: int) -> None:
    for index in range(count):
        make_image(f"in/{index % 3}/{index:03}.png", 200, 300)


BATCH = ("batch", "in", "--out", "out", "-f", "png", "-f", "npy")


@pytest.fixture
def at_output(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int, Callable[[], object]], None]:
    """Return a function that replaces a function of `os`, such that right after its Nth call something happens."""

    def arrange(name: str, number: int, event: Callable[[], object]) -> None:
        function, calls = getattr(os, name), itertools.count(1)

        def watched(*arguments: Any, **keywords: Any) -> Any:
            result = function(*arguments, **keywords)
            if next(calls) == number:
                event()
            return result

        monkeypatch.setattr(os, name, watched)

    return arrange


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_the_same_command_resumes_after_an_interrupt(
    glpn: Glpn,
    tmp_path: Path,
    make_image: Callable[..., Path],
    warm_python: list[str],
    signal_number: signal.Signals,
) -> None:
    many(make_image, 20)
    process = start_watched(warm_python, tmp_path, f"rename:5:after:{signal_number.name}", BATCH)
    _, stderr = process.communicate(timeout=HANG_S)
    assert process.returncode == 130
    assert b"Traceback" not in stderr
    assert b"interrupted: " in stderr
    finished = len(list((tmp_path / "out").rglob("*.npy")))
    assert 0 < finished < 20
    assert len(lines(tmp_path)) == finished
    run = glpn(*BATCH)
    assert run.returncode == 0
    assert f"{20 - finished} of {20 - finished} done".encode() in run.stderr
    assert len(lines(tmp_path)) == 20


def test_an_error_of_closing_ends_a_batch_in_one_line(
    glpn: Glpn, tmp_path: Path, make_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    many(make_image, 2)
    close, begin = os.close, Manifest.begin
    broken: list[int] = []

    def fail(descriptor: int) -> None:
        close(descriptor)
        if descriptor in broken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:

        def begin_and_break(manifest: Manifest) -> None:
            begin(manifest)
            broken.extend(file._descriptor for file in manifest._open_files.values())
            patch.setattr(os, "close", fail)

        patch.setattr(Manifest, "begin", begin_and_break)
        run = glpn(*BATCH)
    assert run.returncode == 6, run.stderr
    assert run.stderr.count(b"error: ") == 1
    assert b"Traceback" not in run.stderr
    run = glpn(*BATCH)
    assert run.returncode == 0, run.stderr
    assert b"up to date" in run.stderr


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_an_interrupted_overwrite_resumes(
    glpn: Glpn, tmp_path: Path, make_image: Callable[..., Path], at_output: Callable[..., None]
) -> None:
    many(make_image, 20)
    assert glpn(*BATCH).returncode == 0
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.npy")}
    at_output("replace", 6, lambda: signal.raise_signal(signal.SIGINT))
    assert glpn(*BATCH, "--overwrite").returncode == 130
    second = {path: path.stat().st_mtime_ns for path in first}
    redone = {path for path in first if second[path] != first[path]}
    assert 0 < len(redone) < 20
    run = glpn(*BATCH, "--overwrite")
    assert run.returncode == 0, run.stderr
    assert f"{20 - len(redone)} of {20 - len(redone)} done".encode() in run.stderr
    assert all(path.stat().st_mtime_ns == second[path] for path in redone)
    assert all(path.stat().st_mtime_ns != first[path] for path in first)


@pytest.mark.skipif(os.name == "nt", reason="Windows gives files their names in another way")
def test_a_second_batch_into_the_same_folder_is_refused(
    glpn: Glpn, glpn_process: Glpn, tmp_path: Path, make_image: Callable[..., Path], at_output: Callable[..., None]
) -> None:
    many(make_image, 6)
    second: list[subprocess.CompletedProcess[bytes]] = []
    at_output("link", 1, lambda: second.append(glpn_process(*BATCH)))  # while the first one writes
    assert glpn(*BATCH).returncode == 0
    assert [run.returncode for run in second] == [6]
    assert str(tmp_path / "out").encode() in second[0].stderr
    assert len(lines(tmp_path)) == 6


def ranges(tmp_path: Path) -> set[tuple[float, float]]:
    """Return the ranges in the metadata of all color images."""
    found = set()
    for path in (tmp_path / "out").rglob("*.depth-color.png"):
        with Image.open(path) as image:
            facts = json.loads(image.info["glpn"])
        found.add((facts["low"], facts["high"]))
    return found


@pytest.mark.usefixtures("folder")
def test_all_colors_of_a_batch_share_one_range(glpn: Glpn, tmp_path: Path) -> None:
    command = ("batch", "in", "--out", "out", "-f", "color", "-f", "npy", "--range", "run")
    run = glpn(*command)
    assert b"sample of 8" in run.stderr
    ((low, high),) = ranges(tmp_path)
    done = [line for line in lines(tmp_path) if line["status"] == "done"]
    assert len(done) == len(GOOD)
    settings = [record.settings for record in read_records(tmp_path / "out").values()]
    assert len(settings) == len(done)
    assert {tuple(recorded["range_m"]) for recorded in settings} == {(low, high)}

    # Images of later runs get the same range.
    shutil.copy(tmp_path / "in" / "coffee.png", tmp_path / "in" / "more.png")
    next((tmp_path / "out").glob("coffee.depth-color.png")).unlink()
    run = glpn(*command)
    assert b"sample" not in run.stderr
    assert len(list((tmp_path / "out").rglob("*.depth-color.png"))) == len(GOOD) + 1
    assert ranges(tmp_path) == {(low, high)}


@pytest.mark.usefixtures("folder")
def test_a_range_in_meters_applies_to_gray_images(glpn: Glpn, tmp_path: Path) -> None:
    glpn("batch", "in", "--out", "out", "-f", "color", "-f", "png", "--range", "1:3")
    assert ranges(tmp_path) == {(1.0, 3.0)}
    with Image.open(tmp_path / "out" / "coffee.depth.png") as image:
        facts = json.loads(image.info["glpn"])
    assert (facts["low"], facts["high"], facts["range"]) == (1.0, 3.0, "1:3")
    run = glpn("batch", "in", "--out", "out", "-f", "color", "-f", "png", "--range", "1:4")
    assert run.returncode == 2
    assert b"--range was 1:3, now 1:4" in run.stderr
    run = glpn("batch", "in", "--out", "out", "-f", "color", "-f", "png")
    assert b"--range was 1:3" in run.stderr
    glpn("batch", "in", "--out", "out", "-f", "color", "-f", "png", "--overwrite")
    assert len(ranges(tmp_path)) > 1, "each image has its own"
    assert (1.0, 3.0) not in ranges(tmp_path)


def test_3d_and_augmentation_settings_are_recorded(glpn: Glpn, tmp_path: Path, make_image: Callable[..., Path]) -> None:
    for name in ("in/a.png", "in/b.png"):
        make_image(name)
    run = glpn("batch", "in", "--out", "out", "-f", "ply", "-f", "uncertainty", "--tta", "flip")
    assert run.returncode == 0, run.stderr
    assert b"2 of 2 images" in run.stderr
    assert b"--fov-deg" in run.stderr
    assert sorted(path.name for path in tmp_path.glob("out/*.*") if not path.name.startswith(("glpn", "."))) == [
        "a.ply",
        "a.uncertainty.tiff",
        "b.ply",
        "b.uncertainty.tiff",
    ]
    lines = (tmp_path / "out/glpn-batch.jsonl").read_text().splitlines()
    settings = json.loads(lines[0])["settings"]
    assert (settings["tta"], settings["camera"]) == ("flip", "of each image")
    for other in (("--tta", "flip", "--fov-deg", "60"), ("--tta", "flip", "--edge-filter", "0.2")):
        again = glpn("batch", "in", "--out", "out", "-f", "ply", "-f", "uncertainty", *other)
        assert again.returncode == 2, other
        assert other[3].encode() in again.stderr


@pytest.mark.parametrize("flag", ["-o", "--output", "--out"])
def test_the_output_option_has_three_names(glpn: Glpn, make_image: Callable[..., Path], flag: str) -> None:
    make_image("in/a.png")
    assert glpn("batch", "in", flag, "out", "--dry-run").stdout.count(b"a.depth.png") == 1


def test_json_has_an_object_per_image(glpn: Glpn, tmp_path: Path, make_image: Callable[..., Path]) -> None:
    make_image("in/a.png")
    (tmp_path / "in" / "bad.png").write_text("not an image")
    run = glpn("batch", "in", "--out", "out", "-f", "png,npy", "--json")
    assert run.returncode == 7
    done, failed = sorted((json.loads(line) for line in run.stdout.splitlines()), key=lambda record: record["status"])
    assert (done["status"], list(done["outputs"]), list(done["sha256"])) == ("done", ["png", "npy"], ["png", "npy"])
    assert all(Path(path).is_file() for path in done["outputs"].values())
    assert (failed["status"], failed["error"]["exit_code"]) == ("failed", 4)
    assert "bad.png" in failed["error"]["message"]
    again = glpn("batch", "in", "--out", "out", "-f", "png,npy", "--json")
    current, failed = (json.loads(line) for line in again.stdout.splitlines())
    assert (current["status"], current["sha256"]) == ("up to date", done["sha256"])
    assert current["outputs"] == done["outputs"]
    assert failed["status"] == "failed"


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--workers", "x"), ("--batch-size", "0"), ("--format", "pgn"), ("--range", "9:1"), ("--out", "")],
)
def test_invalid_values_name_their_option(
    glpn: Glpn, tmp_path: Path, make_image: Callable[..., Path], flag: str, value: str
) -> None:
    make_image("in/a.png")
    run = glpn("batch", "in", *(() if flag == "--out" else ("--out", "out")), flag, value)
    assert (run.returncode, run.stdout) == (2, b"")
    assert run.stderr.decode().startswith(f"error: {flag}")
    assert not (tmp_path / "out").exists()


def test_verbose_prints_every_image(glpn: Glpn, tmp_path: Path, make_image: Callable[..., Path]) -> None:
    make_image("in/a.png")
    (tmp_path / "in" / "bad.png").write_text("not an image")
    lines = glpn("batch", "in", "--out", "out", "-v").stderr.decode().splitlines()
    for name in ("a.png", "bad.png"):
        assert any(line.startswith(f"{tmp_path / 'in' / name}: ") for line in lines)


def test_a_long_list_of_failures_is_cut(glpn: Glpn, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for index in range(25):
        (tmp_path / "in" / f"{index}.png").write_text("not an image")
    run = glpn("batch", "in", "--out", "out")
    assert run.returncode == 4
    assert run.stderr.count(b"error: ") == 20
    assert run.stderr.count(b"hint: ") == 1
    assert b"5 more" in run.stderr


def test_python_runs_the_same_batch(glpn: Glpn, tmp_path: Path, make_image: Callable[..., Path]) -> None:
    import glpn_cli

    make_image("in/a.png")
    records = glpn_cli.run_batch(tmp_path / "in", tmp_path / "out", formats=["npy"])
    assert [record.status for record in records] == ["done"]
    run = glpn("batch", "in", "--out", "out", "-f", "npy")
    assert run.returncode == 0
    assert b"all 1 images are up to date" in run.stderr
