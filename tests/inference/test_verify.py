from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from glpn_cli.errors import DepthFileError
from glpn_cli.inference.manifest import MANIFEST_NAME, Manifest
from glpn_cli.inference.record import DONE, FAILED, UNFINISHED, Record
from glpn_cli.inference.verify import CHANGED, INTACT, LEFT_OVER, MISSING, UNLISTED, verify_outputs

if TYPE_CHECKING:
    from pathlib import Path


def done(folder: Path, name: str, status: str = DONE) -> None:
    """Write an output and its line of the manifest, as a batch does."""
    output = f"{name}.depth.png"
    (folder / output).parent.mkdir(parents=True, exist_ok=True)
    (folder / output).write_bytes(name.encode())
    digest = hashlib.sha256(name.encode()).hexdigest()
    with Manifest(folder) as manifest:
        manifest.begin()
        manifest.append(Record(f"/in/{name}", status, {"png": output}, sha256={"png": digest}))


def found(folder: Path) -> dict[str, str]:
    return {finding.output: finding.status for finding in verify_outputs(folder)}


def test_written_outputs_are_intact(tmp_path: Path) -> None:
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


def test_every_other_state_has_its_status(tmp_path: Path) -> None:
    for name in ("intact", "gone", "touched", "folder"):
        done(tmp_path, name)
    (tmp_path / "gone.depth.png").unlink()
    (tmp_path / "touched.depth.png").write_bytes(b"TOUCHED")
    (tmp_path / "folder.depth.png").unlink()
    (tmp_path / "folder.depth.png").mkdir()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "unknown.depth.npy").touch()
    (tmp_path / "deep" / ".glpn-0123456789ab.part").touch()
    (tmp_path / "deep" / "photo.png").touch()  # an image, not an output
    assert found(tmp_path) == {
        "intact.depth.png": INTACT,
        "gone.depth.png": MISSING,
        "touched.depth.png": CHANGED,
        "folder.depth.png": CHANGED,
        "deep/unknown.depth.npy": UNLISTED,
        "deep/.glpn-0123456789ab.part": LEFT_OVER,
    }


def test_altered_lines_are_ignored(tmp_path: Path) -> None:
    done(tmp_path, "intact")
    line = json.loads((tmp_path / MANIFEST_NAME).read_text())
    changes = ({"source": "b\0"}, {"source": "c", "outputs": {"png": "x\ud800"}}, {"source": "d", "sha256": [1]})
    with (tmp_path / MANIFEST_NAME).open("a") as stream:
        stream.writelines(json.dumps(line | change) + "\n" for change in changes)
    assert found(tmp_path) == {"intact.depth.png": INTACT}


def test_unfinished_and_failed_images_are_not_missing(tmp_path: Path) -> None:
    done(tmp_path, "started", UNFINISHED)
    (tmp_path / "started.depth.png").unlink()
    with Manifest(tmp_path) as manifest:
        manifest.begin()
        manifest.append(Record("/in/broken", FAILED, error="broken"))
    assert found(tmp_path) == {}


def test_a_folder_without_a_manifest_is_an_error(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DepthFileError) as caught:
            list(verify_outputs(folder))
        assert str(folder) in str(caught.value)
        assert "`output`" in str(caught.value.hint)


def test_verifying_changes_nothing(tmp_path: Path) -> None:
    done(tmp_path, "a")
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.iterdir())
    found(tmp_path)
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.iterdir()) == before


def test_names_are_compared_in_one_unicode_form(tmp_path: Path) -> None:
    done(tmp_path, "a\u0308")  # an a and a combining diaeresis
    (tmp_path / "a\u0308.depth.png").rename(tmp_path / "\u00e4.depth.png")  # as some file systems do
    assert UNLISTED not in found(tmp_path).values()
