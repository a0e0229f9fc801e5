"""Batches that are cut into shards."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

import glpn_cli
from glpn_cli.api import open_batch
from glpn_cli.errors import OutputError, UsageError
from glpn_cli.inference.batch import BatchRun, make_batch
from glpn_cli.inference.manifest import Manifest, read_records
from glpn_cli.inference.verify import verify_outputs
from glpn_cli.values import Shard

if TYPE_CHECKING:
    from collections.abc import Callable

    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.inference.record import Record

COUNT = 10


@pytest.fixture(scope="module")
def tiny() -> Predictor:
    return glpn_cli.load("tiny")


@pytest.fixture(autouse=True)
def images(make_image: Callable[..., Path]) -> None:
    for index in range(COUNT):
        make_image(f"in/{index % 2}/{index}.png", 40, 40)


def process(
    tmp_path: Path, predictor: Predictor, shard: str | None = None, out: str = "out", **settings: Any
) -> list[Record]:
    batch = make_batch(tmp_path / "in", tmp_path / out, weights="tiny", shard=shard, **{"formats": "npy"} | settings)
    with BatchRun(batch, lambda _: predictor) as running:
        return [result.record for result in running]


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.npy")}


def test_shards_in_any_order_and_number_do_each_image_once(tmp_path: Path, tiny: Predictor) -> None:
    process(tmp_path, tiny, out="plain")
    done = [name for shard in ("3/3", "1/3", "2/3") for name in sources(process(tmp_path, tiny, shard))]
    assert Counter(done) == Counter(f"{index}.png" for index in range(COUNT))
    assert outputs(tmp_path / "out") == outputs(tmp_path / "plain")
    assert len(list((tmp_path / "out").glob("glpn-batch.00?-of-003.jsonl"))) == 3
    for shard in ("1/3", "1/2", "2/2", None):
        assert process(tmp_path, tiny, shard) == []
    assert Counter(finding.status for finding in verify_outputs(tmp_path / "out")) == Counter(intact=COUNT)
    assert len(read_records(tmp_path / "out")) == COUNT


def sources(records: list[Record]) -> list[str]:
    return [Path(record.source).name for record in records]


def test_a_shard_does_not_depend_on_where_the_folder_is(tmp_path: Path, tiny: Predictor) -> None:
    here = sources(process(tmp_path, tiny, "1/3"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in").rename(tmp_path / "elsewhere" / "in")
    assert sources(process(tmp_path / "elsewhere", tiny, "1/3")) == here
    assert 0 < len(here) < COUNT


def test_an_empty_shard_is_no_error(tmp_path: Path, tiny: Predictor) -> None:
    assert sum(process(tmp_path, tiny, f"{number}/40") == [] for number in range(1, 5)) > 0


def test_only_disjoint_batches_run_at_the_same_time(tmp_path: Path) -> None:
    with Manifest(tmp_path, Shard(1, 3)), Manifest(tmp_path, Shard(2, 3)):
        for shard in (None, Shard(1, 3), Shard(3, 4)):
            with pytest.raises(OutputError), Manifest(tmp_path, shard):
                pass
    with Manifest(tmp_path), pytest.raises(OutputError), Manifest(tmp_path, Shard(1, 3)):
        pass
    with Manifest(tmp_path, Shard(3, 4)):
        pass


def test_shards_share_a_range(tmp_path: Path, tiny: Predictor) -> None:
    records = [
        *process(tmp_path, tiny, "1/2", formats="color", range="run"),
        *process(tmp_path, tiny, "2/2", formats="color", range="run"),
    ]
    assert len(records) == COUNT
    (range_m,) = {tuple(record.settings["range_m"]) for record in records}
    (file,) = (tmp_path / "out").glob(".glpn-batch.range-*.json")
    assert json.loads(file.read_text())["range_m"] == list(range_m)


def test_a_damaged_range_is_an_output_error(tmp_path: Path, tiny: Predictor) -> None:
    process(tmp_path, tiny, "1/2", formats="color", range="run")
    (file,) = (tmp_path / "out").glob(".glpn-batch.range-*.json")
    file.write_text('{"range_m": [1]}')
    for manifest in (tmp_path / "out").glob("*.jsonl"):
        manifest.unlink()
    with pytest.raises(OutputError, match="range-"):
        process(tmp_path, tiny, "2/2", formats="color", range="run")


def test_another_number_of_shards_takes_over_a_killed_one(tmp_path: Path, tiny: Predictor) -> None:
    done = process(tmp_path, tiny, "1/1")
    (manifest_path,) = (tmp_path / "out").glob("*.jsonl")
    manifest_path.unlink()
    with Manifest(tmp_path / "out", Shard(1, 1)) as killed:
        killed.begin()
        for record in done:
            killed.announce(record, [])
        killed._begun = False
    assert process(tmp_path, tiny, "1/2") == process(tmp_path, tiny, "2/2") == []
    assert process(tmp_path, tiny) == []
    assert not list((tmp_path / "out").glob(".*.journal*"))


def test_the_newest_line_of_an_image_counts(tmp_path: Path, tiny: Predictor) -> None:
    process(tmp_path, tiny, "1/1")
    changed = tmp_path / "in" / "0" / "0.png"
    Image.new("RGB", (50, 50), "red").save(changed)
    redone = [record for shard in ("1/2", "2/2") for record in process(tmp_path, tiny, shard)]
    assert sources(redone) == ["0.png"]
    for shard in ("1/1", "1/2", "2/2", None):  # the first one drops its outdated line
        assert process(tmp_path, tiny, shard) == []
    assert read_records(tmp_path / "out")[str(changed)] == redone[0]
    assert {finding.status for finding in verify_outputs(tmp_path / "out")} == {"intact"}


def test_a_shard_with_other_settings_is_refused(tmp_path: Path, tiny: Predictor) -> None:
    process(tmp_path, tiny, "1/2")
    with pytest.raises(UsageError, match="format"):
        process(tmp_path, tiny, "2/2", formats="npy,npz")


def test_a_shard_has_no_report(tmp_path: Path, tiny: Predictor) -> None:
    batch = make_batch(tmp_path / "in", tmp_path / "out", shard="1/2")
    with pytest.raises(UsageError, match="shard"):
        open_batch(batch, lambda _: tiny, report=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "3", "0/3", "4/3", "1/0", "a/b", "-1/3", "1/3/5"])
def test_invalid_shards_are_usage_errors(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_batch(tmp_path / "in", tmp_path / "out", shard=text)
    assert caught.value.setting == "shard"


def test_shards_are_balanced() -> None:
    sizes = [sum(Shard(number, 4).has(f"{index}.png") for index in range(4000)) for number in range(1, 5)]
    assert sum(sizes) == 4000
    assert min(sizes) > 900
