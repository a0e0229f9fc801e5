"""`glpn evaluate`: metrics, comparisons, baselines and output files."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from glpn_cli.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

PAIR = min((Path(__file__).parents[1] / "data" / "pairs").rglob("*.jpg"))
SET = ("--data", "set", "--units-per-meter", "1000")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three images of a floor with ground truth, and predictions that are 10 % too far."""
    folder, predictions = tmp_path / "set", tmp_path / "mine"
    folder.mkdir()
    predictions.mkdir()
    for index in range(3):
        meters = np.linspace(6 + index, 1, 48, dtype=np.float32)[:, None].repeat(64, axis=1)
        shade = (255 - meters * 20).astype(np.uint8)
        Image.fromarray(np.stack([shade] * 3, axis=2)).save(folder / f"{index} [x].jpg")
        Image.fromarray(np.round(meters * 1000).astype(np.uint16)).save(folder / f"{index} [x].png")
        np.save(predictions / f"{index} [x].npy", np.round(meters * 1000) / np.float32(1000) * np.float32(1.1))
    return tmp_path


def test_the_table_has_every_metric_and_option(glpn: Glpn, images: Path) -> None:
    run = glpn("evaluate", *SET, "--weights", "tiny", "--align", "median", "--baselines", "--resamples", "50")
    assert run.returncode == 0, run.stderr
    table = run.stdout.decode()
    for word in (*METRICS, "as predicted", "median aligned", "ramp", "3 images", "no crop", "below 80 m", "95 %"):
        assert word in table
    assert b"note: only 3 images" in run.stderr


def test_the_data_set_is_an_argument_or_an_option(glpn: Glpn, images: Path) -> None:
    run = glpn("evaluate", "set", *SET[2:], "--predictions", "mine")
    assert run.returncode == 0, run.stderr
    assert run.stdout == glpn("evaluate", *SET, "--predictions", "mine").stdout
    assert b"--data" in glpn("evaluate", *SET, "set", "--predictions", "mine").stderr
    missing = glpn("evaluate", "--predictions", "mine")
    assert (missing.returncode, b"FOLDER" in missing.stderr) == (2, True)


def test_tables_fit_80_columns_and_say_what_is_better(glpn: Glpn, images: Path) -> None:
    many = ("--align", "median", "--baselines", "--predictions", "mine", "--against", "tiny")
    run = glpn("evaluate", *SET, *many, "--resamples", "50")
    assert run.returncode == 0, run.stderr
    lines = run.stdout.decode().splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.strip().startswith("d1 ↑") for line in lines)
    assert any(line.strip().startswith("abs_rel ↓") for line in lines)


def test_tables_are_written_for_other_programs(glpn: Glpn, images: Path) -> None:
    compared = ("evaluate", *SET, "--predictions", "mine", "--against", "tiny", "--resamples", "50")
    rows = list(csv.DictReader(glpn(*compared, "--table", "csv").stdout.decode().splitlines()))
    found = {(row["table"], row["prediction"], row["metric"]): row for row in rows}
    assert float(found["mean", "mine", "abs_rel"]["mean"]) == pytest.approx(0.1, rel=1e-4)
    difference = found["difference", "mine", "abs_rel"]
    assert float(difference["low"]) <= float(difference["mean"]) <= float(difference["high"])
    markdown = glpn(*compared, "--table", "markdown").stdout.decode()
    assert "| metric | mine as predicted | tiny as predicted |\n|---|---:|---:|\n| d1 ↑ | " in markdown
    latex = glpn(*compared, "--table", "latex").stdout.decode()
    assert latex.count("\\begin{tabular}{lrr}") == 1
    assert "abs\\_rel $\\downarrow$ & 0.1000 (" in latex
    assert glpn(*compared, "--table", "csv", "--json").returncode == 2


def test_the_default_weights_have_their_own_name(glpn: Glpn, images: Path) -> None:
    run = glpn("evaluate", *SET, "--against", "tiny", "--json")
    assert run.returncode == 2
    assert b"--against are the same: tiny" in run.stderr


def test_existing_depth_files_are_evaluated(glpn: Glpn, images: Path) -> None:
    run = glpn("evaluate", *SET, "--predictions", "mine", "--json")
    assert run.returncode == 0, run.stderr
    *lines, summary = (json.loads(line) for line in run.stdout.splitlines())
    assert [line["name"] for line in lines] == ["0 [x]", "1 [x]", "2 [x]"]
    for line in lines:
        assert line["pixels"] == 48 * 64
        assert line["predictions"]["mine"]["unaligned"]["abs_rel"] == pytest.approx(0.1, rel=1e-4)
    figures = summary["predictions"]["mine"]["unaligned"]
    assert list(figures) == list(METRICS)
    assert figures["abs_rel"]["mean"] == pytest.approx(0.1, rel=1e-4)
    assert figures["abs_rel"]["low"] <= figures["abs_rel"]["mean"] <= figures["abs_rel"]["high"]
    assert (summary["images"], summary["failed"], summary["cap_m"]) == (3, 0, 80.0)
    assert sum(row["pixel_fraction"] for row in summary["by_depth"]) == pytest.approx(1)


def test_ignored_inference_options_get_a_note(glpn: Glpn, images: Path) -> None:
    plain = glpn("evaluate", *SET, "--predictions", "mine").stderr
    run = glpn("evaluate", *SET, "--predictions", "mine", "--tta", "flip")
    assert run.returncode == 0, run.stderr
    assert run.stderr.count(b"note: ") == plain.count(b"note: ") + 1


def test_weights_are_compared_with_predictions(glpn: Glpn, images: Path) -> None:
    run = glpn("evaluate", *SET, "--predictions", "mine", "--against", "tiny", "--json")
    assert run.returncode == 0, run.stderr
    summary = json.loads(run.stdout.splitlines()[-1])
    (difference,) = summary["differences"]
    assert (difference["ours"], difference["theirs"], difference["align"]) == ("mine", "tiny", None)
    theirs = summary["predictions"]["tiny"]["unaligned"]["abs_rel"]["mean"]
    assert difference["figures"]["abs_rel"]["mean"] == pytest.approx(0.1 - theirs, rel=1e-3)
    table = glpn("evaluate", *SET, "--predictions", "mine", "--against", "tiny")
    assert b"better" in table.stdout


def test_test_time_augmentation_is_evaluated(glpn: Glpn, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    for suffix in (".jpg", ".png"):
        shutil.copy(PAIR.with_suffix(suffix), tmp_path / "one")
    one = ("--data", "one", "--units-per-meter", "1000", "--json")
    photo = f"one/{PAIR.stem}.jpg"
    assert glpn("predict", photo, "-o", "flipped/", "-f", "npy", "--weights", "tiny", "--tta", "flip").returncode == 0

    def abs_rel(*arguments: str) -> float:
        run = glpn("evaluate", *one, *arguments)
        assert run.returncode == 0, run.stderr
        (figures,) = json.loads(run.stdout.splitlines()[-1])["predictions"].values()
        return float(figures["unaligned"]["abs_rel"]["mean"])

    flipped = abs_rel("--weights", "tiny", "--tta", "flip")
    assert flipped == pytest.approx(abs_rel("--predictions", "flipped"), rel=1e-6)
    assert flipped != pytest.approx(abs_rel("--weights", "tiny"), rel=1e-4)


def test_output_files_are_complete_and_need_overwrite(glpn: Glpn, images: Path) -> None:
    outputs = ("--figure", "out/f.png", "--per-image", "out/p.jsonl")
    run = glpn("evaluate", *SET, "--predictions", "mine", *outputs)
    assert run.returncode == 0, run.stderr
    with Image.open(images / "out" / "f.png") as image:
        assert image.width == 1200
    assert len((images / "out" / "p.jsonl").read_text().splitlines()) == 3
    assert not list((images / "out").glob(".*"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("glpn_cli.evaluation.run.Evaluation.run", None)  # refused before any work
        again = glpn("evaluate", *SET, "--predictions", "mine", *outputs)
    assert (again.returncode, again.stdout) == (6, b"")
    assert b"--overwrite" in again.stderr
    assert glpn("evaluate", *SET, "--predictions", "mine", *outputs, "--overwrite").returncode == 0


def test_failed_images_are_reported_and_excluded(glpn: Glpn, images: Path) -> None:
    (images / "mine" / "1 [x].npy").unlink()
    run = glpn("evaluate", *SET, "--predictions", "mine", "--json")
    assert run.returncode == 7
    statuses = [json.loads(line)["status"] for line in run.stdout.splitlines()]
    assert statuses == ["done", "failed", "done", "summary"]
    assert b"1 [x]" in run.stderr
    for path in (images / "mine").iterdir():
        path.unlink()
    nothing = glpn("evaluate", *SET, "--predictions", "mine", "--per-image", "p.jsonl", "--figure", "f.png")
    assert (nothing.returncode, nothing.stdout) == (4, b"")
    assert len((images / "p.jsonl").read_text().splitlines()) == 3
    assert not (images / "f.png").exists()
    last = glpn("evaluate", *SET, "--predictions", "mine", "--json").stdout.splitlines()[-1]
    assert (json.loads(last)["status"], json.loads(last)["failed"]) == ("summary", 3)


def test_baselines_are_part_of_the_depth_profile(glpn: Glpn, images: Path) -> None:
    run = glpn("evaluate", *SET, "--predictions", "mine", "--baselines", "--json")
    for row in json.loads(run.stdout.splitlines()[-1])["by_depth"]:
        assert list(row["abs_rel"]) == ["mine", "median", "ramp"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
def test_an_unwritable_table_does_not_lose_the_files(images: Path, warm_python: list[str]) -> None:
    command = [*warm_python, "-m", "glpn_cli", "evaluate", *SET, "--predictions", "mine", "--per-image", "p.jsonl"]
    with open("/dev/full", "wb") as full:
        run = subprocess.run(command, cwd=images, stdout=full, stderr=subprocess.PIPE, check=False)
    assert run.returncode == 6, run.stderr
    assert b"Traceback" not in run.stderr
    assert len((images / "p.jsonl").read_text().splitlines()) == 3


def test_a_linked_output_is_followed(glpn: Glpn, images: Path) -> None:
    (images / "real.jsonl").write_text("old")
    (images / "link.jsonl").symlink_to("real.jsonl")
    run = glpn("evaluate", *SET, "--predictions", "mine", "--per-image", "link.jsonl", "--overwrite")
    assert run.returncode == 0, run.stderr
    assert (images / "link.jsonl").is_symlink()
    assert len((images / "real.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("--data", "set"), 2, "--units-per-meter"),
        (("--data", "gone", "--units-per-meter", "1"), 2, "error: --data: "),
        (("--data", ""), 2, "error: --data: "),
        ((*SET, "--data", "set"), 2, "error: --data: "),
        ((*SET, "--predictions", ""), 2, "--predictions"),
        ((*SET, "--cap", "1e308"), 2, "--cap"),
        ((*SET, "--predictions", "mine", "--weights", "tiny"), 2, "--predictions"),
        ((*SET, "--predictions", "gone"), 4, "error: --predictions: "),
        ((*SET, "--figure", "f.jpg"), 2, "error: --figure: "),
        ((*SET, "--figure", "set/0 [x].png", "--overwrite"), 2, "error: --figure: "),
        ((*SET, "--figure", "x.png", "--per-image", "./x.png"), 2, "--figure"),
        ((*SET, "--weights", "tiny", "--crop", "nyu"), 2, "480x640"),
        (("--data", "kitti", "--root", "set"), 2, "--list"),
    ],
)
def test_invalid_arguments_are_refused(
    glpn: Glpn, images: Path, arguments: tuple[str, ...], code: int, named: str
) -> None:
    run = glpn("evaluate", *arguments)
    assert run.returncode == code, run.stderr
    assert named in run.stderr.decode()
    assert run.stdout == b""


def test_kitti_with_a_list_uses_its_protocol(glpn: Glpn, tmp_path: Path) -> None:
    folder = tmp_path / "kitti"
    folder.mkdir()
    Image.fromarray(np.zeros((375, 1242, 3), np.uint8)).save(folder / "a.png")
    units = np.zeros((375, 1242), np.uint16)
    units[23 + 143, 13 + 43] = 256 * 10  # the first pixel of the crop of Garg in that of KITTI
    units[23 + 142, 13 + 43] = 256 * 10  # one row above it
    units[23 + 200, 13 + 43] = 256 * 80  # exactly at the cap
    Image.fromarray(units).save(folder / "d.png")
    (tmp_path / "list.txt").write_text("/a.png /d.png\n")
    (tmp_path / "mine").mkdir()
    np.save(tmp_path / "mine" / "a.npy", np.full((375, 1242), 11, np.float32))
    run = glpn("evaluate", "--data", "kitti", "--list", "list.txt", "--predictions", "mine", "--json")
    assert run.returncode == 0, run.stderr
    line, summary = (json.loads(line) for line in run.stdout.splitlines())
    assert (line["pixels"], summary["crop"], summary["cap_m"]) == (1, "garg", 80.0)
    assert line["predictions"]["mine"]["unaligned"]["abs_rel"] == pytest.approx(0.1)


def test_results_before_an_interrupt_are_written(glpn: Glpn, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from glpn_cli.cli.progress import RunProgress

    monkeypatch.setattr(RunProgress, "advance", lambda _: signal.raise_signal(signal.SIGINT))
    run = glpn("evaluate", *SET, "--predictions", "mine", "--per-image", "p.jsonl", "--figure", "f.png")
    assert run.returncode == 130
    assert b"interrupted: 1 of 3 done" in run.stderr
    assert [json.loads(line)["name"] for line in (images / "p.jsonl").read_text().splitlines()] == ["0 [x]"]
    assert not (images / "f.png").exists()
