"""Reading tars that anyone may have written."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest

from glpn_cli.errors import ImageError
from glpn_cli.inference.store import CheckedStream, Location
from glpn_cli.inference.tars import (
    MAX_NAME_BYTES,
    MemberNames,
    TarImage,
    TarRecord,
    TarScan,
    TruncatedTarError,
    read_lines,
)
from glpn_cli.output.formats import FORMATS
from glpn_cli.settings import SearchSettings
from tar_files import make_tar, png, samples

SOURCE = Location("/shots/000.tar")


def opened(tar: bytes) -> CheckedStream:
    return CheckedStream(io.BytesIO(tar), SOURCE, limit=MAX_NAME_BYTES)


def scan(tar: bytes, **search: object) -> tuple[list[TarImage], TarScan]:
    scan = TarScan(SOURCE, SearchSettings(**search))  # type: ignore[arg-type]
    return list(scan.images(opened(tar))), scan


def header(name: str, kind: bytes, target: str = "", size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, target, size
    return member


def test_images_are_read_and_the_rest_is_passed_over() -> None:
    members = [*samples(2), header("folder", tarfile.DIRTYPE), ("00002.txt", b"text"), ("00003.depth.png", png())]
    images, found = scan(make_tar(members))
    assert [(image.name, image.data) for image in images] == [member for member in samples(2) if "png" in member[0]]
    assert found.passed_over == 4


def test_patterns_and_hidden_names_choose_images() -> None:
    tar = make_tar([("./a.png", png()), ("a.seg.png", png()), ("._a.png", b"metadata"), (".git/b.png", png())])
    assert [image.name for image in scan(tar)[0]] == ["./a.png", "a.seg.png"]
    assert [image.name for image in scan(tar, exclude=("*.seg.png",))[0]] == ["./a.png"]
    assert len(scan(tar, hidden=True)[0]) == 4


@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_are_bytes(layout: int) -> None:
    names = ["ä.png", "\udcff\udcfe.png", "new\nline.png"] + (
        [] if layout == tarfile.USTAR_FORMAT else ["n" * 999 + ".png"]
    )
    images, _ = scan(make_tar([(name, png()) for name in names], format=layout))
    assert [image.name for image in images] == names


@pytest.mark.parametrize("name", ["../up.png", "/etc/up.png", "a/../../up.png"])
def test_names_that_lead_elsewhere_fail(name: str) -> None:
    (image,), _ = scan(make_tar([(name, png())]))
    assert isinstance(image.failure, ImageError)
    assert not image.data


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_fail(kind: bytes) -> None:
    first, second = scan(make_tar([("a.png", png()), header("b.png", kind, "a.png")]))[0]
    assert first.failure is None
    assert isinstance(second.failure, ImageError)


def test_only_the_first_of_duplicates_is_used() -> None:
    first, second = scan(make_tar([("a.png", png(1)), ("a.png", png(2))]))[0]
    assert first.data == png(1)
    assert isinstance(second.failure, ImageError)


def test_a_cut_at_any_place_is_noticed() -> None:
    tar = make_tar([("a.png", png()), ("b.json", b"{}" * 300), ("c.png", png())])
    end = tar.rstrip(b"\0").__len__()
    end += -end % 512
    for size in [*range(1, end, 37), *range(512, end + 1, 512)]:
        with pytest.raises((TruncatedTarError, ImageError)):
            scan(tar[:size])
    assert len(scan(tar[: end + 512])[0]) == 2  # one block of zeros is an end


def test_a_damaged_header_is_not_the_end() -> None:
    tar = bytearray(make_tar([("a.json", b"x"), ("b.png", png())]))
    tar[1024 + 3] ^= 255
    with pytest.raises(TruncatedTarError):
        scan(bytes(tar))


@pytest.mark.parametrize("data", [b"", b"x", png(), gzip.compress(make_tar(samples(1))), b"x" * 10_000])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"000\.tar"):
        scan(data)


@pytest.mark.parametrize("size", [-512, -1024, 2**62])
def test_impossible_sizes_end_the_tar(size: int) -> None:
    bad = header("b.json", tarfile.REGTYPE, size=size).tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(TruncatedTarError):
        scan(make_tar([("a.png", png())])[: 512 + len(png()) + -len(png()) % 512] + bad)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_long_name_takes_no_memory(kind: bytes) -> None:
    claim = header("b", kind, size=2**40).tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(ImageError):
        scan(claim + b"x" * 4096)


def test_headers_of_headers_end() -> None:
    text = b"12 comment=x\n"
    chain = header("x", tarfile.XHDTYPE, size=len(text)).tobuf(tarfile.USTAR_FORMAT) + text.ljust(512, b"\0")
    with pytest.raises(ImageError):
        scan(chain * 5000)


def test_images_are_found_again_by_their_place() -> None:
    tar = make_tar([("n" * 300 + ".png", png(1)), *samples(3)])
    images, _ = scan(tar)
    again = list(TarScan(SOURCE).images_at(opened(tar), [images[0].offset, images[2].offset]))
    assert again == [images[0], images[2]]


def test_depth_has_the_key_of_its_image() -> None:
    names = MemberNames()
    rows = [FORMATS["png"], FORMATS["npy"]]
    assert names.outputs("./a/0.left.jpg", rows) == ("./a/0.left.depth.png", "./a/0.left.depth.npy")
    given = [names.outputs(name, rows)[0] for name in ("0.jpg", "0.png", "0.jpg", "0.png.jpg")]
    assert given[:2] == ["0.depth.png", "0.png.depth.png"]
    assert len(set(given)) == 4


@pytest.mark.parametrize(
    "head",
    [b"", b"{}", b"[]\n", b'{"glpn_tar": 1}\n', b'{"glpn_tar": {"size": -1}}\n', b'{"glpn_tar": []}\n', b"\xff\n"],
)
def test_other_record_files_are_not_ours(head: bytes) -> None:
    assert TarRecord.parse(head) is None
    assert read_lines(b"\n" + head) == []
