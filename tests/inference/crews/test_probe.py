from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from glpn_cli.errors import DeviceError, OutputError
from glpn_cli.inference.crews import probe as probe_module
from glpn_cli.inference.crews.probe import Nonce, Probe
from glpn_cli.inference.manifest import Manifest
from glpn_cli.inference.plan import Task
from glpn_cli.output.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def tasks(tmp_path: Path, make_image: Callable[..., Path]) -> list[Task]:
    (tmp_path / "out").mkdir()
    return [Task(make_image(f"in/{name}.png"), ((FORMATS["npy"], tmp_path / "out" / f"{name}.npy"),)) for name in "ab"]


def test_the_same_folder_and_images_pass_and_leave_nothing(tmp_path: Path, tasks: list[Task]) -> None:
    nonce = Nonce.place(None, tasks)
    probe = Probe.of(nonce, tasks)
    assert len(probe.images) == 2
    for number in range(3):
        probe.check(number)
    nonce.remove()
    assert list((tmp_path / "out").iterdir()) == []


def test_another_folder_at_the_same_path_is_refused(tmp_path: Path, tasks: list[Task]) -> None:
    with Manifest(tmp_path / "out") as manifest:
        probe = Probe.of(Nonce.place(manifest, tasks), tasks)
    shutil.rmtree(tmp_path / "out")
    with Manifest(tmp_path / "out") as manifest:
        with pytest.raises(OutputError):
            probe.check(0)
        Nonce.place(manifest, tasks)
        with pytest.raises(OutputError) as caught:
            probe.check(0)
    assert str(tmp_path / "out") in str(caught.value)


def test_missing_and_different_images_are_refused(tmp_path: Path, tasks: list[Task]) -> None:
    probe = Probe.of(Nonce.place(None, tasks), tasks)
    with pytest.raises(DeviceError):
        replace(probe, images=((tmp_path / "in" / "a.png", 1),)).check(0)
    (tmp_path / "in" / "b.png").unlink()
    with pytest.raises(DeviceError, match=r"b\.png"):
        probe.check(0)


def test_a_folder_that_replaces_files_is_refused(
    tmp_path: Path, tasks: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = Probe.of(Nonce.place(None, tasks), tasks)
    monkeypatch.setattr(probe_module, "move_into_place", lambda *_, **__: None)
    with pytest.raises(OutputError, match="out"):
        probe.check(0)


def test_a_run_without_files_only_checks_images(tasks: list[Task]) -> None:
    bare = [replace(task, outputs=()) for task in tasks]
    nonce = Nonce.place(None, bare)
    assert nonce.path is None
    Probe.of(nonce, bare).check(0)
    nonce.remove()


def test_a_leftover_of_a_killed_run_is_removed(tmp_path: Path, tasks: list[Task]) -> None:
    with Manifest(tmp_path / "out") as manifest:
        manifest.begin()
        Nonce.place(manifest, tasks)
        manifest._locked.close()
        manifest._begun = False
    with Manifest(tmp_path / "out") as manifest:
        assert manifest.records == {}
        manifest.begin()
        Nonce.place(manifest, tasks)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"glpn-batch.jsonl", ".glpn-batch.lock"}
