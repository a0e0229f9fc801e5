from __future__ import annotations

import pytest

from glpn_cli.errors import ImageError
from glpn_cli.image.fetching import Address, is_address, safe_name


def test_what_is_an_address() -> None:
    assert is_address("http://x/a.jpg")
    assert is_address("HTTPS://x")
    assert not any(map(is_address, ("ftp://x/a.jpg", "file:///etc/passwd", "http:/x", "a/http://x", "https.jpg")))


@pytest.mark.parametrize(
    "url", ["https://user:secret@host.org/a/b.jpg?key=secret#secret", "https://secret@host.org/a/b.jpg?secret"]
)
def test_nothing_secret_is_shown(url: str) -> None:
    address = Address.parse(url)
    assert str(address).startswith("https://host.org/a/b.jpg?...")
    for shown in (str(address), repr(address), address.name, "/".join(address.folders)):
        assert "secret" not in shown


def test_addresses_that_differ_in_the_query_are_told_apart() -> None:
    one, two = (Address.parse(f"http://h/get?id={number}") for number in (1, 2))
    assert str(one) != str(two)
    assert one.name != two.name
    assert one.name.startswith("get-")
    assert str(Address.parse("http://h/a.jpg")) == "http://h/a.jpg"


@pytest.mark.parametrize(
    ("url", "name", "folders"),
    [
        ("https://h.org/a/b/photo.jpg", "photo.jpg", ("h.org", "a", "b")),
        ("https://h.org/photo.jpg?width=9", "photo.jpg", ("h.org",)),
        ("https://h.org", "h.org", ("h.org",)),
        ("http://h.org:8080/x/", "x", ("h.org_8080",)),
        ("https://h/t%C3%BCr%20%E5%9B%BE.jpg", "t\u00fcr \u56fe.jpg", ("h",)),
        ("https://h/t\u00fcr.jpg", "t\u00fcr.jpg", ("h",)),
        ("https://h/..%2f..%2fetc%2fpasswd", "__.._etc_passwd", ("h",)),
        ("https://h/../%2e%2e/..%5c/a.jpg", "a.jpg", ("h", "_", "_", "__")),
        ("https://h/.ssh/.a.jpg", "_a.jpg", ("h", "_ssh")),
        ("https://h/a%00b%0a%1b[2J.jpg", "a_b__[2J.jpg", ("h",)),
        ("https://h/con/NUL.jpg", "_NUL.jpg", ("h", "_con")),
        ("https://h/a:b*c.jpg", "a_b_c.jpg", ("h",)),
        ("http://[::1]:80/a.jpg", "a.jpg", ("__1_80",)),
    ],
)
def test_names_from_addresses_are_safe(url: str, name: str, folders: tuple[str, ...]) -> None:
    address = Address.parse(url)
    assert address.name == name
    assert address.folders == folders


def test_a_long_name_keeps_its_suffix_and_fits() -> None:
    name = safe_name("\u56fe" * 500 + ".jpg")
    assert name.endswith(".jpg")
    assert len(name.encode()) <= 100
    assert len(safe_name("." + "x" * 500).encode()) <= 100


@pytest.mark.parametrize("text", ["", ".", "..", "...", " ", "\n", "/", " .x"])
def test_a_name_is_never_empty_hidden_or_a_way_up(text: str) -> None:
    name = safe_name(text)
    assert name
    assert name[0] not in ". "
    assert "/" not in name


@pytest.mark.parametrize(
    "url",
    ["http://", "http:///a.jpg", "http://h:99999/a", "http://h:x/a", "http://[::1/a", "http://a..b/x", "http://@"],
)
def test_what_makes_no_sense_is_an_error_that_does_not_repeat_it(url: str) -> None:
    with pytest.raises(ImageError, match="makes no sense") as caught:
        Address.parse(url)
    assert url not in str(caught.value)


def test_what_is_sent_is_ascii() -> None:
    address = Address.parse("https://b\u00fccher.example/t\u00fcr 1.jpg?q=\u56fe &x=%20")
    assert address.url == "https://xn--bcher-kva.example/t%C3%BCr%201.jpg?q=%E5%9B%BE%20&x=%20"
