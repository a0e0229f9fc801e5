"""Writing behind: encode the depth map of an image, write its files, and keep its line in the manifest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from glpn_cli.errors import GLPNError, OutputError
from glpn_cli.files import (
    is_disk_wide,
    make_folder,
    partial_path,
    refuse_outside,
    refuses_files,
    write_together,
    write_whole,
)
from glpn_cli.inference.existing import output_hashes, write_missing
from glpn_cli.inference.fingerprint import file_fingerprint
from glpn_cli.inference.record import DONE, Record, relative_source
from glpn_cli.inference.result import (
    UP_TO_DATE,
    Noted,
    Result,
    current_result,
    describe_depth,
    describe_file_use,
    failed_result,
)

if TYPE_CHECKING:
    from pathlib import Path

    from glpn_cli.depth import DepthMap
    from glpn_cli.inference.autotune import Stopwatch
    from glpn_cli.inference.journal import RecordSink
    from glpn_cli.inference.plan import Task
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.inference.run import RunOptions
    from glpn_cli.output.formats import DepthFormat
    from glpn_cli.settings import OutputSettings


@dataclass(slots=True)
class Item:
    """A task on its way through the stream.

    Attributes:
        task: the image and its outputs.
        stopwatch: the time of each stage.
        mark: size and modification time of the image before it was read.
        image_sha256: of the image that was read; None if it is unknown.
        current: existing outputs that are up to date by their metadata.
        noted: see `Result`.
        number: of the task in the run.
    """

    task: Task
    stopwatch: Stopwatch
    mark: str
    image_sha256: str | None = None
    current: frozenset[Path] = frozenset()
    noted: Noted | None = None
    number: int = 0


class Writer:
    """Writes the outputs of images. Its methods are called in several threads.

    Args:
        predictor: that computed the depth, for its fingerprint.
        output: numbers and colors of the files.
        manifest: gets a line for each image. Its folder is the limit of all outputs.
        options: of the run.
    """

    def __init__(
        self, predictor: Predictor, output: OutputSettings, manifest: RecordSink | None, options: RunOptions
    ) -> None:
        self._predictor = predictor
        self._output = output
        self._manifest = manifest
        self._options = options
        self._fingerprints: dict[str, str] = {}

    def write(self, item: Item, depth: DepthMap) -> Result:
        """Encode and write all outputs of an image and its line in the manifest; runs in a writer thread.

        Raises:
            OutputError: no more outputs can be written.
        """
        from glpn_cli.device import memory_errors_named

        try:
            with memory_errors_named(f"{item.task.source}: writing", hint="set fewer `workers` or `formats`"):
                files, facts = self._encode(item, depth)
                if item.task.exists:
                    return self._complete(item, depth, files, facts)
                record = self._record(item, files)
                entry = None if self._options.on_depth is None else self._options.on_depth(record, depth)
                with item.stopwatch.stage("write"):
                    self._write_files(item.task, record, files)
        except GLPNError as error:
            return self.fail(item, error)
        record = replace(record, seconds=round(item.stopwatch.total_s, 4))
        if self._manifest is not None:
            self._manifest.append(record)
        return Result(
            item.task,
            record,
            elapsed_s=dict(item.stopwatch.elapsed_s),
            facts=facts,
            depth=depth if self._options.keep_depth else None,
            stdout=files[0] if item.task.to_stdout else None,
            files=tuple(files) if self._options.keep_files else (),
            noted=item.noted,
            entry=entry,
        )

    def fail(self, item: Item, error: GLPNError) -> Result:
        """Return the result of an image that failed, and note it in the manifest.

        Raises:
            OutputError: every other image of the batch would fail too.
        """
        if isinstance(error, OutputError):
            self._stop_if_hopeless(error)
        elapsed_s = dict(item.stopwatch.elapsed_s)
        result = failed_result(item.task, error, elapsed_s=elapsed_s, settings=self._options.fingerprint)
        if self._manifest is not None:
            result = replace(result, record=replace(result.record, relative_source=self._relative_source(item.task)))
            self._manifest.append(result.record)
        return result

    def fingerprint(self, row: DepthFormat) -> str:
        """Return the digest of the settings for files of a format."""
        if row.name not in self._fingerprints:
            anchors = self._options.anchors
            self._fingerprints[row.name] = file_fingerprint(row, self._output, self._predictor, anchors)
        return self._fingerprints[row.name]

    def _encode(self, item: Item, depth: DepthMap) -> tuple[list[bytes], dict[str, Any]]:
        """Return the bytes of each output, and the facts for the JSON record."""
        with item.stopwatch.stage("encode"):
            files = [
                row.load_codec().encode(self._signed(item, depth, row), self._output)
                for row, path in item.task.outputs
                if path not in item.current
            ]
            if not self._options.describe:
                return files, {}
            facts = describe_depth(depth, self._output)
            written = [row for row, path in item.task.outputs if path not in item.current]
            facts["notes"] += [
                describe_file_use(row, data) for row, data in zip(written, files, strict=True) if row.is_explained
            ]
            return files, facts

    def _signed(self, item: Item, depth: DepthMap, row: DepthFormat) -> DepthMap:
        """Return a depth map whose metadata tell a later run that its file is up to date."""
        origin = replace(depth.provenance, image_sha256=item.image_sha256, fingerprint=self.fingerprint(row))
        return replace(depth, provenance=origin)

    def _complete(self, item: Item, depth: DepthMap, files: list[bytes], facts: dict[str, Any]) -> Result:
        """Write the outputs of a task that are missing, if those that exist are up to date."""
        with item.stopwatch.stage("write"):
            any_new = write_missing(item.task, item.current, files)
        result = current_result(item.task, output_hashes(item.task))
        status = DONE if any_new else UP_TO_DATE
        return replace(
            result,
            record=replace(result.record, status=status, seconds=round(item.stopwatch.total_s, 4)),
            elapsed_s=dict(item.stopwatch.elapsed_s),
            facts=facts,
            depth=depth if self._options.keep_depth else None,
            noted=item.noted,
        )

    def _record(self, item: Item, files: list[bytes]) -> Record:
        """Return the line of the manifest, still without the seconds."""
        names = [row.name for row, _ in item.task.outputs]
        return Record(
            source=str(item.task.source),
            status=DONE,
            outputs=dict(zip(names, (self._relative(path) for _, path in item.task.outputs), strict=True)),
            source_mark=item.mark,
            source_sha256=item.image_sha256 or "",
            relative_source=self._relative_source(item.task),
            sha256=dict(zip(names, (hashlib.sha256(data).hexdigest() for data in files), strict=True)),
            settings=self._options.fingerprint,
        )

    def _write_files(self, task: Task, record: Record, files: list[bytes]) -> None:
        if task.to_stdout or not task.outputs or self._options.keep_files:
            return
        paths = [path for _, path in task.outputs]
        if self._options.named_file:
            write_whole(paths[0], files[0], overwrite=task.overwrite)
            return
        partials = [partial_path(path) for path in paths]
        if self._manifest is not None:
            self._manifest.announce(record, partials)
            for folder in {path.parent for path in paths}:
                refuse_outside(folder, self._manifest.folder)
                make_folder(folder)
        # Asked again, because hours may have passed since the plan. A file that is gone by now must not be replaced if
        # it appears after all.
        overwrite = [task.may_replace(row, path) for row, path in task.outputs]
        write_together(list(zip(paths, files, strict=True)), overwrite=overwrite, partials=partials)

    def _relative_source(self, task: Task) -> str:
        return "" if self._manifest is None else relative_source(str(task.source), self._manifest.folder)

    def _stop_if_hopeless(self, error: OutputError) -> None:
        """Raise an error that every other image of a batch would meet too."""
        if self._manifest is None:
            return
        folder = self._manifest.folder
        if not folder.exists():
            raise OutputError(
                f"{folder}: was removed during the run", hint="run it again to write what is missing"
            ) from error
        if is_disk_wide(error) or refuses_files(folder):
            raise error

    def _relative(self, path: Path) -> str:
        return str(path) if self._manifest is None else path.relative_to(self._manifest.folder).as_posix()
