from __future__ import annotations

import errno
import io
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pillow_heif
import pytest
import torch
from PIL import EpsImagePlugin, Image, PngImagePlugin

from glpn_cli.errors import ImageError, MissingPackageError
from glpn_cli.image import memory, reading
from glpn_cli.image.decoding import MAX_SIDE_PX
from glpn_cli.image.memory import hold_image
from glpn_cli.image.reading import missing_image, read_image
from glpn_cli.image.sniffing import FORMATS, IMAGE_SUFFIXES, MAX_SEGMENTS, SUFFIX_ONLY_FORMATS
from glpn_cli.settings import MAX_IMAGE_PIXELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Encode = Callable[..., bytes]

# Options to save each format, and the allowed mean difference of its pixels.
SAVED: dict[str, tuple[dict[str, Any], float]] = {
    "JPEG": ({"quality": 95, "subsampling": 0}, 4),
    "MPO": ({"quality": 95, "subsampling": 0}, 4),
    "PNG": ({}, 0),
    "WEBP": ({"lossless": True}, 0),
    "TIFF": ({}, 0),
    "BMP": ({}, 0),
    "GIF": ({}, 30),
    "AVIF": ({"quality": 95, "subsampling": "4:4:4"}, 4),
    "PPM": ({}, 0),
    "JPEG2000": ({}, 0),
    "QOI": ({}, 0),
    "DIB": ({}, 0),
    "SGI": ({}, 0),
    "TGA": ({}, 0),
    "HEIF": ({"quality": 90, "chroma": 444}, 4),
}
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def options_for(format_name: str, photo: NDArray[np.uint8]) -> dict[str, Any]:
    if format_name == "MPO":  # a single image would be saved as JPEG
        return SAVED[format_name][0] | {"save_all": True, "append_images": [Image.fromarray(255 - photo)]}
    return SAVED[format_name][0]


def message_for(source: Any, **options: Any) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(source, **options)
    return caught.value.message


def hint_for(source: Any) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(source)
    return caught.value.hint or ""


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_size(width: int, height: int) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return PNG_MAGIC + header + png_chunk(b"IDAT", zlib.compress(bytes(1000))) + png_chunk(b"IEND", b"")


# Formats


def test_every_format_is_tested_here() -> None:
    assert SAVED.keys() == FORMATS.keys()


def test_suffixes_are_lower_case_and_unique() -> None:
    suffixes = [suffix for of_format in FORMATS.values() for suffix in of_format]
    assert len(suffixes) == len(set(suffixes))
    assert set(suffixes) == IMAGE_SUFFIXES
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in suffixes)


def test_dangerous_and_foreign_formats_are_excluded() -> None:
    assert not FORMATS.keys() & {"EPS", "PDF", "WMF", "GRIB", "HDF5", "BUFR", "FITS", "MPEG"}
    assert not IMAGE_SUFFIXES & {".eps", ".ps", ".pdf", ".wmf", ".emf", ".pfm", ".npy", ".exr"}


def test_suffixes_are_known_without_heavy_imports() -> None:
    code = (
        "import sys; from glpn_cli.image.sniffing import IMAGE_SUFFIXES; import glpn_cli.image.reading;"
        "print([name for name in ('PIL', 'numpy', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_reading_does_not_import_torch(tmp_path: Path, photo: NDArray[np.uint8], encode: Encode) -> None:
    (tmp_path / "a.png").write_bytes(encode(photo, "PNG"))
    code = (
        "import sys; from glpn_cli.image.reading import read_image;"
        f"print(read_image({str(tmp_path / 'a.png')!r}).rgb.shape, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(97, 131, 3) False"


@pytest.mark.parametrize("format_name", FORMATS)
def test_every_format_is_read_with_every_suffix(
    format_name: str, photo: NDArray[np.uint8], encode: Encode, tmp_path: Path
) -> None:
    _, tolerance = SAVED[format_name]
    data = encode(photo, format_name, **options_for(format_name, photo))
    for suffix in FORMATS[format_name]:
        path = tmp_path / f"photo{suffix}"
        path.write_bytes(data)
        image = read_image(path)
        assert image.format == format_name
        assert image.name == str(path)
        assert image.notes == ()
        assert image.rgb.dtype == np.uint8
        assert image.rgb.flags.c_contiguous
        assert image.rgb.flags.writeable
        assert image.rgb.shape == photo.shape
        assert np.abs(image.rgb.astype(int) - photo).mean() <= tolerance


@pytest.mark.parametrize("format_name", sorted(FORMATS.keys() - SUFFIX_ONLY_FORMATS))
@pytest.mark.parametrize("file_name", ["photo.txt", "photo", "photo.tga"])
def test_format_is_found_by_content_not_suffix(
    format_name: str, file_name: str, photo: NDArray[np.uint8], encode: Encode, tmp_path: Path
) -> None:
    path = tmp_path / file_name
    path.write_bytes(encode(photo, format_name, **options_for(format_name, photo)))
    assert read_image(path).format == format_name


def test_png_named_jpg_is_read(photo: NDArray[np.uint8], encode: Encode, tmp_path: Path) -> None:
    path = tmp_path / "photo.JPG"
    path.write_bytes(encode(photo, "PNG"))
    image = read_image(path)
    assert image.format == "PNG"
    assert np.array_equal(image.rgb, photo)


@pytest.mark.parametrize("format_name", sorted(SUFFIX_ONLY_FORMATS))
def test_formats_without_signature_require_their_suffix(
    format_name: str, photo: NDArray[np.uint8], encode: Encode
) -> None:
    data = encode(photo, format_name)
    assert message_for(data, name="photo").startswith("photo: not an image")
    assert read_image(data, name="photo" + FORMATS[format_name][0].upper()).format == format_name


# Sources


def test_path_bytes_and_image_give_the_same_pixels(photo: NDArray[np.uint8], encode: Encode, tmp_path: Path) -> None:
    data = encode(photo, "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(data)
    for source in (path, str(path), data, bytearray(data), memoryview(data), Image.open(path), Image.fromarray(photo)):
        assert np.array_equal(read_image(source).rgb, photo)


def test_name_defaults_to_the_path(encode: Encode, tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 9))
    path = tmp_path / "a.png"
    path.write_bytes(encode(image, "PNG"))
    assert read_image(path, name="standard input").name == "standard input"
    assert read_image(image).name is None
    assert read_image(image).format is None
    assert read_image(image, name="frame 7").name == "frame 7"


def test_array_is_not_copied(photo: NDArray[np.uint8]) -> None:
    image = read_image(photo)
    assert np.shares_memory(image.rgb, photo)
    assert image.format is None
    mirrored = read_image(photo[:, ::-1]).rgb
    assert mirrored.flags.c_contiguous
    assert np.array_equal(mirrored, photo[:, ::-1])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 9, 8), np.uint8),
        np.zeros((2, 9, 8, 3), np.uint8),
        np.zeros((9, 8, 5), np.float32),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_invalid_array_is_refused_with_its_shape(array: NDArray[Any]) -> None:
    message = message_for(array)
    assert message.startswith("the image: ")
    assert str(array.shape) in message


def test_arrays_of_other_kinds_are_converted(photo: NDArray[np.uint8]) -> None:
    for array in (photo.astype(np.uint16) * 257, photo / 255, np.dstack([photo, np.full_like(photo[..., 0], 255)])):
        assert np.array_equal(read_image(array).rgb, photo)
    gray = read_image(photo[..., 0], name="a frame")
    assert np.array_equal(gray.rgb, np.stack([photo[..., 0]] * 3, axis=-1))
    assert gray.name == "a frame"
    assert read_image(photo / 255).notes == ("float values taken as 0 to 1",)
    assert "max_pixels" in hint_for(np.zeros((MAX_IMAGE_PIXELS + 1, 1), np.uint8))


def test_array_of_another_library_is_read(photo: NDArray[np.uint8]) -> None:
    class Frame:
        def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.uint8]:
            return photo

    assert np.array_equal(read_image(Frame()).rgb, photo)  # type: ignore[arg-type]


def test_tensors_have_their_channels_first(photo: NDArray[np.uint8]) -> None:
    tensor = torch.from_numpy(photo).permute(2, 0, 1)
    for given in (tensor, tensor / 255, tensor.to(torch.int64), (tensor / 255).requires_grad_()):
        assert np.array_equal(read_image(given).rgb, photo)
    assert np.array_equal(read_image(tensor[0]).rgb[..., 2], photo[..., 0])
    half = read_image((tensor / 255).bfloat16()).rgb
    assert np.abs(half.astype(int) - photo).max() <= 1
    assert "permute(2, 0, 1)" in hint_for(torch.from_numpy(photo))
    assert "tensor[0]" in hint_for(tensor[None])
    assert "list(tensor)" in hint_for(torch.stack([tensor, tensor]))
    assert "Tensor" in message_for(torch.eye(9).to_sparse())


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"])
def test_pillow_images_of_every_mode_are_read(mode: str) -> None:
    assert read_image(Image.new(mode, (5, 4))).rgb.shape == (4, 5, 3)


@pytest.mark.parametrize("mode", ["I", "F", "I;16", "I;16L", "I;16B", "La", "RGBa"])
def test_pillow_images_of_rare_modes_are_read(mode: str) -> None:
    assert read_image(Image.new(mode, (5, 4))).rgb.shape == (4, 5, 3)


def test_pillow_image_without_pixels_is_refused() -> None:
    assert "no pixels" in message_for(Image.new("RGB", (0, 4)))


# File objects


class Unseekable(io.RawIOBase):
    """A stream like that of a socket: it cannot seek, and returns less than it is asked for."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(min(size, 1000))


def test_file_objects_are_read_from_their_position(photo: NDArray[np.uint8], encode: Encode, tmp_path: Path) -> None:
    data = encode(photo, "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(data)
    behind = io.BytesIO(b"header" + data)
    behind.seek(6)
    with path.open("rb") as file, zipfile.ZipFile(io.BytesIO(), "w") as archive:
        archive.writestr("b.png", data)
        loaded = read_image(file)
        assert (loaded.name, file.closed) == (str(path), False)
        with archive.open("b.png") as member:
            named = read_image(member)
        for image in (loaded, named, read_image(behind), read_image(Unseekable(data))):
            assert np.array_equal(image.rgb, photo)
    assert named.name == "b.png"
    with tempfile.TemporaryFile() as nameless:
        nameless.write(data)
        nameless.seek(0)
        assert read_image(nameless).name is None


def test_file_object_at_its_end_says_so(encode: Encode) -> None:
    stream = io.BytesIO(encode(Image.new("RGB", (8, 8)), "PNG"))
    stream.seek(0, io.SEEK_END)
    assert "seek(0)" in hint_for(stream)


def test_file_objects_that_are_no_binary_files_are_refused(tmp_path: Path) -> None:
    class Upload:
        async def read(self, _size: int = -1) -> bytes:
            return b""

    class NotReady:
        def read(self, _size: int = -1) -> None:
            return None

    (tmp_path / "a.png").write_text("text")
    with (tmp_path / "a.png").open() as text:
        assert "'rb'" in hint_for(text)
    closed = io.BytesIO(b"x")
    closed.close()
    assert "closed" in message_for(closed)
    assert "await" in hint_for(Upload())
    assert "NoneType" in message_for(NotReady())


def test_any_exception_of_a_file_object_is_an_image_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        name = "upload.jpg"

        def __init__(self, error: Exception) -> None:
            self.error = error

        def read(self, _size: int = -1) -> bytes:
            raise self.error

    message = message_for(Broken(OSError(errno.EIO, "Input/output error")))
    assert message.startswith("upload.jpg: ")
    assert "Input/output error" in message
    assert "bad checksum" in message_for(Broken(zlib.error("bad checksum")))
    monkeypatch.setattr(memory, "MAX_STREAM_BYTES", 10)
    assert "longer" in message_for(io.BytesIO(bytes(11)))


def test_held_images_do_not_change(photo: NDArray[np.uint8], encode: Encode, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encode(photo, "PNG"))
    array, buffer = photo.copy(), bytearray(path.read_bytes())
    tensor = torch.from_numpy(photo.copy()).permute(2, 0, 1)
    with path.open("rb") as file, Image.open(path) as image:
        held = [hold_image(given) for given in (array, buffer, tensor, file, image, path, str(path), bytes(buffer))]
    array[...] = 0
    tensor[...] = 0
    buffer[:] = bytes(len(buffer))
    for given in held:
        assert np.array_equal(read_image(given).rgb, photo)
    with Image.open(path) as image, pytest.raises(ImageError) as caught:
        hold_image(image, max_pixels=100)
    assert "max_pixels" in str(caught.value.hint)


@pytest.mark.parametrize("source", [None, 7, [[1, 2, 3]], {"a": 1}])
def test_unknown_source_type_is_refused(source: Any) -> None:
    assert type(source).__name__ in message_for(source)


def test_pipe_is_read_to_its_end(photo: NDArray[np.uint8], encode: Encode, tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes on this system")
    path = tmp_path / "pipe"
    os.mkfifo(path)
    data = encode(photo, "TIFF")
    writer = threading.Thread(target=path.write_bytes, args=(data,))
    writer.start()
    image = read_image(path)
    writer.join()
    assert np.array_equal(image.rgb, photo)


def test_endless_stream_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("no /dev/zero on this system")
    monkeypatch.setattr(reading, "MAX_STREAM_BYTES", 2**20)
    message = message_for("/dev/zero")
    assert message.startswith("/dev/zero: ")
    assert "1 MiB" in message


def test_reading_does_not_change_the_source_image(photo: NDArray[np.uint8]) -> None:
    image = Image.fromarray(photo)
    image.getexif()[0x0112] = 6
    loaded = read_image(image)
    loaded.rgb[...] = 0
    assert np.array_equal(np.asarray(image), photo)
    assert image.getexif()[0x0112] == 6


# Notes, frames and sizes


def test_inverted_cmyk_jpeg_has_correct_colors(encode: Encode) -> None:
    image = Image.new("CMYK", (32, 32), (0, 200, 200, 20))
    data = encode(image, "JPEG", quality=100)
    assert b"Adobe" in data
    loaded = read_image(data)
    assert np.abs(loaded.rgb[16, 16].astype(int) - [235, 51, 51]).max() <= 3
    (note,) = loaded.notes
    assert "CMYK" in note


def test_lab_tiff_has_correct_colors(encode: Encode) -> None:
    image = read_image(encode(Image.new("LAB", (8, 9), (138, 209, 198)), "TIFF"))
    assert np.abs(image.rgb[4, 4].astype(int) - [254, 0, 0]).max() <= 8


def test_notes_are_listed_once_in_order(encode: Encode) -> None:
    frames = [Image.new("RGBA", (8, 9), (10, 20, 30, 100)), Image.new("RGBA", (8, 9), (0, 0, 0, 255))]
    data = encode(frames[0], "PNG", save_all=True, append_images=frames[1:])
    alpha, animated = read_image(data).notes
    assert "alpha" in alpha
    assert "first frame" in animated


@pytest.mark.parametrize("format_name", ["GIF", "PNG", "WEBP", "AVIF"])
def test_first_frame_of_an_animation_is_used(format_name: str, encode: Encode) -> None:
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "green", "blue")]
    image = read_image(encode(frames[0], format_name, save_all=True, append_images=frames[1:]))
    assert np.abs(image.rgb[16, 16].astype(int) - [255, 0, 0]).max() <= 5
    (note,) = image.notes
    assert "first frame" in note


def test_first_page_of_several_is_used(encode: Encode) -> None:
    pages = [Image.new("RGB", (8, 9), color) for color in ("red", "green")]
    image = read_image(encode(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    assert image.rgb[4, 4].tolist() == [255, 0, 0]
    (note,) = image.notes
    assert "first page" in note


def test_thumbnail_of_a_raw_file_is_refused(encode: Encode, tmp_path: Path) -> None:
    dng = tmp_path / "a.tif"
    dng.write_bytes(encode(Image.new("RGB", (8, 9)), "TIFF", tiffinfo={50706: b"\x01\x04\0\0"}))
    reduced = tmp_path / "b.tif"
    reduced.write_bytes(encode(Image.new("RGB", (8, 9)), "TIFF", tiffinfo={254: 1}))
    named = tmp_path / "c.nef"
    named.write_bytes(encode(Image.new("RGB", (8, 9)), "TIFF"))
    for path in (dng, reduced, named):
        assert message_for(path).startswith(f"{path}: a raw camera file")


@pytest.mark.parametrize("side", [14_000, 60_000, 2**31 - 1])
def test_decompression_bomb_is_refused_by_its_header(side: int, tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of_size(side, side - 1))
    assert path.stat().st_size < 200
    message = message_for(path)
    assert message.startswith(f"{path}: {side - 1}x{side} pixels")
    assert message.endswith(f" {MAX_IMAGE_PIXELS:,}")
    assert "`max_pixels`" in hint_for(path)


def test_limit_of_pixels_is_inclusive(encode: Encode) -> None:
    assert Image.MAX_IMAGE_PIXELS is not None
    assert MAX_IMAGE_PIXELS <= 2 * Image.MAX_IMAGE_PIXELS  # beyond that Pillow itself refuses
    for source in (encode(Image.new("RGB", (3, 4)), "PNG"), Image.new("RGB", (4, 3)), np.zeros((3, 4, 3), np.uint8)):
        assert read_image(source, max_pixels=12).rgb.size == 36
    for source in (encode(Image.new("RGB", (13, 1)), "PNG"), Image.new("L", (1, 13)), np.zeros((1, 13, 3), np.uint8)):
        assert "1x13" in message_for(source, max_pixels=12) or "13x1" in message_for(source, max_pixels=12)


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("orientation", [1, 6])
def test_large_image_is_read_without_warning(
    format_name: str, orientation: int, photo: NDArray[np.uint8], encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = options_for(format_name, photo)
    if format_name in {"JPEG", "MPO", "PNG", "WEBP", "TIFF", "AVIF"}:
        options = options | {"orientation": orientation}
    data = encode(photo, format_name, **options)
    before = read_image(data, name="photo" + FORMATS[format_name][0])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", photo.size // 3 - 1)  # Pillow warns above this
    after = read_image(data, name="photo" + FORMATS[format_name][0])
    assert np.array_equal(before.rgb, after.rgb)


def test_bomb_error_of_pillow_is_translated(monkeypatch: pytest.MonkeyPatch, encode: Encode) -> None:
    def explode(_: object) -> NoReturn:
        raise Image.DecompressionBombError("Image size exceeds\nthe limit")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", explode)
    message = message_for(encode(Image.new("RGB", (3, 4)), "PNG"), name="a.png")
    assert message.startswith("a.png: too large")
    assert message.endswith(": Image size exceeds the limit")


@pytest.mark.parametrize("step", ["load", "convert"])
def test_lack_of_memory_is_an_image_error(step: str, monkeypatch: pytest.MonkeyPatch, encode: Encode) -> None:
    def fail(*_: object) -> NoReturn:
        raise MemoryError

    data = encode(Image.new("L", (3, 4)), "PNG")
    monkeypatch.setattr(PngImagePlugin.PngImageFile, step, fail)
    assert message_for(data, name="a.png").startswith("a.png: not enough memory")


def test_large_photo_is_read_completely(encode: Encode) -> None:
    rows = np.linspace(0, 255, 3000, dtype=np.uint8)
    large = np.empty((3000, 4000, 3), np.uint8)
    large[...] = rows[:, None, None]
    image = read_image(encode(large, "JPEG", quality=90, orientation=8))
    assert image.rgb.shape == (4000, 3000, 3)
    assert np.abs(image.rgb[0].astype(int) - rows[:, None]).max() <= 4


# Files that are missing, damaged or something else


def test_missing_file_error_suggests_the_closest_name(tmp_path: Path) -> None:
    for name in ("holiday.jpg", "House.PNG", "unrelated.txt"):
        (tmp_path / name).touch()
    assert message_for(tmp_path / "holyday.jpg") == f"{tmp_path / 'holyday.jpg'}: no such file"
    assert " holiday.jpg?" in hint_for(tmp_path / "holyday.jpg")
    assert " House.PNG?" in hint_for(tmp_path / "house.png")
    assert " holiday.jpg?" in hint_for(tmp_path / "HOLIDAY.JPG")
    assert hint_for(tmp_path / "zzz.gif") == ""


def test_suggested_name_with_spaces_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "my photo.jpg").touch()
    assert '"my photo.jpg"' in hint_for(tmp_path / "my foto.jpg")


def test_closest_name_is_found_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "holiday.jpg").touch()
    monkeypatch.chdir(tmp_path)
    assert " holiday.jpg?" in hint_for("holiday.jpeg")


def test_missing_folder_is_named(tmp_path: Path) -> None:
    assert f"folder {tmp_path / 'nowhere'}" in hint_for(tmp_path / "nowhere" / "a.jpg")
    (tmp_path / "file").touch()
    assert f"folder {tmp_path / 'file'}" in str(missing_image(str(tmp_path / "file" / "a.jpg")).hint)


def test_unlistable_folder_is_not_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", forbid)  # root may list everything
    assert missing_image(str(tmp_path / "a.jpg")).hint is None


def test_broken_link_is_reported_as_such(tmp_path: Path) -> None:
    link = tmp_path / "a.jpg"
    link.symlink_to(tmp_path / "gone.jpg")
    assert message_for(link).startswith(f"{link}: broken link")


def test_url_is_not_read_as_a_file() -> None:
    assert message_for("https://example.org/a.jpg").startswith("https://example.org/a.jpg: is a URL")
    assert "download it" in hint_for("https://example.org/a.jpg")  # `allow_url` is for batches


def test_folder_is_not_an_image(tmp_path: Path) -> None:
    assert message_for(tmp_path).startswith(f"{tmp_path}: is a folder")


def test_file_used_as_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    path = tmp_path / "a.jpg" / "b.jpg"
    message = message_for(path)
    assert message.startswith(f"{path}: ")
    assert message.endswith(": Not a directory")


def test_missing_permission_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(reading, "open", forbid, raising=False)  # root may read everything
    message = message_for(tmp_path / "a.jpg")
    assert message.startswith(f"{tmp_path / 'a.jpg'}: ")
    assert message.endswith(": Permission denied")


def test_impossible_name_is_an_error() -> None:
    assert message_for("a\0b.jpg").startswith("a\0b.jpg: ")
    assert message_for("a" * 5000).endswith(": File name too long")


def test_disk_failure_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(io.FileIO):
        def readinto(self, _: object) -> int:
            raise OSError(5, "Input/output error")

        read = readall = readinto  # type: ignore[assignment]

    (tmp_path / "a.jpg").touch()
    monkeypatch.setattr(reading, "open", Failing, raising=False)
    message = message_for(tmp_path / "a.jpg")
    assert message.startswith(f"{tmp_path / 'a.jpg'}: ")
    assert message.endswith(": Input/output error")


def test_empty_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    assert message_for(tmp_path / "a.jpg") == f"{tmp_path / 'a.jpg'}: an empty file"
    assert message_for(b"") == "the image: an empty file"


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_damaged_heic_is_named(brand: bytes) -> None:
    assert "HEIC" in message_for(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + bytes(99))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_as_upright_as_jpeg(orientation: int, photo: NDArray[np.uint8], encode: Encode) -> None:
    of_jpeg = read_image(encode(photo, "JPEG", orientation=orientation, quality=95)).rgb
    of_heic = read_image(encode(photo, "HEIF", orientation=orientation, quality=90)).rgb
    assert of_heic.shape == of_jpeg.shape
    assert np.abs(of_heic.astype(int) - of_jpeg).mean() < 8


def test_heic_without_its_package_names_the_package(
    photo: NDArray[np.uint8], encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode(photo, "HEIF")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MissingPackageError, match=r"^photo\.heic: .*HEIC.* pillow-heif") as caught:
        read_image(data, name="photo.heic")
    assert "pip install pillow-heif" in str(caught.value.hint)


def test_heic_opener_is_not_registered_with_pillow(photo: NDArray[np.uint8], encode: Encode) -> None:
    read_image(encode(photo, "HEIF"))
    assert "HEIF" not in Image.OPEN
    assert ".heic" not in Image.registered_extensions()


def test_main_image_of_a_heic_is_used(photo: NDArray[np.uint8]) -> None:
    several = pillow_heif.from_pillow(Image.fromarray(photo))
    several.add_from_pillow(Image.fromarray(255 - photo))
    stream = io.BytesIO()
    several.save(stream, quality=90, primary_index=0)
    image = read_image(stream.getvalue())
    (note,) = image.notes
    assert "several images" in note
    assert np.abs(image.rgb.astype(int) - photo).mean() < 8


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"just a note\n", "text"),
        (b"<!DOCTYPE html><html>404 Not Found</html>", "an HTML page"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(99), "a video"),
        (b"\x1aE\xdf\xa3\x9f\x42\x86", "a video"),
        (b"%PDF-1.4", "a PDF document"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"PK\x03\x04", "a zip archive or an office document"),
        (b"Pf\n2 2\n-1\n" + bytes(16), "a PFM map of floats"),
        (b"P5 is a group of five countries", "text"),
        (bytes(1000), "nothing but zero bytes"),
    ],
)
@pytest.mark.parametrize("suffix", [".jpg", ".ppm", ".tga"])
def test_other_content_is_named(data: bytes, what: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"photo{suffix}"
    path.write_bytes(data)
    if data.startswith(b"P5"):
        assert "PPM" in message_for(path)
    else:
        assert message_for(path) == f"{path}: {what}, not an image"


def test_hint_for_unknown_content_lists_supported_formats() -> None:
    unknown = b"\x93\xfa\x00\x01\x02" * 9
    assert message_for(unknown).startswith("the image: not an image")
    assert ", ".join(FORMATS) in hint_for(unknown)


def test_hint_lists_heif_only_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (b"\x93\xfa\x00\x01\x02" * 9, b"just a note\n"):
        assert "HEIF" in hint_for(content)
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "pillow_heif", None)
            assert "HEIF" not in hint_for(content)
            assert "JPEG, MPO, PNG" in hint_for(content)


@pytest.mark.parametrize("suffix", [".eps", ".jpg", ".png", ".tga", ""])
def test_postscript_is_never_opened(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    monkeypatch.setattr(EpsImagePlugin.EpsImageFile, "_open", opened.append)
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_: opened.append("gs"))
    path = tmp_path / f"drawing{suffix}"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 9\n%%EndComments\nshowpage\n")
    assert message_for(path).startswith(f"{path}: PostScript")
    assert opened == []


@pytest.mark.parametrize(
    "name",
    ["Gr\u00fc\u00dfe \u5199\u771f \U0001f600.png", "two\nlines.png", "a[red]b.png", " .png", "-o.png", "%s{}.png"],
)
def test_unusual_names_are_read_and_reported_unchanged(
    name: str, photo: NDArray[np.uint8], encode: Encode, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(encode(photo, "PNG"))
    assert read_image(path).name == str(path)
    path.write_bytes(encode(photo, "PNG")[:5000])
    assert message_for(path) == f"{path}: a truncated PNG"
    path.unlink()
    assert message_for(path) == f"{path}: no such file"


def test_name_in_another_encoding_is_read(photo: NDArray[np.uint8], encode: Encode, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    try:
        Path(os.fsdecode(name)).write_bytes(encode(photo, "PNG"))
    except (OSError, UnicodeError):
        pytest.skip("this file system supports only Unicode names")
    assert np.array_equal(read_image(os.fsdecode(name)).rgb, photo)
    assert message_for(os.fsdecode(name + b"x")).endswith("caf\udce9.pngx: no such file")


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.filterwarnings("ignore:Truncated File Read", "ignore:Corrupt EXIF data")  # TIFF
def test_truncated_file_is_an_error_or_complete(format_name: str, photo: NDArray[np.uint8], encode: Encode) -> None:
    small = photo[:24, :32]
    data = encode(small, format_name, **options_for(format_name, small))
    name = "photo" + FORMATS[format_name][0]
    whole = read_image(data, name=name).rgb
    errors: dict[int, ImageError] = {}
    for length in sorted({*range(1, 64, 5), *range(64, len(data), max(1, len(data) // 50)), len(data) - 1}):
        try:
            image = read_image(data[:length], name=name)
        except ImageError as error:
            errors[length] = error
        else:  # only bytes without pixels are missing, such as a trailer or a second frame
            assert np.array_equal(image.rgb, whole)
    for failure in errors.values():
        assert failure.message.startswith(f"{name}: ")
        assert "\n" not in failure.message
    in_the_middle = errors[min(errors, key=lambda length: abs(length - len(data) // 3))]
    assert "truncated" in in_the_middle.message or "incomplete" in in_the_middle.message
    assert in_the_middle.__cause__ is not None


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "GIF", "BMP", "PPM"])
def test_common_formats_are_reported_as_truncated(format_name: str, photo: NDArray[np.uint8], encode: Encode) -> None:
    data = encode(photo, format_name)
    for fraction in (0.05, 0.3, 0.6, 0.9):
        assert message_for(data[: int(len(data) * fraction)], name="a") == f"a: a truncated {format_name}"


def test_damaged_file_error_repeats_the_decoder(photo: NDArray[np.uint8], encode: Encode) -> None:
    data = bytearray(encode(photo, "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(ImageError, match=r"^a\.png: .*PNG: \S") as caught:
        read_image(bytes(data), name="a.png")
    causes = []
    cause: BaseException | None = caught.value
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__
    assert not isinstance(causes[-1], ImageError)


def test_any_exception_of_a_plugin_is_an_image_error(monkeypatch: pytest.MonkeyPatch, encode: Encode) -> None:
    def fail(_: object) -> NoReturn:
        raise ZeroDivisionError("of all\nthings")

    data = encode(Image.new("RGB", (3, 4)), "PNG")
    for step in ("_open", "load"):
        with monkeypatch.context() as patch:
            patch.setattr(PngImagePlugin.PngImageFile, step, fail)
            message = message_for(data, name="a.png")
            assert message.startswith("a.png: ")
            assert message.endswith(" PNG: of all things")


def test_format_missing_in_pillow_is_named(monkeypatch: pytest.MonkeyPatch, encode: Encode) -> None:
    data = encode(Image.new("RGB", (3, 4)), "AVIF")
    factory, _ = Image.OPEN["AVIF"]
    monkeypatch.setitem(Image.OPEN, "AVIF", (factory, lambda _: "AVIF support not installed"))
    assert message_for(data, name="a.avif").startswith("a.avif: AVIF")


def test_closed_image_is_an_image_error(photo: NDArray[np.uint8]) -> None:
    image = Image.fromarray(photo)
    image.close()
    assert message_for(image).startswith("the image: ")


def test_reading_closes_the_file(photo: NDArray[np.uint8], encode: Encode, tmp_path: Path) -> None:
    for name, data in (("a.gif", encode(photo, "GIF")), ("b.tif", encode(photo, "TIFF")), ("c.png", PNG_MAGIC)):
        path = tmp_path / name
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            try:
                read_image(path)
            except ImageError:
                assert name == "c.png"
    if Path("/proc/self/fd").exists():
        open_files = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
        assert not [path for path in open_files if path.is_relative_to(tmp_path)]


# Limits


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "tEXt", "profile", "after the pixels"])
def test_png_with_large_texts_is_read(kind: str, photo: NDArray[np.uint8], encode: Encode) -> None:
    texts = PngImagePlugin.PngInfo()
    text = "workflow " * 140_000
    if kind == "zTXt":
        texts.add_text("workflow", text, zip=True)
    elif kind == "iTXt":
        texts.add_itxt("workflow", text, zip=True)
    elif kind == "tEXt":
        for number in range(70):  # Pillow reads at most 64 MiB of all texts
            texts.add_text(f"workflow {number}", "x" * 1_000_000)
    else:
        texts.add(b"zTXt", b"a\0\0" + zlib.compress(text.encode()), after_idat=kind != "profile")
    profile = {"icc_profile": os.urandom(1_200_000)} if kind == "profile" else {}
    data = encode(photo, "PNG", pnginfo=texts, orientation=6, **profile)
    loaded = read_image(data)
    assert (loaded.rgb == np.rot90(photo, -1)).all()


def test_damage_behind_large_texts_is_named(photo: NDArray[np.uint8], encode: Encode) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("workflow", "workflow " * 140_000, zip=True)
    with pytest.raises(ImageError, match="truncated"):
        read_image(encode(photo, "PNG", pnginfo=texts)[:-9000])


def test_panorama_is_noticed_behind_large_texts(photo: NDArray[np.uint8], encode: Encode) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("workflow", "workflow " * 140_000, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", '<x GPano:ProjectionType="equirectangular"/>')
    assert read_image(encode(photo, "PNG", pnginfo=texts)).panorama == "equirectangular"


@pytest.mark.parametrize("filler", [b"\xff", b"\xff\0"])
def test_jpeg_of_filler_bytes_is_refused_quickly(filler: bytes) -> None:
    start_s = time.perf_counter()
    with pytest.raises(ImageError, match="64 KiB"):
        read_image(b"\xff\xd8\xff" + filler * 3_000_000)
    assert time.perf_counter() - start_s < 1


def test_jpeg_with_some_filler_bytes_is_read(photo: NDArray[np.uint8], encode: Encode) -> None:
    data = encode(photo, "JPEG")
    assert read_image(data[:2] + b"\xff" * 2000 + data[2:] + b"\xff" * 100_000).rgb.shape == photo.shape


def test_jpeg_of_tiny_segments_is_refused(photo: NDArray[np.uint8], encode: Encode) -> None:
    data = encode(photo, "JPEG")
    with pytest.raises(ImageError, match="segments"):
        read_image(data[:2] + b"\xff\xfe\0\2" * (MAX_SEGMENTS + 1) + data[2:])


def test_long_image_is_refused_by_its_header() -> None:
    with pytest.raises(ImageError, match=f"{MAX_SIDE_PX:,}"):
        read_image(png_of_size(1, MAX_SIDE_PX + 1))
    with pytest.raises(ImageError, match=f"{MAX_SIDE_PX:,}"):
        read_image(np.zeros((1, MAX_SIDE_PX + 1), np.uint8))
