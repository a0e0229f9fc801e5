"""`glpn predict`: its files, messages, JSON records and exit codes."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import glpn_cli
from e2e.watched_glpn import start_watched
from glpn_cli.output.formats import FORMATS, ReadsBack
from glpn_cli.settings import RunSettings
from glpn_cli.weights.catalog import CATALOG
from waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Callable

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

pytestmark = pytest.mark.usefixtures("photos")
WORKING_SIZE = CATALOG["tiny"].card.working_size


@pytest.fixture
def photos(tmp_path: Path, photo: Path, make_image: Callable[..., Path]) -> None:
    """A real photo, a small image, and two files that are not images."""
    shutil.copy(photo, tmp_path / "coffee.png")
    make_image("small.jpg")
    (tmp_path / "text.jpg").write_text("not an image at all")
    (tmp_path / "empty.png").touch()


def test_depth_of_a_photo_is_written_beside_it(glpn: Glpn, tmp_path: Path) -> None:
    run = glpn("predict", "coffee.png")
    assert run.returncode == 0, run.stderr
    assert run.stdout == b""
    assert b"coffee.depth.png" in run.stderr
    with Image.open(tmp_path / "coffee.depth.png") as image:
        assert (image.mode, image.size) == ("L", (600, 400))
        gray = np.asarray(image)
    meters = glpn_cli.load().predict(tmp_path / "coffee.png").meters
    # The documented formula, whose rounding can leave the farthest pixel at 254.
    np.testing.assert_array_equal(gray, (meters * 255 / meters.max()).astype(np.uint8))
    assert gray.max() >= 254
    assert gray.std() > 10


def test_default_weights_get_a_note(glpn: Glpn) -> None:
    assert glpn("predict", "small.jpg").stderr.count(b"approximate") == 1
    assert b"approximate" not in glpn("predict", "small.jpg", "--weights", "tiny", "--overwrite").stderr
    assert glpn("predict", "small.jpg", "--quiet", "--overwrite").stderr == b""


def test_gray_images_follow_the_documented_formula(glpn: Glpn, tmp_path: Path) -> None:
    assert glpn("predict", "coffee.png", "-f", "png", "-f", "npy").returncode == 0
    meters = np.load(tmp_path / "coffee.depth.npy")
    assert (meters.shape, meters.dtype) == ((400, 600), np.float32)
    assert 0 <= meters.min() < meters.max() <= 80
    documented = (meters * 255 / np.max(meters)).astype("uint8")
    with Image.open(tmp_path / "coffee.depth.png") as image:
        np.testing.assert_array_equal(np.asarray(image), documented)


def test_minmax_uses_all_gray_levels(glpn: Glpn, tmp_path: Path) -> None:
    assert glpn("predict", "coffee.png", "--normalize", "minmax").returncode == 0
    with Image.open(tmp_path / "coffee.depth.png") as image:
        assert (np.asarray(image).min(), np.asarray(image).max()) == (0, 255)


def test_json_is_one_object_per_image(glpn: Glpn, tmp_path: Path) -> None:
    run = glpn("predict", "coffee.png", "text.jpg", "--json", "-f", "npy", "-o", "out/")
    assert run.returncode == 7
    done, failed = (json.loads(line) for line in run.stdout.splitlines())
    meters = np.load(tmp_path / "out" / "coffee.depth.npy")
    assert done["status"] == "done"
    assert done["outputs"] == {"npy": "out/coffee.depth.npy"}
    assert done["depth_m"] == {
        "min": pytest.approx(float(meters.min())),
        "median": pytest.approx(float(np.median(meters))),
        "max": pytest.approx(float(meters.max())),
    }
    assert done["image_size"] == {"height": 400, "width": 600}
    assert (*done["network_size"].values(),) == WORKING_SIZE
    assert done["weights"]["name"] == "tiny"
    assert len(done["weights"]["sha256"]) == 64
    assert (done["device"], done["precision"]) == ("cpu", "float32")
    assert {"decode", "preprocess", "network", "upsample", "encode", "write"} <= done["elapsed_ms"].keys()
    assert all(milliseconds > 0 for milliseconds in done["elapsed_ms"].values())
    assert (failed["source"], failed["status"], failed["error"]["exit_code"]) == ("text.jpg", "failed", 4)


def test_standard_input_goes_to_standard_output(glpn_process: Glpn, tmp_path: Path) -> None:
    data = (tmp_path / "coffee.png").read_bytes()
    run = glpn_process("predict", "-", stdin=data)
    assert run.returncode == 0, run.stderr
    with Image.open(io.BytesIO(run.stdout)) as image:
        assert image.size == (600, 400)
    run = glpn_process("predict", "-", "-o", "-", "-f", "npy", stdin=data)
    assert np.load(io.BytesIO(run.stdout)).shape == (400, 600)
    assert not list(tmp_path.glob("*.depth.*"))


def test_standard_input_can_go_to_a_file(glpn: Glpn, tmp_path: Path) -> None:
    assert glpn("predict", "-", "-o", "x.npy", stdin=(tmp_path / "small.jpg").read_bytes()).returncode == 0
    assert np.load(tmp_path / "x.npy").shape == (48, 64)
    run = glpn("predict", "-", "-o", "y.npy", stdin=b"")
    assert (run.returncode, (tmp_path / "y.npy").exists()) == (4, False)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["text.jpg"], 4),
        (["gone.jpg"], 4),
        (["text.jpg", "empty.png", "gone.jpg"], 4),
        (["no*thing.jpg"], 4),
        (["small.jpg", "text.jpg"], 7),
        (["small.jpg", "coffee.png", "-o", "-"], 2),
        (["small.jpg", "-o", "-", "--json"], 2),
        (["small.jpg", "-o", "x.jpg"], 2),
        (["small.jpg", "--input-size", "100x100"], 2),
        (["small.jpg", "--input-size", "huge"], 2),
        (["small.jpg", "--precision", "int8"], 2),
        (["small.jpg", "--device", "gpu"], 2),
        (["small.jpg", "--device", "cuda:77"], 5),
        (["small.jpg", "--weights", "nothing-of-the-kind"], 3),
        (["small.jpg", "--weights", "text.jpg"], 3),
        (["small.jpg", "-o", "gone/x.png"], 6),
        (["--nonsense"], 2),
        ([], 2),
    ],
)
def test_every_failure_has_its_exit_code_and_no_traceback(glpn: Glpn, arguments: list[str], code: int) -> None:
    run = glpn("predict", *arguments)
    assert run.returncode == code, run.stderr.decode()
    assert b"Traceback" not in run.stderr
    assert run.stdout == b""


def test_an_error_is_one_line_with_a_hint(glpn: Glpn) -> None:
    lines = glpn("predict", "small.jpg", "--weights", "kiti").stderr.decode().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["error", "hint"]
    assert "kitti" in lines[1]


def test_debug_shows_tracebacks(glpn: Glpn) -> None:
    assert b"Traceback" in glpn("predict", "text.jpg", "--debug").stderr
    assert b"Traceback" in glpn("predict", "small.jpg", "--threads", "x", "--debug").stderr


def test_one_bad_image_does_not_stop_the_rest(glpn: Glpn, tmp_path: Path) -> None:
    run = glpn("predict", "text.jpg", "small.jpg", "empty.png", "coffee.png")
    assert run.returncode == 7
    assert sorted(path.name for path in tmp_path.glob("*.depth.png")) == ["coffee.depth.png", "small.depth.png"]
    assert b"2 of 4" in run.stderr


def test_existing_outputs_need_overwrite(glpn: Glpn, tmp_path: Path) -> None:
    (tmp_path / "small.depth.png").write_bytes(b"precious")
    run = glpn("predict", "small.jpg")
    assert run.returncode == 6
    assert b"--overwrite" in run.stderr
    run = glpn("predict", "small.jpg", "coffee.png")
    assert run.returncode == 7
    assert (tmp_path / "small.depth.png").read_bytes() == b"precious"
    assert (tmp_path / "coffee.depth.png").exists()
    assert glpn("predict", "small.jpg", "--overwrite").returncode == 0
    assert (tmp_path / "small.depth.png").read_bytes() != b"precious"


def test_outputs_of_the_same_image_and_settings_are_up_to_date(glpn: Glpn, tmp_path: Path) -> None:
    wanted = ("predict", "small.jpg", "coffee.png", "-f", "png,npy", "--json")
    assert glpn(*wanted).returncode == 0
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.glob("*.depth.*")}
    run = glpn(*wanted)
    assert run.returncode == 0, run.stderr
    assert run.stderr.count(b"up to date") == 3  # each image, and the summary
    for line in run.stdout.splitlines():
        record = json.loads(line)
        assert record["status"] == "up to date"
        assert record["outputs"].keys() == record["sha256"].keys() == {"png", "npy"}
    assert before == {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.glob("*.depth.*")}
    assert glpn("predict", "small.jpg", "-f", "png,npy", "--normalize", "minmax").returncode == 6
    assert glpn("predict", "small.jpg", "-f", "png", "--tta", "flip").returncode == 6
    shutil.copy(tmp_path / "coffee.png", tmp_path / "small.jpg")
    assert glpn("predict", "small.jpg", "-f", "npy").returncode == 6
    assert glpn("predict", "small.jpg").returncode == 6
    assert before["small.depth.png"][1] == (tmp_path / "small.depth.png").read_bytes()


def test_json_and_preview_alone_write_no_file(glpn: Glpn, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    run = glpn("predict", "small.jpg", "--json")
    assert run.returncode == 0, run.stderr
    record = json.loads(run.stdout)
    assert (record["status"], record["outputs"], record["sha256"]) == ("done", {}, {})
    assert record["depth_m"]["min"] > 0
    assert glpn("predict", "-", "--json", stdin=(tmp_path / "small.jpg").read_bytes()).returncode == 0
    run = glpn("predict", "small.jpg", "--preview", "--colormap", "magma")
    assert (run.returncode, run.stdout) == (0, b"")
    assert len(run.stderr.splitlines()) > 5
    assert sorted(tmp_path.iterdir()) == before
    assert glpn("predict", "small.jpg", "--json", "-f", "npy").returncode == 0
    assert glpn("predict", "small.jpg", "--preview", "-o", "x.npz").returncode == 0
    assert {path.name for path in tmp_path.iterdir()} - {path.name for path in before} == {"small.depth.npy", "x.npz"}


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["small.jpg", "coffee.png", "-o", "out.npz"], 2, b"out.npz"),
        (["small.jpg", "-f", "npz,png", "-o", "out.npz"], 2, b"2 formats"),
        (["small.jpg", "out.npz"], 7, b"--output out.npz"),
        (["small.jpg", "--threads", ""], 2, b"empty"),
    ],
)
def test_slips_with_outputs_name_what_was_meant(
    glpn: Glpn, tmp_path: Path, arguments: list[str], code: int, named: bytes
) -> None:
    run = glpn("predict", *arguments)
    assert run.returncode == code, run.stderr
    assert named in run.stderr
    assert not (tmp_path / "out.npz").exists()


def test_names_of_outputs_mean_files_or_folders(glpn: Glpn, tmp_path: Path) -> None:
    assert glpn("predict", "small.jpg", "-o", "depths").returncode == 0
    assert (tmp_path / "depths" / "small.depth.png").is_file()
    assert glpn("predict", "small.jpg", f"--out={'~'}/home.tif", HOME=str(tmp_path)).returncode == 0
    assert json.loads(glpn("info", "home.tif", "--json").stdout)["format"] == "tiff"
    assert glpn("predict", (tmp_path / "small.jpg").as_uri(), "-f", "png,", "-o", "url.png").returncode == 0
    assert (tmp_path / "url.png").is_file()


def test_an_image_that_says_little_gets_a_note_and_a_remedy(glpn: Glpn, tmp_path: Path) -> None:
    with Image.open(tmp_path / "coffee.png") as image:
        gray = np.asarray(image.convert("L")).astype(np.uint16)
    Image.fromarray(gray * 16).save(tmp_path / "twelve.png")
    run = glpn("predict", "twelve.png", "-f", "npy")
    assert b"--stretch" in run.stderr
    assert b"--stretch" not in glpn("predict", "twelve.png", "-o", "seen.npy", "--stretch").stderr
    Image.fromarray(gray * 257).save(tmp_path / "full.png")
    assert b"--stretch" not in glpn("predict", "full.png", "-o", "full.npy").stderr
    full, dark, seen = (np.load(tmp_path / name).ravel() for name in ("full.npy", "twelve.depth.npy", "seen.npy"))
    assert np.corrcoef(full, seen)[0, 1] > 0.95 > np.corrcoef(full, dark)[0, 1]


def test_no_weights_are_loaded_for_existing_outputs(glpn: Glpn, tmp_path: Path) -> None:
    (tmp_path / "small.depth.png").touch()
    run = glpn("predict", "small.jpg", "--weights", "no-such-weights")
    assert run.returncode == 6  # not 3: the weights were not searched


def test_a_second_run_on_a_folder_skips_outputs(glpn: Glpn, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").unlink()
    (tmp_path / "empty.png").unlink()
    assert glpn("predict", ".").returncode == 0
    first = {path.name for path in tmp_path.iterdir()}
    assert first == {"coffee.png", "small.jpg", "coffee.depth.png", "small.depth.png"}
    assert glpn("predict", ".", "--overwrite").returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == first


def test_quoted_patterns_are_expanded(glpn: Glpn, tmp_path: Path) -> None:
    assert glpn("predict", "*mall.jpg", "-o", "out/").returncode == 0
    assert (tmp_path / "out" / "small.depth.png").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows does not allow such names")
@pytest.mark.parametrize(
    "name",
    [
        "-v.png",
        "a[red]b.png",
        "t\u00fcr \u56fe \U0001f41f.png",
        "new\nline.png",
        os.fsdecode(b"\xff.png"),
        "a'b\"$x.png",
    ],
)
def test_unusual_file_names_work(glpn: Glpn, tmp_path: Path, name: str) -> None:
    shutil.copy(tmp_path / "coffee.png", tmp_path / name)
    run = glpn("predict", "--json", "-f", "png", "--", name)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / (name[:-4] + ".depth.png")).exists()
    assert json.loads(run.stdout)["source"] == name
    assert len(run.stdout.splitlines()) == 1
    assert b"\xff" not in run.stderr


def test_control_characters_in_names_are_escaped(glpn: Glpn, tmp_path: Path) -> None:
    name = "\x1b[31mred\x1b]0;owned\x07\u202e.jpg"
    (tmp_path / name).write_text("no image")
    run = glpn("predict", name)
    assert run.returncode == 4
    assert not set(run.stderr) & {0x1B, 0x07}
    assert "\u202e" not in run.stderr.decode()


def test_a_locale_without_unicode_works(glpn_process: Glpn, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "small.jpg", tmp_path / "t\u00fcr.jpg")
    run = glpn_process("predict", "t\u00fcr.jpg", anew=True, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "t\u00fcr.depth.png").exists()


@pytest.mark.parametrize("orientation", [3, 6])
def test_depth_is_upright(glpn: Glpn, tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation]
    with Image.open(tmp_path / "coffee.png") as image:
        image.transpose(turn).save(tmp_path / "turned.png", exif=exif)
    assert glpn("predict", "turned.png", "coffee.png", "-f", "npy").returncode == 0
    np.testing.assert_array_equal(np.load(tmp_path / "turned.depth.npy"), np.load(tmp_path / "coffee.depth.npy"))


def test_notes_on_an_image_are_printed(glpn: Glpn, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (40, 40), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    Image.new("RGB", (7, 90)).save(tmp_path / "narrow.png")
    run = glpn("predict", "moving.gif", "narrow.png", "--json")
    assert run.returncode == 0, run.stderr
    moving, narrow = (json.loads(line) for line in run.stdout.splitlines())
    assert "first frame" in " ".join(moving["notes"])
    assert "32 px" in " ".join(narrow["notes"])
    assert b"first frame" in run.stderr
    assert narrow["image_size"] == {"height": 90, "width": 7}


@pytest.mark.parametrize(("size", "seen"), [("native", (384, 576)), ("model", WORKING_SIZE), ("64x160", (64, 160))])
def test_the_input_size_can_be_chosen(glpn: Glpn, size: str, seen: tuple[int, int]) -> None:
    run = glpn("predict", "coffee.png", "--input-size", size, "--json")
    record = json.loads(run.stdout)
    assert (record["network_size"]["height"], record["network_size"]["width"]) == seen
    assert record["image_size"] == {"height": 400, "width": 600}


def test_a_far_larger_input_size_gets_a_note(glpn: Glpn) -> None:
    assert b"--input-size model" in glpn("predict", "coffee.png", "--input-size", "native").stderr
    assert b"--input-size" not in glpn("predict", "coffee.png", "--overwrite").stderr


def test_bfloat16_is_close_to_float32(glpn: Glpn, tmp_path: Path) -> None:
    exact = glpn("predict", "coffee.png", "-o", "exact.npy")
    rough = glpn("predict", "coffee.png", "-o", "rough.npy", "--precision", "bfloat16")
    assert b"float32" in exact.stderr
    assert b"bfloat16" in rough.stderr
    exact_m, rough_m = np.load(tmp_path / "exact.npy"), np.load(tmp_path / "rough.npy")
    assert not np.array_equal(exact_m, rough_m)
    assert np.mean(np.abs(exact_m - rough_m) / exact_m) < 0.03


def test_threads_do_not_change_depth(glpn: Glpn, tmp_path: Path) -> None:
    assert glpn("predict", "coffee.png", "-o", "one.npy", "--threads", "1").returncode == 0
    assert glpn("predict", "coffee.png", "-o", "two.npy", "--threads", "2").returncode == 0
    np.testing.assert_allclose(np.load(tmp_path / "one.npy"), np.load(tmp_path / "two.npy"), rtol=1e-5)


def test_weights_are_files_folders_or_from_the_environment(glpn: Glpn, tmp_path: Path) -> None:
    bundled = Path(glpn_cli.__file__).parent / "weights" / "glpn-tiny.safetensors"
    glpn_cli.GLPNForDepthEstimation.from_pretrained(bundled).save_pretrained(tmp_path / "mine")
    shutil.copy(bundled, tmp_path / "copy.safetensors")
    records = [
        json.loads(
            glpn("predict", "coffee.png", "-f", "npy", "--json", "-o", f"{index}.npy", *how, **environment).stdout
        )
        for index, (how, environment) in enumerate(
            [
                ([], {}),
                (["--weights", "mine"], {}),
                (["--weights", "copy.safetensors"], {}),
                ([], {"GLPN_WEIGHTS": "mine"}),
            ]
        )
    ]
    assert [record["weights"]["name"] for record in records] == ["tiny", "mine", "copy.safetensors", "mine"]
    assert [record["weights"]["metric"] for record in records] == [False] * 4
    assert {record["network_size"]["width"] for record in records} == {WORKING_SIZE[1]}
    assert records[0]["weights"]["sha256"] == records[2]["weights"]["sha256"] != records[1]["weights"]["sha256"]
    first = np.load(tmp_path / "0.npy")
    for index in range(1, 4):
        np.testing.assert_array_equal(np.load(tmp_path / f"{index}.npy"), first)


def test_color_can_be_chosen(glpn: Glpn) -> None:
    def is_colored(*arguments: str, **environment: str) -> bool:
        return b"\x1b[" in glpn("predict", "text.jpg", *arguments, **environment).stderr

    assert not is_colored()
    assert is_colored("--color", "always", NO_COLOR="")
    assert not is_colored("--color", "never", FORCE_COLOR="1", NO_COLOR="")
    assert is_colored(FORCE_COLOR="1", NO_COLOR="")


def test_verbose_prints_the_time_of_each_stage(glpn: Glpn) -> None:
    assert b"network" in glpn("predict", "small.jpg", "-v").stderr
    assert b"upsample" not in glpn("predict", "small.jpg", "--overwrite").stderr


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_exits_with_130(
    tmp_path: Path, make_image: Callable[..., Path], warm_python: list[str], signal_number: signal.Signals
) -> None:
    for index in range(20):
        make_image(f"many/{index:02}.png")
    # The process sends itself the signal when it has written two files, however busy the machine is.
    aim = f"rename:2:after:{signal_number.name}"
    process = start_watched(warm_python, tmp_path, aim, ["predict", "many", "-o", "out/"])
    _, stderr = process.communicate(timeout=HANG_S)
    assert process.returncode == 130
    assert b"Traceback" not in stderr
    assert b"interrupted: " in stderr
    finished = list((tmp_path / "out").iterdir())
    assert 0 < len(finished) < 20
    assert f"interrupted: {len(finished)} of 20 done".encode() in stderr
    for path in finished:
        assert path.name.endswith(".depth.png"), "a temporary file was left"
        with Image.open(path) as image:
            image.load()


def in_bash(python: list[str], tmp_path: Path, line: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash in which `glpn` is the program; `python` starts Python."""
    script = f'glpn() {{ {shlex.join(python)} -m glpn_cli "$@"; }}; {line}'
    return subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, check=False)


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_a_closed_pipe_ends_the_run(tmp_path: Path, warm_python: list[str]) -> None:
    for index in range(40):
        shutil.copy(tmp_path / "small.jpg", tmp_path / f"many{index}.jpg")
    run = in_bash(warm_python, tmp_path, "glpn predict many*.jpg --json -q -o out/ | sleep 0; exit ${PIPESTATUS[0]}")
    assert run.returncode == 141
    assert run.stderr == b""
    assert 0 < len(list((tmp_path / "out").iterdir())) < 40


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
@pytest.mark.parametrize("stderr", ["2>/dev/full", "2>&1 >/dev/null | sleep 0; exit ${PIPESTATUS[0]}"])
def test_unwritable_messages_do_not_stop_the_work(tmp_path: Path, warm_python: list[str], stderr: str) -> None:
    run = in_bash(warm_python, tmp_path, f"glpn predict coffee.png small.jpg -v -o out/ {stderr}")
    assert run.returncode == 0
    assert len(list((tmp_path / "out").iterdir())) == 2


SEVERAL_COMMANDS = """
import sys
from glpn_cli.cli.app import main
for line in sys.argv[1:]:
    sys.argv = ["glpn", *line.split()]
    try:
        main()
    except SystemExit as end:
        print(end.code)
"""


@pytest.mark.skipif(shutil.which("setpriv") is None or os.name == "nt", reason="needs setpriv")
def test_a_forbidden_folder_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir()
    shutil.copy(tmp_path / "small.jpg", tmp_path / "locked")
    (tmp_path / "locked").chmod(0o444)
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    lines = [
        "predict small.jpg locked/small.jpg locked/*.jpg locked -o out/",
        "batch . --out all",
        "predict small.jpg -o locked/x.png",
    ]
    try:
        run = subprocess.run(
            [*drop, sys.executable, "-c", SEVERAL_COMMANDS, *lines], cwd=tmp_path, capture_output=True, check=False
        )
    finally:
        (tmp_path / "locked").chmod(0o755)
    assert run.stdout.split() == [b"7", b"7", b"6"], run.stderr
    assert b"Traceback" not in run.stderr
    assert (tmp_path / "out" / "small.depth.png").exists()
    assert (tmp_path / "all" / "small.depth.png").exists()


def test_failures_release_their_memory(glpn: Glpn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gc
    import weakref

    from glpn_cli.errors import ImageError
    from glpn_cli.inference.predictor import Predictor

    alive: list[weakref.ref[Any]] = []
    most = 0

    def fail(self: Predictor, *arguments: object, **keywords: object) -> None:
        nonlocal most
        gc.collect()
        most = max(most, sum(reference() is not None for reference in alive))
        large = np.zeros(10)
        alive.append(weakref.ref(large))
        raise ImageError("broken")

    monkeypatch.setattr(Predictor, "prepare", fail)
    for index in range(20):
        shutil.copy(tmp_path / "small.jpg", tmp_path / f"{index}.jpg")
    gc.freeze()  # a collection takes half a second if it visits all of torch
    try:
        assert glpn("predict", *(f"{index}.jpg" for index in range(20))).returncode == 4
    finally:
        gc.unfreeze()
    assert most <= RunSettings().worker_count + 2  # those that are read ahead


def test_the_published_scale_is_that_of_transformers(glpn: Glpn, tmp_path: Path) -> None:
    folder = tmp_path / "eight"
    network = glpn_cli.GLPNForDepthEstimation.from_pretrained(
        Path(glpn_cli.__file__).parent / "weights" / "glpn-tiny.safetensors"
    )
    network.checkpoint_metadata |= {"meters_per_unit": "8", "depth_limit_m": "640"}
    network.save_pretrained(folder)
    for scale in ("meters", "published"):
        run = glpn("predict", "coffee.png", "-w", "eight", "--scale", scale, "-o", f"{scale}.npy", "--json")
        assert json.loads(run.stdout)["scale"] == scale
        assert glpn("predict", "coffee.png", "-w", "eight", "--scale", scale, "-o", f"{scale}.png").returncode == 0
    meters, published = np.load(tmp_path / "meters.npy"), np.load(tmp_path / "published.npy")
    np.testing.assert_allclose(meters, published * 8, rtol=1e-6)
    assert meters.max() > 8
    np.testing.assert_allclose(
        glpn_cli.read(tmp_path / "published.png").meters, glpn_cli.read(tmp_path / "meters.png").meters, atol=0.1
    )


@pytest.mark.skipif(os.name == "nt", reason="POSIX shell")
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("predict - <&-", 2),
        ("predict small.jpg -o - >&-", 6),
        ("predict small.jpg 2>&-", 0),
        ("predict gone.jpg 2>&-", 4),
    ],
)
def test_closed_streams_do_not_crash(tmp_path: Path, warm_python: list[str], command: str, code: int) -> None:
    run = in_bash(warm_python if "small" in command else [sys.executable], tmp_path, f"glpn {command}")
    assert run.returncode == code, run.stderr
    assert b"Traceback" not in run.stderr


def test_one_pass_writes_every_format(glpn: Glpn, tmp_path: Path) -> None:
    wanted = [argument for name in FORMATS for argument in ("-f", name)]
    run = glpn("predict", "small.jpg", *wanted, "--tta", "flip", "--json", "-o", "out/")
    assert run.returncode == 0, run.stderr
    outputs = json.loads(run.stdout)["outputs"]
    assert outputs == {row.name: f"out/small{row.ending}" for row in FORMATS.values()}
    meters = np.load(tmp_path / outputs["npy"])
    for row in FORMATS.values():
        if row.reads_back is not ReadsBack.NEVER:
            back = glpn_cli.read(tmp_path / outputs[row.name])
            cut = (meters - np.clip(meters, *np.percentile(meters, (1, 99)))) if row.name == "disparity16" else 0
            assert np.abs(back.meters - meters + cut).max() <= meters.max() / 255


def test_outputs_are_never_inputs(glpn: Glpn, tmp_path: Path) -> None:
    wanted = [argument for name in FORMATS for argument in ("-f", name)]
    assert glpn("predict", "small.jpg", *wanted, "--tta", "flip", "-o", "out/").returncode == 0
    for index, path in enumerate(sorted((tmp_path / "out").iterdir())):
        shutil.copy(path, tmp_path / "out" / f"renamed{index}{path.suffix}")
    shutil.copy(tmp_path / "small.jpg", tmp_path / "out" / "frame.color.png")
    run = glpn("predict", "out", "-o", "again/", "--json")
    assert [json.loads(line)["source"] for line in run.stdout.splitlines()] == ["out/frame.color.png"]
    assert glpn("batch", "out", "--out", "mirror").returncode == 0
    assert [path.name for path in (tmp_path / "mirror").glob("*.png")] == ["frame.color.depth.png"]


def test_the_output_name_determines_the_format(glpn: Glpn, tmp_path: Path) -> None:
    for name, options, expected in (
        ("a.depth16.png", [], "png16"),
        ("b.color.png", ["--legend"], "color"),
        ("b2.png", ["--legend"], "color"),
        ("b3.disparity16.png", [], "disparity16"),
        ("c.png", ["-f", "color"], "color"),
        ("d.png", ["-f", "png16"], "png16"),
        ("e.png", [], "png"),
    ):
        assert glpn("predict", "small.jpg", "-o", name, *options).returncode == 0
        assert json.loads(glpn("info", name, "--json").stdout)["format"] == expected
    run = glpn("predict", "small.jpg", "-o", "x.depth16.png", "-f", "png")
    assert run.returncode == 2
    assert b"--output" in run.stderr
    assert b"--format" in run.stderr


def test_legend_and_photo_surround_the_depth(glpn: Glpn, tmp_path: Path) -> None:
    run = glpn("predict", "coffee.png", "--legend", "--side-by-side", "--colormap", "magma")
    assert run.returncode == 0, run.stderr
    with Image.open(tmp_path / "coffee.depth-color.png") as image, Image.open(tmp_path / "coffee.png") as photo:
        assert image.width == 1200
        assert 440 < image.height < 520
        np.testing.assert_array_equal(np.asarray(image)[:400, :600], np.asarray(photo))


def test_disparity_prints_how_to_use_it(glpn: Glpn, tmp_path: Path) -> None:
    run = glpn("predict", "small.jpg", "-f", "disparity16", "--range", "2:8", "--json")
    assert run.returncode == 0, run.stderr
    (note,) = [note for note in json.loads(run.stdout)["notes"] if "disparity16" in note]
    assert "strength 6 m" in note
    assert note.encode() in run.stderr.replace(b"\n", b" ")
    described = json.loads(glpn("info", "small.disparity16.png", "--json").stdout)
    assert described["note"] in note
    assert (described["metadata"]["strength_m"], described["metadata"]["mid_level"]) == (6, 0)


def test_images_share_a_range_on_request(glpn: Glpn, tmp_path: Path) -> None:
    command = ("predict", "small.jpg", "coffee.png", "missing.jpg", "-f", "color", "-o", "out/")
    found = {}
    for options in ([], ["--range", "run"], ["--range", "0.5:3"]):
        run = glpn(*command, *options, "--overwrite")
        assert run.returncode == 7, run.stderr
        found[len(options) and options[1]] = {
            (facts["low"], facts["high"])
            for name in ("small", "coffee")
            for facts in [json.loads(glpn("info", f"out/{name}.depth-color.png", "--json").stdout)["metadata"]]
        }
    assert len(found[0]) == 2
    ((low, high),) = found["run"]
    assert low <= min(near for near, _ in found[0])
    assert high >= max(far for _, far in found[0])
    assert found["0.5:3"] == {(0.5, 3)}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--range", "0:5", "--normalize", "max"],
        ["-f", "png", "--legend"],
        ["-o", "small.npz", "--colormap", "turbo"],
        ["--normalize", "max", "--curve", "inverse"],
        ["-f", "disparity16", "--near", "dark"],
        ["-f", "png16", "--scale", "published"],
        ["-f", "color", "--range", "near"],
    ],
)
def test_contradicting_options_are_refused(glpn: Glpn, arguments: list[str], tmp_path: Path) -> None:
    run = glpn("predict", "small.jpg", *arguments)
    assert run.returncode == 2
    assert run.stderr.startswith(b"error: ")
    assert not list(tmp_path.glob("small.*.png"))


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--threads", "x"),
        ("--threads", "0"),
        ("--max-pixels", "many"),
        ("--range", "near"),
        ("--tiles", "big"),
        ("--tiles", "100x128"),
        ("--input-size", "30x32"),
        ("--fov-deg", "wide"),
        ("--png-compression", "12"),
        ("--valid-range", "8:1"),
        ("--precision", "int8"),
        ("--colormap", "tubro"),
        ("--color", "sometimes"),
        ("--format", "pgn"),
        ("--anchor", "3"),
        ("--weights", ""),
        ("--output", ""),
    ],
)
def test_invalid_values_name_their_option(glpn: Glpn, tmp_path: Path, flag: str, value: str) -> None:
    before = sorted(tmp_path.iterdir())
    run = glpn("predict", "small.jpg", flag, value)
    assert (run.returncode, run.stdout) == (2, b"")
    assert run.stderr.decode().splitlines()[0].startswith(f"error: {flag}")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(("given", "closest"), [("tubro", "turbo"), ("MAGMA", None), ("Grey", None)])
def test_choices_ignore_case_and_name_the_closest(glpn: Glpn, given: str, closest: str | None) -> None:
    run = glpn("predict", "small.jpg", "-f", "COLOR", "--colormap", given)
    assert run.returncode == (0 if closest is None else 2), run.stderr
    if closest is not None:
        assert closest in run.stderr.decode().splitlines()[1]


def test_formats_are_separated_by_commas(glpn: Glpn, tmp_path: Path) -> None:
    assert glpn("predict", "small.jpg", "-f", "npy,PNG16", "-f", "npz").returncode == 0
    assert {path.name for path in tmp_path.glob("small.depth*")} == {
        "small.depth.npy",
        "small.depth16.png",
        "small.depth.npz",
    }


@pytest.mark.parametrize("flag", ["-o", "--output", "--out"])
def test_the_output_option_has_three_names(glpn: Glpn, tmp_path: Path, flag: str) -> None:
    assert glpn("predict", "small.jpg", flag, "x.npy").returncode == 0
    assert (tmp_path / "x.npy").exists()


def test_results_keep_the_order_of_the_arguments(glpn: Glpn, tmp_path: Path) -> None:
    names = [f"{index}.jpg" for index in range(6)]
    for name in names:
        shutil.copy(tmp_path / "small.jpg", tmp_path / name)
    (tmp_path / "2.jpg").write_text("not an image")
    run = glpn("predict", *names, "--json")
    assert run.returncode == 7
    records = [json.loads(line) for line in run.stdout.splitlines()]
    assert [record["source"] for record in records] == names
    assert [record["status"] for record in records] == ["done", "done", "failed", "done", "done", "done"]


def test_reading_overlaps_with_predicting(glpn: Glpn, monkeypatch: pytest.MonkeyPatch) -> None:
    from glpn_cli.inference.predictor import Predictor

    read: list[str] = []
    both_read = threading.Event()
    prepare, run_network = Predictor.prepare, Predictor.run

    def count(self: Predictor, image: Any, **options: Any) -> Any:
        prepared = prepare(self, image, **options)
        read.append(options["name"])
        if len(read) == 2:
            both_read.set()
        return prepared

    def wait(self: Predictor, *arguments: Any) -> Any:
        assert both_read.wait(HANG_S)
        return run_network(self, *arguments)

    monkeypatch.setattr(Predictor, "prepare", count)
    monkeypatch.setattr(Predictor, "run", wait)
    assert glpn("predict", "small.jpg", "coffee.png").returncode == 0


def test_predict_and_batch_have_the_same_records(glpn: Glpn, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("small.jpg", "text.jpg"):
        shutil.copy(tmp_path / name, tmp_path / "in")
    run = glpn("predict", "in", "--json", "-f", "png")
    one = {Path(record["source"]).name: record for record in map(json.loads, run.stdout.splitlines())}
    run = glpn("batch", "in", "--output", "out", "--json")
    many = {Path(record["source"]).name: record for record in map(json.loads, run.stdout.splitlines())}
    assert one.keys() == many.keys() == {"small.jpg", "text.jpg"}
    for name, record in one.items():
        assert list(record) == list(many[name])
    for record in (one["small.jpg"], many["small.jpg"]):
        for name in ("source", "outputs", "elapsed_ms"):
            del record[name]
    assert one["small.jpg"] == many["small.jpg"]


def test_tiles_are_recorded(glpn: Glpn) -> None:
    run = glpn("predict", "coffee.png", "--tiles", "192x256", "--json", "-o", "a.npy", "-v")
    assert run.returncode == 0, run.stderr
    record = json.loads(run.stdout)
    assert record["tile_size"] == {"height": 192, "width": 256}
    assert (*record["network_size"].values(),) == WORKING_SIZE
    assert "tiles" in record["elapsed_ms"]
    assert b"192x256" in run.stderr
    assert json.loads(glpn("predict", "coffee.png", "--json", "-o", "b.npy").stdout)["tile_size"] is None


def test_an_anchor_scales_the_depth_and_is_recorded(glpn: Glpn, tmp_path: Path) -> None:
    run = glpn("predict", "coffee.png", "-f", "npz", "--anchor", "300,200=0.4", "--json")
    assert run.returncode == 0, run.stderr
    record = json.loads(run.stdout)
    assert record["weights"]["metric"] == "anchored"
    assert record["anchors"][0]["residual_m"] == pytest.approx(0, abs=1e-6)
    assert b"known 0.4 m" in run.stderr
    back = glpn_cli.read(tmp_path / "coffee.depth.npz")
    assert back.meters[200, 300] == pytest.approx(0.4)
    assert back.provenance.anchors[0]["known_m"] == 0.4
    assert b"anchor" in glpn("info", "coffee.depth.npz").stdout


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["small.jpg", "coffee.png", "--anchor", "3,3=2"], b"--anchor"),
        (["small.jpg", "-f", "uncertainty"], b"--tta"),
    ],
)
def test_impossible_combinations_name_the_option(glpn: Glpn, arguments: list[str], flag: bytes) -> None:
    run = glpn("predict", *arguments)
    assert run.returncode == 2
    assert flag in run.stderr


# Weights that predict cannot use

UNUSABLE: dict[str, dict[str, Any]] = {
    "num_channels": {"num_channels": 1},
    "patch_sizes": {"patch_sizes": [4, 3, 3, 3]},
    "sr_ratios": {"sr_ratios": [64] * 4},
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_weights_that_take_no_image_are_one_line(glpn: Glpn, tmp_path: Path, name: str) -> None:
    config = glpn_cli.GLPNConfig(depths=[1] * 4, hidden_sizes=[8, 16, 40, 64], decoder_hidden_size=8, **UNUSABLE[name])
    glpn_cli.GLPNForDepthEstimation(config).save_pretrained(tmp_path / "w")
    for arguments in (["predict", "small.jpg", "-f", "npy"], ["batch", ".", "--out", "o", "-f", "npy"]):
        run = glpn(*arguments, "--weights", "w")
        assert run.returncode == 3, run.stderr
        assert b"Traceback" not in run.stderr
        assert name.encode() in run.stderr
    assert not list(tmp_path.rglob("*.npy"))


def test_edited_configuration_changes_the_depth_and_is_noted(glpn: Glpn, tmp_path: Path) -> None:
    bundled = Path(glpn_cli.__file__).parent / "weights" / "glpn-tiny.safetensors"
    glpn_cli.GLPNForDepthEstimation.from_pretrained(bundled).save_pretrained(tmp_path / "w")
    assert glpn("predict", "small.jpg", "-w", "w", "-o", "before.npy").returncode == 0
    config = glpn_cli.GLPNConfig.from_pretrained(tmp_path / "w")
    config.max_depth = 40
    config.save_pretrained(tmp_path / "w")
    run = glpn("predict", "small.jpg", "-w", "w", "-o", "after.npy")
    assert run.returncode == 0
    assert b"max_depth is 40, not 80" in run.stderr
    before, after = np.load(tmp_path / "before.npy"), np.load(tmp_path / "after.npy")
    np.testing.assert_allclose(after, before / 2, rtol=1e-5)
