"""Files by URL."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

from glpn_cli.errors import MissingPackageError, OutputError, UsageError
from glpn_cli.inference.store import Location, expand, is_store_url, names_tars, spool_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["memory", "local"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Location]:
    yield Location.parse("memory://bucket/out" if request.param == "memory" else str(tmp_path / "out"))
    fsspec.filesystem("memory").store.clear()


def put(location: Location, data: bytes, tmp_path: Path, *, replace: bool = False) -> None:
    with spool_folder(Location.parse(str(tmp_path))) as spool:
        (spool / "file").write_bytes(data)
        location.put(spool / "file", replace=replace)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("s{08..11}.tar", ["s08.tar", "s09.tar", "s10.tar", "s11.tar"]),
        ("s{9..10}.tar", ["s9.tar", "s10.tar"]),
        ("s{2..0}.tar", ["s2.tar", "s1.tar", "s0.tar"]),
        ("{a,b}{0..1}.tar", ["a0.tar", "a1.tar", "b0.tar", "b1.tar"]),
        ("s.tar", ["s.tar"]),
        ("{0}.tar", ["{0}.tar"]),
    ],
)
def test_braces_expand_as_in_a_shell(text: str, names: list[str]) -> None:
    assert [location.name for location in expand([text])] == names
    assert [str(location) for location in expand([f"memory://b/{text}"])] == [f"memory://b/{name}" for name in names]


def test_endless_braces_are_refused() -> None:
    for text in ("{0..99999999999}.tar", "{0..99999}{0..99999}.tar"):
        with pytest.raises(UsageError):
            expand([text])


def test_patterns_list_the_store(folder: Location, tmp_path: Path) -> None:
    for name in ("b.tar", "a.tar", "c.txt"):
        put(folder.child(name), b"x", tmp_path)
    assert [found.name for found in expand([str(folder.child("*.tar"))])] == ["a.tar", "b.tar"]
    with pytest.raises(UsageError):
        expand([str(folder.child("*.zip"))])


def test_a_name_is_given_once(folder: Location, tmp_path: Path) -> None:
    file = folder.child("a.tar")
    assert file.mark_or_none() is None
    assert folder.list_sizes() == {}
    put(file, b"first", tmp_path)
    with pytest.raises(FileExistsError):
        put(file, b"other", tmp_path)
    put(file, b"first", tmp_path) if file.root else None  # an answer that was lost is asked for again
    assert file.read() == b"first"
    mark = file.mark()
    put(file, b"again", tmp_path, replace=True)
    assert file.mark() != mark
    assert folder.list_sizes() == {"a.tar": 5}
    assert list(folder.read_heads(["a.tar"], 2)) == [b"ag"]
    file.remove()
    file.remove()
    assert file.mark_or_none() is None


def test_spooled_files_of_killed_runs_are_removed(tmp_path: Path) -> None:
    here = Location.parse(str(tmp_path))
    with spool_folder(here) as running:
        killed = tmp_path / ".glpn-spool-000000000000"
        killed.mkdir()
        killed.with_suffix(".lock").touch()
        with spool_folder(here):
            assert running.is_dir()
            assert not killed.exists()
    assert list(tmp_path.iterdir()) == []


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError) as refused:
        Location.parse("s3://AKIAIOSFODNN7EXAMPLE:SECRET@bucket/a.tar")
    assert "SECRET" not in str(refused.value)
    location = Location.parse("memory://bucket")

    def fail(*_: Any, **_options: Any) -> None:
        raise ValueError("https://me:SECRET@host/a?Signature=SECRET key AKIAIOSFODNN7EXAMPLE " + "SECRET/9" * 5)

    monkeypatch.setattr(type(location.files), "ls", fail)
    with pytest.raises(OutputError) as failed:
        location.list_sizes()
    assert "SECRET" not in str(failed.value)
    assert "AKIA" not in str(failed.value)
    assert failed.value.__suppress_context__


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(MissingPackageError) as missing:
        Location.parse("gs://bucket/a.tar")
    assert "pip install gcsfs" in str(missing.value.hint)
    with pytest.raises(UsageError):
        Location.parse("nonsense://bucket/a.tar")


def test_folders_and_pages_are_not_tars(tmp_path: Path) -> None:
    (tmp_path / "folder.tar").mkdir()
    assert not names_tars(["shots", tmp_path / "folder.tar", "file:///shots", "https://host/a"], "out")
    assert names_tars(["shots/a.tar"], "out")
    assert names_tars(["shots"], "s3://bucket")
    assert [is_store_url(text) for text in ("hf://datasets/a/b", "C:\\a", "http://a", "a://")] == [
        True,
        False,
        False,
        True,
    ]
