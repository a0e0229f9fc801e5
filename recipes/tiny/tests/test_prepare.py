"""Training data: canonical depth in small files."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import prepare
from glpn_cli.data.sample import read_depth_png
from glpn_cli.errors import GLPNError
from recipe_data import room_depth, write_pairs
from sets import DATA_SETS, DataSet

if TYPE_CHECKING:
    from pathlib import Path


def decode(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_depth_is_rounded_to_a_fifth_of_a_percent() -> None:
    meters = np.geomspace(1, 65, 1000, dtype=np.float32).reshape(20, 50).round(3)
    values = decode(prepare.encode_depth(meters))
    assert values.dtype == np.uint16
    np.testing.assert_allclose(values / 1000, meters, rtol=0.00201)


def test_unknown_and_too_deep_become_unknown() -> None:
    values = decode(prepare.encode_depth(np.array([[0, 65.6, 100, 1]], np.float32)))
    assert values.tolist() == [[0, 0, 0, 1000]]


def test_depth_becomes_canonical_and_images_stay(tmp_path: Path) -> None:
    write_pairs(tmp_path / "s", 3, meters=2.0)
    prepare.prepare_set(DataSet("s", 1.0, 0.5), tmp_path / "s", tmp_path / "out")
    for name in ("0", "1", "2"):
        assert (tmp_path / "out" / f"{name}.jpg").read_bytes() == (tmp_path / "s" / f"{name}.jpg").read_bytes()
        depth = read_depth_png(tmp_path / "out" / f"{name}.png", units_per_meter=1000)
        np.testing.assert_allclose(depth, 4.0, rtol=0.002)
    assert json.loads((tmp_path / "out" / prepare.FOCALS_NAME).read_text()) == {"0": 0.5, "1": 0.5, "2": 0.5}


def test_frames_without_right_angles_get_the_usual_focal_length() -> None:
    clear, other = room_depth(60).astype(np.float32), np.full((240, 320), 2, np.float32)
    rendered = DataSet("s", 1.0, rendered=True)
    first, second = prepare.relative_focals(rendered, [clear, other])
    assert first == second == pytest.approx(1, abs=0.03)
    low, high = 0.71, 1.24  # fields of view of 78 and 50 degrees at 4:3
    assert low < prepare.relative_focals(rendered, [other])[0] < high


def test_a_missing_set_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GLPNError, match="tum_fr1_rpy"):
        prepare.prepare_sets(tmp_path, tmp_path / "out")


def test_prepared_sets_are_packed_with_a_limit_of_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for dataset in DATA_SETS:
        write_pairs(tmp_path / "data" / dataset.name, 4)
    arguments = [str(tmp_path / "data"), str(tmp_path / "out"), "--pack", str(tmp_path / "p.tar"), "--frames", "2"]
    prepare.main(arguments)
    first = (tmp_path / "p.tar").read_bytes()
    with tarfile.open(tmp_path / "p.tar") as archive:
        names = archive.getnames()
    assert [name for name in names if name.startswith("aims_lab/")] == [
        "aims_lab/0.jpg", "aims_lab/0.png", "aims_lab/2.jpg", "aims_lab/2.png", "aims_lab/focals.json",
    ]  # fmt: skip
    assert len(names) == 5 * len(DATA_SETS)
    capsys.readouterr()
    prepare.main(arguments)  # nothing is prepared again, and the file is the same
    assert str(tmp_path / "out") not in capsys.readouterr().out
    assert (tmp_path / "p.tar").read_bytes() == first
