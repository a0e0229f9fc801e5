from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from glpn_cli.errors import ImageError
from glpn_cli.image.discovery import read_list
from glpn_cli.image.fetching import Address
from glpn_cli.inference.batch import make_batch
from glpn_cli.inference.plan import Task
from glpn_cli.inference.record import DONE, Record
from glpn_cli.inference.task_table import TaskTable
from glpn_cli.output.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Sequence

PNG, NPY = FORMATS["png"], FORMATS["npy"]


def task(source: str, *outputs: str, **more: object) -> Task:
    return Task(Path(source), ((PNG, Path(outputs[0])), (NPY, Path(outputs[1]))), **more)  # type: ignore[arg-type]


RECORDS = {source: Record(source, DONE, {"png": "x"}) for source in ("/in/a.jpg", "/in/other.jpg")}
TASKS = [
    task("/in/a.jpg", "/out/a.depth.png", "/out/a.depth.npy", record=RECORDS["/in/a.jpg"], overwrite=True),
    task("/in/b.jpg", "/out/b.jpg.depth.png", "/out/b.jpg.depth.npy", done=True),
    task("/in/c", "/out/c.depth.png", "/out/c.depth.npy"),
    task("/in/.d.", "/out/.d..depth.png", "/out/.d..depth.npy"),
    task("/e.jpg", "/out/renamed.png", "/out/e.depth.npy"),
    task("f.jpg", "/out/f.depth.png", "/elsewhere/f.depth.npy"),
    task("/in/g\udcff.jpg", "/out/g\udcff.depth.png", "/out/g\udcff.depth.npy"),
    task("/in/h.jpg", "/out/h.depth.png", "/out/h.depth.npy", record=RECORDS["/in/other.jpg"]),
    task("/in/i.jpg", "/out/i.depth.png", "/out/i.depth.npy", failure=ImageError("no")),
    Task(Address.parse("http://h.org/j.jpg"), ((PNG, Path("/out/j.png")), (NPY, Path("/out/j.npy")))),
    Task(Path("/in/folder"), failure=ImageError("cannot be listed")),
]


@pytest.fixture
def table() -> TaskTable:
    return TaskTable(TASKS, [PNG, NPY], RECORDS)


def test_a_table_returns_the_tasks_that_it_took(table: TaskTable) -> None:
    assert list(table) == TASKS
    assert len(table) == len(TASKS)
    assert (table[3], table[-1], list(table[1:4])) == (TASKS[3], TASKS[-1], TASKS[1:4])
    with pytest.raises(IndexError):
        table[len(TASKS)]


def test_a_table_knows_what_is_left_to_do(table: TaskTable) -> None:
    assert list(table.done) == [each for each in TASKS if each.done]
    assert list(table.pending) == [each for each in TASKS if not each.done]
    assert list(table.possible) == [each for each in TASKS if each.failure is None]
    assert table.pending[1] == TASKS[2]
    assert list(table.pending[:2]) == [TASKS[0], TASKS[2]]


def plan_bytes(tmp_path: Path, names: Sequence[str], **more: object) -> float:
    """Return the memory that the plan of an image takes."""
    tracemalloc.start()
    try:
        planned = make_batch([] if more else tmp_path / "in", tmp_path / "out", **more).plan()  # type: ignore[arg-type]
        taken = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    assert len(planned) == len(names)
    # Without the table of interned names, which belongs to Python and may double at any time.
    ours = taken.filter_traces([tracemalloc.Filter(inclusive=False, filename_pattern="*pathlib*")])
    return sum(trace.size for trace in ours.traces) / len(names)


def test_a_plan_takes_little_memory(tmp_path: Path) -> None:
    names = [str(tmp_path / "in" / f"{number // 500}" / f"IMG_{number:06}.jpg") for number in range(3000)]
    for name in names:
        os.makedirs(os.path.dirname(name), exist_ok=True)
        Path(name).touch()
    plan_bytes(tmp_path, names)  # imports
    assert plan_bytes(tmp_path, names) < 250  # tasks took 1.7 KB
    (tmp_path / "list").write_text("\n".join(names))
    listed = read_list(str(tmp_path / "list"))
    assert plan_bytes(tmp_path, names, listed=listed) < 500
