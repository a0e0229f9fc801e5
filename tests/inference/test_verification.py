from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from glpn_cli.errors import DepthFileError
from glpn_cli.inference.manifest import DONE, FAILED, UNFINISHED, Manifest, Record
from glpn_cli.inference.verify import CHANGED, INTACT, LEFT_OVER, MISSING, UNLISTED, verify_outputs

if TYPE_CHECKING:
    from pathlib import Path


def done(folder: Path, name: str, status: str = DONE) -> None:
    """Write an output and its line as a batch does."""
    output = f"{name}.depth.png"
    (folder / output).parent.mkdir(parents=True, exist_ok=True)
    (folder / output).write_bytes(name.encode())
    digest = hashlib.sha256(name.encode()).hexdigest()
    with Manifest(folder) as manifest:
        manifest.begin()
        manifest.append(Record(f"/in/{name}", status, {"png": output}, sha256={"png": digest}))


def found(folder: Path) -> dict[str, str]:
    return {finding.output: finding.status for finding in verify_outputs(folder)}


def test_what_was_written_is_intact(tmp_path: Path) -> None:
    done(tmp_path, "a")
    done(tmp_path, "sub/b")
    findings = list(verify_outputs(tmp_path))
    assert {finding.output for finding in findings} == {"a.depth.png", "sub/b.depth.png"}
    for finding in findings:
        assert finding.status == INTACT
        assert not finding.is_wrong
        assert finding.format == "png"
        assert finding.source == "/in/" + finding.output[: -len(".depth.png")]
        assert finding.sha256 == hashlib.sha256((tmp_path / finding.output).read_bytes()).hexdigest()


def test_every_way_not_to_be_as_written_has_its_word(tmp_path: Path) -> None:
    for name in ("kept", "gone", "touched", "folder"):
        done(tmp_path, name)
    (tmp_path / "gone.depth.png").unlink()
    (tmp_path / "touched.depth.png").write_bytes(b"TOUCHED")
    (tmp_path / "folder.depth.png").unlink()
    (tmp_path / "folder.depth.png").mkdir()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "stranger.depth.npy").touch()
    (tmp_path / "deep" / ".glpn-0123456789ab.part").touch()
    (tmp_path / "deep" / "photo.png").touch()  # an image, which is nobody's output
    assert found(tmp_path) == {
        "kept.depth.png": INTACT,
        "gone.depth.png": MISSING,
        "touched.depth.png": CHANGED,
        "folder.depth.png": CHANGED,
        "deep/stranger.depth.npy": UNLISTED,
        "deep/.glpn-0123456789ab.part": LEFT_OVER,
    }


def test_what_was_never_promised_is_not_missed(tmp_path: Path) -> None:
    done(tmp_path, "begun", UNFINISHED)
    (tmp_path / "begun.depth.png").unlink()
    with Manifest(tmp_path) as manifest:
        manifest.begin()
        manifest.append(Record("/in/broken", FAILED, error="broken"))
    assert found(tmp_path) == {}


def test_a_folder_without_a_manifest_is_an_error(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DepthFileError, match="no glpn-batch"):
            list(verify_outputs(folder))


def test_nothing_is_changed(tmp_path: Path) -> None:
    done(tmp_path, "a")
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.iterdir())
    found(tmp_path)
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.iterdir()) == before
