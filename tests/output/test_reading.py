"""Reading depth files and describing any file."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import glpn_cli
from glpn_cli.errors import DepthFileError
from glpn_cli.output.formats import FORMATS, ReadsBack
from glpn_cli.output.reading import describe_file, is_glpn_file
from glpn_cli.settings import OutputSettings

if TYPE_CHECKING:
    from pathlib import Path

    from glpn_cli.depth import DepthMap

WITH_METADATA = [name for name, row in FORMATS.items() if row.reads_back is not ReadsBack.VALUES]


def test_content_determines_the_format(tmp_path: Path, depth_map: DepthMap) -> None:
    depth_map.save(tmp_path / "x.npy")
    (tmp_path / "x.npy").rename(tmp_path / "x.png")
    np.testing.assert_array_equal(glpn_cli.read(tmp_path / "x.png").meters, depth_map.meters)


def test_missing_and_foreign_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DepthFileError, match=r"gone\.npy"):
        glpn_cli.read(tmp_path / "gone.npy")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(DepthFileError, match=r"text\.png") as caught:
        glpn_cli.read(tmp_path / "text.png")
    assert "npz" in str(caught.value.hint)
    assert "color" not in str(caught.value.hint)


@pytest.mark.parametrize("name", WITH_METADATA)
def test_metadata_is_found_whatever_the_name(name: str, tmp_path: Path, depth_map: DepthMap) -> None:
    path = tmp_path / "renamed.bin"
    path.write_bytes(FORMATS[name].load_codec().encode(depth_map, OutputSettings()))
    assert is_glpn_file(path)
    described = describe_file(path)
    assert described.row is FORMATS[name]
    assert described.metadata is not None
    assert described.metadata["provenance"]["weights_sha256"] == "ab" * 32
    assert described.metadata["provenance"]["source"] == "photo.jpg"
    assert described.metadata["provenance"]["tool"] == "glpn-cli 0"


def test_foreign_images_have_no_metadata(tmp_path: Path) -> None:
    for name in ("a.png", "a.tif", "a.jpg"):
        Image.new("RGB", (4, 6)).save(tmp_path / name)
        assert not is_glpn_file(tmp_path / name)
        described = describe_file(tmp_path / name)
        assert (described.row, described.metadata, described.depth, described.size) == (None, None, None, (6, 4))
        assert described.note


def test_scale_of_foreign_16_bit_images_is_not_guessed(tmp_path: Path) -> None:
    Image.fromarray(np.full((3, 4), 2000, np.uint16)).save(tmp_path / "x.png")
    with pytest.raises(DepthFileError, match=r"x\.png.*16-bit") as caught:
        glpn_cli.read(tmp_path / "x.png")
    assert "256ths" in str(caught.value.hint)


def big_endian_tiff(values: np.ndarray) -> bytes:
    """Return a TIFF as ImageJ writes it; Pillow reads such files but does not write them."""
    height, width = values.shape
    after_tags = 8 + 2 + 10 * 12 + 4
    tags = [(256, width), (257, height), (258, 32), (259, 1), (262, 1), (273, after_tags), (277, 1), (278, height)]
    tags += [(279, values.size * 4), (339, 3)]
    directory = b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags)
    return b"MM\0*" + struct.pack(">IH", 8, len(tags)) + directory + bytes(4) + values.astype(">f4").tobytes()


def test_foreign_floating_point_is_read_as_meters(tmp_path: Path) -> None:
    meters = np.linspace(1, 2, 12, dtype=np.float32).reshape(3, 4)
    Image.fromarray(meters).save(tmp_path / "x.tif")
    (tmp_path / "big.tif").write_bytes(big_endian_tiff(meters))
    (tmp_path / "big.pfm").write_bytes(b"Pf 4 3\n1.0\n" + meters[::-1].astype(">f4").tobytes())
    for name in ("x.tif", "big.tif", "big.pfm"):
        described = describe_file(tmp_path / name)
        assert described.depth is not None
        np.testing.assert_array_equal(described.depth.meters, meters)
        assert described.metadata is None
        assert described.note


def test_damaged_files_are_errors_if_glpn_wrote_them(tmp_path: Path, depth_map: DepthMap) -> None:
    data = FORMATS["png16"].load_codec().encode(depth_map, OutputSettings())
    (tmp_path / "x.png").write_bytes(data[:-40])
    with pytest.raises(DepthFileError, match=r"x\.png"):
        describe_file(tmp_path / "x.png")
    (tmp_path / "y.npy").write_bytes(b"\x93NUMPY and then nothing")
    damaged = describe_file(tmp_path / "y.npy")
    assert damaged.depth is None
    assert damaged.note


def test_only_the_start_of_an_image_is_read(
    tmp_path: Path, depth_map: DepthMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (400, 400, 3), np.uint8)).save(buffer, "PNG")
    (tmp_path / "photo.png").write_bytes(buffer.getvalue())
    read: list[int] = []
    real = io.BufferedReader.read

    class Counting(io.BufferedReader):
        def read(self, size: int | None = -1) -> bytes:
            data = real(self, size)
            read.append(len(data))
            return data

    monkeypatch.setattr("pathlib.Path.open", lambda path, _mode: Counting(io.FileIO(path)))
    assert not is_glpn_file(tmp_path / "photo.png")
    assert 0 < sum(read) < 10_000 < len(buffer.getvalue())


def test_gray_images_are_described_by_their_formula(depth_map: DepthMap, tmp_path: Path) -> None:
    depth_map.save(tmp_path / "x.png")
    assert "gray / 255 * 7.5 m" in describe_file(tmp_path / "x.png").note
    depth_map.save(tmp_path / "y.png", settings=OutputSettings(near="bright", curve="inverse"))  # type: ignore[arg-type]
    assert "(255 - gray)" in describe_file(tmp_path / "y.png").note


@pytest.mark.parametrize("ending", [".depth.png", ".disparity16.png"])
def test_a_range_that_explains_nothing_is_an_error(depth_map: DepthMap, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x{ending}"
    depth_map.save(path, settings=OutputSettings(curve="inverse", range="1:3"))  # type: ignore[arg-type]
    with Image.open(path) as image:
        text = PngInfo()
        text.add_text("glpn", image.info["glpn"].replace('"low": 1.0', '"low": 0.0'))
        image.save(path, pnginfo=text)
    with pytest.raises(DepthFileError, match="metadata"):
        describe_file(path)
