"""EXIF metadata as cameras write it, and invalid EXIF."""

from __future__ import annotations

import io
from fractions import Fraction
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

from glpn_cli.image.exif import ExifFocal, read_focal, read_panorama
from glpn_cli.image.reading import read_image

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Encode = Callable[..., bytes]

MM_35, FOCAL, PER_UNIT, UNIT, ACROSS, DOWN, ORIENTATION = 0xA405, 0x920A, 0xA20E, 0xA210, 0xA002, 0xA003, 0x0112


def jpeg_with(tags: dict[int, object], *, orientation: int = 1, size: tuple[int, int] = (400, 300)) -> bytes:
    """Return a JPEG of `size` (width, height) with EXIF tags."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif.get_ifd(0x8769).update(tags)
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def focal_of(data: bytes) -> ExifFocal | None:
    return read_image(data).focal


class ImageWithExif:
    """Stands in for an image with EXIF tags that Pillow would not write."""

    size = (400, 300)

    def __init__(self, tags: dict[int, object]) -> None:
        self.tags = tags

    def getexif(self) -> ImageWithExif:
        return self

    def get_ifd(self, tag: int) -> dict[int, object]:
        assert tag == 0x8769
        return self.tags


def rational(number: float) -> IFDRational:
    fraction = Fraction(number).limit_denominator(1000)
    return IFDRational(fraction.numerator, fraction.denominator)


def test_35_mm_equivalent_is_read() -> None:
    assert focal_of(jpeg_with({MM_35: 28})) == ExifFocal(mm_35=28.0)


@pytest.mark.parametrize(("unit", "per_unit"), [(None, 25.4 * 50), (2, 25.4 * 50), (3, 500), (4, 50), (5, 0.05)])
def test_focal_length_in_pixels_from_lens_and_sensor(unit: int | None, per_unit: float) -> None:
    tags = {FOCAL: rational(10), PER_UNIT: rational(per_unit), ACROSS: 400, DOWN: 300}
    focal = focal_of(jpeg_with(tags | ({} if unit is None else {UNIT: unit})))
    assert focal is not None
    assert focal.mm_35 is None
    assert focal.px == pytest.approx(500, rel=1e-3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_does_not_change_the_focal_length(orientation: int) -> None:
    tags = {MM_35: 28, FOCAL: rational(10), PER_UNIT: rational(500), UNIT: 3, ACROSS: 400, DOWN: 300}
    read = read_image(jpeg_with(tags, orientation=orientation))
    assert read.rgb.shape[:2] == ((300, 400) if orientation <= 4 else (400, 300))
    assert read.focal == ExifFocal(28.0, 500.0)


def test_focal_length_in_pixels_follows_resizing() -> None:
    tags = {FOCAL: rational(10), PER_UNIT: rational(500), UNIT: 3, ACROSS: 4000, DOWN: 3000}
    focal = focal_of(jpeg_with(tags))
    assert focal is not None
    assert focal.px == pytest.approx(50)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {MM_35: 0},
        {MM_35: 60_000},
        {FOCAL: rational(10)},
        {FOCAL: rational(10), PER_UNIT: rational(500), UNIT: 1},
        {FOCAL: IFDRational(10, 0), PER_UNIT: rational(500), UNIT: 3},
        {FOCAL: rational(0.001), PER_UNIT: rational(1), UNIT: 3},
    ],
)
def test_implausible_focal_length_is_ignored(tags: dict[int, object]) -> None:
    assert focal_of(jpeg_with(tags)) is None


@pytest.mark.parametrize("value", [None, "28 mm", (28, 30), (), float("nan"), 10**400, [28]])
def test_invalid_tag_values_are_ignored(value: object) -> None:
    assert read_focal(ImageWithExif({MM_35: value})) is None  # type: ignore[arg-type]


def test_unparsable_exif_is_ignored() -> None:
    class Broken:
        size = (400, 300)

        def getexif(self) -> object:
            raise SyntaxError("not a TIFF header")

    assert read_focal(Broken()) is None  # type: ignore[arg-type]


def test_image_without_exif_has_no_focal_length() -> None:
    assert read_focal(Image.new("RGB", (4, 3))) is None
    assert read_image(Image.new("RGB", (4, 3))).focal is None


def test_focal_length_is_read_from_other_formats() -> None:
    with_orientation = Image.Exif()
    with_orientation[ORIENTATION] = 1
    with_orientation.get_ifd(0x8769)[MM_35] = 35
    in_a_tiff = Image.Exif()  # Pillow writes the EXIF directory of a TIFF only if the main directory has the tag
    in_a_tiff.get_ifd(0x8769)[MM_35] = 35
    in_a_tiff[0x8769] = 0
    for name, exif in (("PNG", with_orientation), ("WEBP", with_orientation), ("TIFF", in_a_tiff)):
        buffer = io.BytesIO()
        Image.new("RGB", (40, 30)).save(buffer, name, exif=exif)
        assert focal_of(buffer.getvalue()) == ExifFocal(mm_35=35.0), name


# Orientation

LOSSLESS: dict[str, dict[str, Any]] = {"PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}}
LOSSY: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
    "MPO": {"quality": 95, "subsampling": 0},
}


def turned(rgb: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn stored pixels upright, by the position of row 0 and column 0 in the EXIF specification."""
    transposed = rgb.transpose(1, 0, 2)
    upright = {
        1: rgb,  # top, left
        2: rgb[:, ::-1],  # top, right
        3: rgb[::-1, ::-1],  # bottom, right
        4: rgb[::-1],  # bottom, left
        5: transposed,  # left, top
        6: transposed[:, ::-1],  # right, top
        7: transposed[::-1, ::-1],  # right, bottom
        8: transposed[::-1],  # left, bottom
    }
    return upright[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", LOSSLESS)
def test_every_orientation_is_turned_upright_exactly(
    orientation: int, format_name: str, photo: NDArray[np.uint8], encode: Encode
) -> None:
    data = encode(photo, format_name, orientation=orientation, **LOSSLESS[format_name])
    image = read_image(data)
    assert np.array_equal(image.rgb, turned(photo, orientation))
    assert image.rgb.flags.c_contiguous
    assert image.notes == ()
    assert np.array_equal(read_image(Image.open(io.BytesIO(data))).rgb, image.rgb)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", LOSSY)
def test_every_orientation_of_lossy_formats_is_turned_upright(
    orientation: int, format_name: str, photo: NDArray[np.uint8], encode: Encode
) -> None:
    more = {"save_all": True, "append_images": [Image.fromarray(255 - photo)]} if format_name == "MPO" else {}
    data = encode(photo, format_name, orientation=orientation, **LOSSY[format_name], **more)
    expected = turned(photo, orientation)
    image = read_image(data)
    assert image.rgb.shape == expected.shape
    assert np.abs(image.rgb.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("mode", ["L", "I;16", "RGBA", "P"])
def test_converted_images_are_turned_upright(mode: str, photo: NDArray[np.uint8], encode: Encode) -> None:
    gray = Image.fromarray(photo[..., 0])
    image = Image.fromarray(photo[..., 0].astype(np.uint16) * 257) if mode == "I;16" else gray.convert(mode)
    loaded = read_image(encode(image, "PNG", orientation=6))
    assert np.array_equal(loaded.rgb[..., 0], turned(photo[..., :1], 6)[..., 0])


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_unknown_orientation_is_ignored(orientation: int, photo: NDArray[np.uint8], encode: Encode) -> None:
    image = read_image(encode(photo, "PNG", orientation=orientation))
    assert np.array_equal(image.rgb, photo)
    assert image.notes == ()


def test_unreadable_orientation_is_noted(photo: NDArray[np.uint8], encode: Encode) -> None:
    image = read_image(encode(photo, "PNG", exif=b"Exif\0\0no EXIF at all"))
    assert np.array_equal(image.rgb, photo)
    (note,) = image.notes
    assert "EXIF" in note


XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" {attribute}>{element}</rdf:Description>'
    "</rdf:RDF></x:xmpmeta>"
)
EQUIRECTANGULAR = XMP.format(attribute='GPano:ProjectionType="equirectangular"', element="")


def with_xmp(format_name: str, xmp: str) -> bytes:
    """Return an image with XMP, where its format stores it."""
    more: dict[str, Any] = {"xmp": xmp.encode()}
    if format_name == "PNG":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", xmp)
        more = {"pnginfo": text}
    elif format_name == "TIFF":
        more = {"tiffinfo": {700: xmp.encode()}}
    buffer = io.BytesIO()
    Image.new("RGB", (8, 4)).save(buffer, format_name, **more)
    return buffer.getvalue()


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_panoramas_are_recognized(format_name: str) -> None:
    image = read_image(with_xmp(format_name, EQUIRECTANGULAR))
    assert image.panorama == "equirectangular"
    (note,) = image.notes
    assert "panorama" in note
    assert read_image(Image.open(io.BytesIO(with_xmp(format_name, EQUIRECTANGULAR)))).panorama == "equirectangular"


@pytest.mark.parametrize(
    ("attribute", "element", "expected"),
    [
        ("", "<GPano:ProjectionType>cylindrical</GPano:ProjectionType>", "cylindrical"),
        ("GPano:ProjectionType = 'Equirectangular'", "", "equirectangular"),
        ('GPano:ProjectionType="rectilinear"', "", None),
        ('GPano:UsePanoramaViewer="True"', "", None),
        ('GPano:ProjectionType=""', "", None),
    ],
)
def test_projections_in_xmp(attribute: str, element: str, expected: str | None) -> None:
    image = read_image(with_xmp("JPEG", XMP.format(attribute=attribute, element=element)))
    assert image.panorama == expected
    assert bool(image.notes) == (expected is not None)


@pytest.mark.parametrize("xmp", [b"\xff\xfe\0", 3, object(), b"GPano:ProjectionType=" * 100_000])
def test_invalid_xmp_is_ignored(xmp: object) -> None:
    assert read_panorama(SimpleNamespace(info={"xmp": xmp})) is None  # type: ignore[arg-type]
