"""One run of `glpn batch` as the user sees it."""

from __future__ import annotations

import json
import time
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from glpn_cli.cli.batch_progress import BatchProgress
from glpn_cli.cli.batch_report import reported, say_stale_page
from glpn_cli.cli.console import printable
from glpn_cli.cli.loading import load_predictor
from glpn_cli.cli.outcome import conclude
from glpn_cli.cli.remarks import Remarks
from glpn_cli.errors import InputError, OutputError, UsageError
from glpn_cli.inference.fingerprint import RANGE_M, range_of_before

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from glpn_cli.cli.console import Console
    from glpn_cli.image.discovery import ImageList
    from glpn_cli.inference.manifest import Manifest, Record
    from glpn_cli.inference.mirror import MirroredImage
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.output.formats import DepthFormat
    from glpn_cli.report.report import Report
    from glpn_cli.settings import BatchSettings, OutputSettings, PredictorSettings, SearchSettings


_LISTED_FAILURES = 20


@dataclass
class BatchRun:
    """One run over folders."""

    console: Console
    folders: Sequence[str]
    listed: ImageList | None
    search: SearchSettings
    out: Path
    formats: Sequence[DepthFormat]
    output_settings: OutputSettings
    batch: BatchSettings
    overwrite: bool
    json_lines: bool
    report: bool

    def tell(self) -> None:
        """Print what would be written, one line for each image, and touch nothing."""
        from glpn_cli.inference.manifest import read_records

        self._refuse_nothing()
        images = list(self._mirror({} if self.overwrite else read_records(self.out)))
        for image in images:
            state = "done before" if image.done else image.failure.message if image.failure else "to be done"
            becomes = f" -> {', '.join(str(path) for _, path in image.outputs)}" if image.outputs else ""
            self.console.data(printable(f"{image.source}{becomes}: {state}"))
        to_do = sum(not (image.done or image.failure) for image in images)
        done = sum(image.done for image in images)
        self.console.say(f"{to_do} to be done, {done} done before, {len(images) - to_do - done} cannot be done")

    def go(self, settings: PredictorSettings) -> None:
        """Do what is not done yet, report, and raise what it came to."""
        from glpn_cli.inference.manifest import Manifest

        self._refuse_nothing()
        if self.report:
            from glpn_cli.report.report import refuse_to_replace_page

            refuse_to_replace_page(self.out, overwrite=self.overwrite)
            settings = replace(settings, keep_rgb=True)
        with Manifest(self.out) as manifest:
            predictor = load_predictor(self.console, settings)
            from glpn_cli.inference.fingerprint import changed_settings, made_how

            how = made_how(self.formats, self.output_settings, predictor)
            changes = changed_settings(manifest.records.values(), how)
            if self.overwrite and (changes or not manifest.is_being_redone):
                manifest.outdate()
            elif changes:
                raise UsageError(
                    f"{self.out} was begun with other settings: {changes}",
                    hint="--overwrite does all images again; another --out keeps both",
                )
            manifest.begin()
            images = list(self._mirror(manifest.records))
            to_do = [image for image in images if not image.done]
            failures: list[Record] = []
            if to_do:
                how |= self._settle_range(predictor, manifest, images)
            with self._reported(images, predictor, manifest, how) as report:
                if to_do:
                    done_before = len(images) - len(to_do)
                    failures = self._stream(
                        to_do,
                        predictor,
                        manifest,
                        how,
                        report,
                        done_before=done_before,
                        threads_fixed=settings.threads is not None,
                    )
                else:
                    self.console.say(f"all {len(images)} done before, in {self.out}")
        if to_do and not self.report:
            say_stale_page(self.console, self.out)
        self._list(failures)
        conclude(len(images), [record.exit_code for record in failures])

    def _mirror(self, records: dict[str, Record]) -> Iterator[MirroredImage]:
        from glpn_cli.inference.mirror import mirror_folders

        return mirror_folders(
            self.folders,
            self.out,
            formats=self.formats,
            records=records,
            overwrite=self.overwrite,
            search=self.search,
            listed=self.listed,
        )

    def _refuse_nothing(self) -> None:
        """Find out that there is no work before a folder is created or a network loaded."""
        if next(self._mirror({}), None) is None:
            where = ", ".join([*self.folders, *(["the list"] if self.listed else [])])
            filtered = self.search.include or self.search.exclude
            raise InputError(f"no images in {where}" + (" that --include and --exclude leave" if filtered else ""))

    def _settle_range(
        self, predictor: Predictor, manifest: Manifest, images: Sequence[MirroredImage]
    ) -> dict[str, Any]:
        """Fix the depths that colors stand for, once for the whole run: as before, or by looking at some images.

        Returns:
            What the manifest says of it.
        """
        from glpn_cli.inference.fingerprint import is_range_needed, measure_run_range, spread_sample

        if not is_range_needed(self.formats, self.output_settings):
            return {}

        range_m = range_of_before(manifest.records.values())
        if range_m is None:
            sample = spread_sample([image.source for image in images if image.failure is None])
            with BatchProgress(self.console, len(sample), doing="range of colors") as progress:
                range_m, looked_at = measure_run_range(
                    predictor, sample, self.output_settings, advance=progress.advance
                )
            seen = f", measured on {looked_at} of the images" if looked_at else ""
            self.console.say(f"colors: {range_m[0]:g} to {range_m[1]:g} m in every image{seen}")
        self.output_settings = replace(self.output_settings, range_m=range_m)
        return {RANGE_M: list(range_m)}

    def _reported(
        self, images: list[MirroredImage], predictor: Predictor, manifest: Manifest, how: dict[str, Any]
    ) -> AbstractContextManager[Report | None]:
        """Keep a report while the images are done, if one is wanted."""
        if not self.report:
            return nullcontext()
        from glpn_cli.report.journal import describe_run

        range_m = self.output_settings.range_m or range_of_before(manifest.records.values())
        colors = replace(self.output_settings, range_m=range_m)
        return reported(
            self.console,
            self.out,
            describe_run(predictor, self.folders or [str(self.out)], how, colors),
            records=manifest.records,
            sources=[str(image.source) for image in images],
            workers=self.batch.workers,
        )

    def _stream(
        self,
        to_do: list[MirroredImage],
        predictor: Predictor,
        manifest: Manifest,
        how: dict[str, Any],
        report: Report | None,
        *,
        done_before: int,
        threads_fixed: bool,
    ) -> list[Record]:
        """Do the images and give the records of those that failed."""
        from glpn_cli.inference.batch import run_batch

        failures: list[Record] = []
        done = 0
        start_s = time.perf_counter()
        remarks = Remarks(self.formats)
        records = run_batch(
            to_do,
            predictor,
            manifest,
            output_settings=self.output_settings,
            settings=how,
            on_depth=report.add if report else None,
            observe=remarks.take,
            **asdict(self.batch),
            threads_fixed=threads_fixed,
            tell=self.console.note,
        )
        try:
            with closing(records), BatchProgress(self.console, len(to_do)) as progress:
                for record in records:
                    progress.advance()
                    if report:
                        report.settle(record)
                    if self.json_lines:
                        self.console.data(json.dumps(asdict(record)))
                    if record.is_done:
                        done += 1
                        self.console.detail(f"{record.source}: done in {record.seconds:.2f} s")
                    else:
                        failures.append(record)
                        self.console.detail(f"{record.source}: failed")
        except KeyboardInterrupt:
            self.console.say(f"interrupted: {done} of {len(to_do)} done; the same command goes on", style="yellow")
            raise
        except OutputError:
            self.console.say(f"stopped: {done} of {len(to_do)} done; the same command goes on", style="yellow")
            raise
        remarks.say(self.console)
        elapsed_s = time.perf_counter() - start_s
        before = f", {done_before} done before" if done_before else ""
        self.console.say(
            f"{done} of {len(to_do)} done in {elapsed_s:.1f} s{before} "
            f"({predictor.card.name}, {predictor.runtime.device}, {predictor.runtime.precision}), in {self.out}"
        )
        return failures

    def _list(self, failures: list[Record]) -> None:
        hint = None
        for record in failures[:_LISTED_FAILURES]:
            # What helps many is said once.
            self.console.failure(record.error or record.source, None if record.hint == hint else record.hint)
            hint = record.hint
        if len(failures) > _LISTED_FAILURES:
            self.console.say(f"and {len(failures) - _LISTED_FAILURES} more, in {self.out}")
