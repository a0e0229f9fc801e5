"""Focal lengths as cameras write them down, and what is no focal length."""

from __future__ import annotations

import io
from fractions import Fraction

import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from glpn_cli.image.exif import ExifFocal, read_focal
from glpn_cli.image.reading import read_image

MM_35, FOCAL, PER_UNIT, UNIT, ACROSS, DOWN, ORIENTATION = 0xA405, 0x920A, 0xA20E, 0xA210, 0xA002, 0xA003, 0x0112


def image(tags: dict[int, object], *, orientation: int = 1, size: tuple[int, int] = (400, 300)) -> bytes:
    """Write a JPEG, `size` wide and high, with EXIF tags."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif.get_ifd(0x8769).update(tags)
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def focal_of(data: bytes) -> ExifFocal | None:
    return read_image(data).focal


def rational(number: float) -> IFDRational:
    fraction = Fraction(number).limit_denominator(1000)
    return IFDRational(fraction.numerator, fraction.denominator)


def test_the_35_mm_equivalent_is_read() -> None:
    assert focal_of(image({MM_35: 28})) == ExifFocal(mm_35=28.0)


@pytest.mark.parametrize(("unit", "per_unit"), [(None, 25.4 * 50), (2, 25.4 * 50), (3, 500), (4, 50), (5, 0.05)])
def test_lens_and_sensor_give_pixels_in_whatever_unit(unit: int | None, per_unit: float) -> None:
    tags = {FOCAL: rational(10), PER_UNIT: rational(per_unit), ACROSS: 400, DOWN: 300}
    focal = focal_of(image(tags | ({} if unit is None else {UNIT: unit})))
    assert focal is not None
    assert focal.mm_35 is None
    assert focal.px == pytest.approx(500, rel=1e-3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_image_on_its_side_has_the_same_lens(orientation: int) -> None:
    tags = {MM_35: 28, FOCAL: rational(10), PER_UNIT: rational(500), UNIT: 3, ACROSS: 400, DOWN: 300}
    read = read_image(image(tags, orientation=orientation))
    assert read.rgb.shape[:2] == ((300, 400) if orientation <= 4 else (400, 300))
    assert read.focal == ExifFocal(28.0, 500.0)


def test_a_image_that_was_made_smaller_has_fewer_pixels_to_the_same_lens() -> None:
    tags = {FOCAL: rational(10), PER_UNIT: rational(500), UNIT: 3, ACROSS: 4000, DOWN: 3000}
    focal = focal_of(image(tags))
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
def test_what_cannot_be_is_unknown(tags: dict[int, object]) -> None:
    assert focal_of(image(tags)) is None


@pytest.mark.parametrize("value", [None, "28 mm", (28, 30), (), float("nan"), 10**400, [28]])
def test_odd_values_are_unknown_and_no_crash(value: object) -> None:
    assert read_focal(saying({MM_35: value})) is None  # type: ignore[arg-type]


def test_exif_that_cannot_be_parsed_is_unknown() -> None:
    class Broken:
        size = (400, 300)

        def getexif(self) -> object:
            raise SyntaxError("not a TIFF header")

    assert read_focal(Broken()) is None  # type: ignore[arg-type]


def saying(tags: dict[int, object]) -> object:
    """Stand in for an image whose EXIF says this, whatever Pillow would have made of it."""

    class Saying:
        size = (400, 300)

        def getexif(self) -> Saying:
            return self

        def get_ifd(self, tag: int) -> dict[int, object]:
            assert tag == 0x8769
            return tags

    return Saying()


def test_a_image_without_exif_or_a_file_says_nothing() -> None:
    assert read_focal(Image.new("RGB", (4, 3))) is None
    assert read_image(Image.new("RGB", (4, 3))).focal is None


def test_other_formats_carry_it_too() -> None:
    with_orientation = Image.Exif()
    with_orientation[ORIENTATION] = 1
    with_orientation.get_ifd(0x8769)[MM_35] = 35
    in_a_tiff = Image.Exif()  # there Pillow writes the inner directory only if it is named outside, too
    in_a_tiff.get_ifd(0x8769)[MM_35] = 35
    in_a_tiff[0x8769] = 0
    for name, exif in (("PNG", with_orientation), ("WEBP", with_orientation), ("TIFF", in_a_tiff)):
        buffer = io.BytesIO()
        Image.new("RGB", (40, 30)).save(buffer, name, exif=exif)
        assert focal_of(buffer.getvalue()) == ExifFocal(mm_35=35.0), name
