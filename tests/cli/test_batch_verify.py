"""`glpn batch --verify`: outputs compared with the manifest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture(autouse=True)
def batch(glpn: Glpn, make_image: Callable[..., Path]) -> None:
    """A batch of three images in out/."""
    for name in ("a", "b", "sub/c"):
        make_image(f"in/{name}.png", 40, 50)
    assert glpn("batch", "in", "--out", "out", "-f", "png", "-f", "npy").returncode == 0


def test_an_intact_batch_is_one_line(glpn: Glpn) -> None:
    run = glpn("batch", "--verify", "--out", "out")
    assert run.returncode == 0
    assert run.stdout == b""
    assert b"6 intact, in " in run.stderr


def test_wrong_outputs_are_listed(glpn: Glpn, tmp_path: Path) -> None:
    (tmp_path / "out" / "a.depth.png").unlink()
    data = bytearray((tmp_path / "out" / "sub" / "c.depth.npy").read_bytes())
    data[-1] ^= 1
    (tmp_path / "out" / "sub" / "c.depth.npy").write_bytes(data)
    (tmp_path / "out" / "\x1b[31mstranger.depth.png").touch()
    run = glpn("batch", "--verify", "--out", "out")
    assert run.returncode == 7
    assert sorted(line.split(b":")[0] for line in run.stdout.splitlines()) == [b"changed", b"missing", b"unlisted"]
    assert b"\x1b" not in run.stdout
    assert b"4 intact" in run.stderr
    assert b"error: 2 outputs" in run.stderr
    # The advice of the hint works.
    (tmp_path / "out" / "sub" / "c.depth.npy").unlink()
    again = glpn("batch", "in", "--out", "out", "-f", "png", "-f", "npy")
    assert again.returncode == 0, again.stderr
    assert b"2 of 2 done" in again.stderr
    assert glpn("batch", "--verify", "--out", "out").returncode == 0  # a foreign file is not an error


def test_json_has_an_object_per_output(glpn: Glpn, tmp_path: Path) -> None:
    (tmp_path / "out" / "b.depth.png").unlink()
    run = glpn("batch", "--verify", "--out", "out", "--json", "-q")
    assert run.returncode == 7
    findings = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(findings) == 6
    (missing,) = (finding for finding in findings if finding["status"] != "intact")
    assert missing["output"] == "b.depth.png"
    assert missing["source"] == str(tmp_path / "in" / "b.png")
    assert missing["format"] == "png"
    assert len(missing["sha256"]) == 64


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--verify", "--out", "in"], 4),
        (["--verify", "--out", "nowhere"], 4),
        (["in", "--verify", "--out", "out"], 2),
        (["--verify", "--overwrite", "--out", "out"], 2),
        (["--verify", "--dry-run", "--out", "out"], 2),
        (["in", "--dry-run", "--json", "--out", "out"], 2),
        (["--out", "out"], 2),
    ],
)
def test_contradicting_arguments_are_refused(glpn: Glpn, arguments: list[str], code: int) -> None:
    run = glpn("batch", *arguments)
    assert run.returncode == code, run.stderr
    assert b"Traceback" not in run.stderr
