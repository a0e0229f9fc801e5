"""Depth of the frames of a video, in order: read ahead in a thread, predicted and steadied in the caller's."""

from __future__ import annotations

import queue
import threading
from collections import deque
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from glpn_cli.convert import refuse_unknown_keywords
from glpn_cli.errors import ImageError
from glpn_cli.video.reading import VideoReader
from glpn_cli.video.settings import Steady, VideoSettings

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from os import PathLike

    from torch import Tensor

    from glpn_cli.depth import DepthMap
    from glpn_cli.inference.predictor import Predictor, PreparedImage
    from glpn_cli.video.reading import SourceFrame
    from glpn_cli.video.segments import State
    from glpn_cli.video.steadying import Steadier

STEADIED_NOTE = "steadied over the frames of a video"
_READ_AHEAD = 2
_VIEWS, _INDEX = "last_views", "last_index"  # in the state
_POLL_S = 0.1  # how often a waiting thread looks whether the other one has ended

_Prepared = tuple["SourceFrame", "PreparedImage | None"]


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame:
    """Depth of one frame of a video.

    Attributes:
        index: number of the frame, from 0.
        time_s: when it is shown, seconds after the start.
        depth: its depth map.
        is_broken: the frame could not be decoded, and `depth` is that of the frame before; at the start of a video,
            that of the first frame that could be.
        pts: `time_s` in ticks of the video's time base.
    """

    index: int
    time_s: float
    depth: DepthMap
    is_broken: bool = False
    pts: int = 0


def predict_video(
    video: str | PathLike[str], predictor: Predictor | None = None, **settings: Any
) -> Generator[VideoFrame]:
    """Yield the depth of every frame of a video, in order, as `glpn video` computes it.

    Memory does not depend on the length. With steadying, a frame is yielded when the ten frames after it are read.

    Args:
        video: a path.
        predictor: from `load`; None loads the default weights.
        **settings: `steady` ("on" or "off"), `start_s` and `end_s`, seconds.

    Yields:
        `index`, `time_s` and `depth` of each frame, and whether it `is_broken`. If the predictor has `keep_rgb`,
        `depth.rgb` is the image.

    Raises:
        ImageError: the video cannot be read, or no frame can be decoded.
        UsageError: a setting is invalid.
        MissingPackageError: PyAV is not installed.
        TypeError: there is no such setting.
    """
    known = ["steady", "start_s", "end_s"]
    refuse_unknown_keywords("predict_video", settings, known)
    chosen = VideoSettings(**settings)
    if predictor is None:
        from glpn_cli.inference.load import load

        predictor = load()
    reader = VideoReader(video, chosen, max_pixels=predictor.settings.max_pixels)
    frames = DepthFrames(reader, predictor, chosen)
    return frames.results()


class DepthFrames:
    """Computes the depth of the frames of one video.

    Attributes:
        cuts: number of scene cuts so far.
    """

    def __init__(
        self,
        reader: VideoReader,
        predictor: Predictor,
        settings: VideoSettings,
        *,
        skip: int = 0,
        state: State | None = None,
    ) -> None:
        """Prepare.

        Args:
            reader: of the video.
            predictor: runs in the caller's thread.
            settings: whether to steady.
            skip: number of frames that an earlier run has finished.
            state: after those frames, from `state`.
        """
        self._reader = reader
        self._predictor = predictor
        self._skip = skip
        # Of the last finished frame, for broken ones after it, or before it at the start of a video.
        self._views: Tensor | None = None
        self._index = -1
        if state and _VIEWS in state:
            import torch

            self._views = torch.from_numpy(state[_VIEWS])
            self._index = int(state[_INDEX])
        self._steadier: Steadier[_Prepared] | None = None
        if settings.steady is Steady.ON:
            from glpn_cli.video.steadying import Steadier

            self._steadier = Steadier()
            if state:
                self._steadier.restore(state)
        self._pending: deque[SourceFrame] = deque()  # frames in order, whose depth is not yet known
        self._last: DepthMap | None = None

    @property
    def cuts(self) -> int:
        """Number of scene cuts so far."""
        return 0 if self._steadier is None else self._steadier.cuts

    def state(self) -> State:
        """Return what the frames after the last one that was yielded depend on."""
        state = {} if self._steadier is None else self._steadier.state()
        if self._views is None:
            return state
        return state | {_VIEWS: self._views.float().cpu().numpy(), _INDEX: np.array(self._index)}

    def results(self) -> Generator[VideoFrame]:
        """Yield the depth of each frame."""
        with closing(_ReadAhead(self._reader, self._predictor, self._skip)) as prepared:
            for frame, image in prepared:
                if frame.index < self._skip:
                    self._remember(frame, image)
                    continue
                self._pending.append(frame)
                if image is None:
                    yield from self._repeated()
                elif frame.index == self._index and self._views is not None:  # broken frames before it were saved
                    yield from self._finished(frame, image, self._views)
                else:
                    yield from self._predicted(frame, image)
            if self._steadier is not None:
                for (frame, image), views in self._steadier.flush():
                    yield from self._finished(frame, image, views)

    def _remember(self, frame: SourceFrame, image: PreparedImage | None) -> None:
        """Restore the depth of the last good frame of the run that is resumed, which broken frames repeat."""
        if image is not None and self._views is not None:
            self._last = self._depth_of(replace(frame, decoded=None), image, self._views)  # the image is not waiting

    def _predicted(self, frame: SourceFrame, image: PreparedImage) -> Iterator[VideoFrame]:
        (views,) = self._predictor.run([image])
        if self._steadier is None:
            yield from self._finished(frame, image, views)
            return
        # The image itself would wait with the frame: of a decoded frame it takes twice the memory.
        waiting = image if image.rgb is None else replace(image, rgb=None)
        needs_rgb = waiting is not image
        item = (frame if needs_rgb else replace(frame, decoded=None), waiting)
        for (finished, small), steady in self._steadier.push(item, image.pixel_values, views):
            yield from self._finished(finished, small, steady)

    def _finished(self, frame: SourceFrame, image: PreparedImage | None, views: Tensor) -> Iterator[VideoFrame]:
        assert image is not None  # noqa: S101 - only frames with an image are predicted
        self._views, self._index = views, frame.index
        self._last = depth = self._depth_of(frame, image, views)
        while self._pending and self._pending[0].index <= frame.index:
            one = self._pending.popleft()  # broken frames before the first good one have no depth of their own either
            yield self._frame(one, depth, is_broken=one.index != frame.index)
        yield from self._repeated()

    def _depth_of(self, frame: SourceFrame, image: PreparedImage, views: Tensor) -> DepthMap:
        if self._steadier is not None:
            image = replace(image, notes=(*image.notes, STEADIED_NOTE))
            if frame.decoded is not None:
                image = replace(image, rgb=self._reader.rgb(frame.decoded))
        return self._predictor.finish(image, views)

    def _repeated(self) -> Iterator[VideoFrame]:
        """Yield broken frames whose turn it is."""
        while self._last is not None and self._pending and self._pending[0].decoded is None:
            yield self._frame(self._pending.popleft(), self._last, is_broken=True)

    def _frame(self, source: SourceFrame, depth: DepthMap, *, is_broken: bool) -> VideoFrame:
        return VideoFrame(source.index, self._reader.seconds(source.pts), depth, is_broken, source.pts)


class _ReadAhead:
    """Decodes and prepares frames in a thread; iterating yields each with the network's input.

    If the first frame after those that are skipped is broken, the last good one before it comes first.
    """

    def __init__(self, reader: VideoReader, predictor: Predictor, skip: int) -> None:
        self._reader = reader
        self._predictor = predictor
        self._skip = skip
        self._ready: queue.Queue[_Prepared | BaseException | None] = queue.Queue(_READ_AHEAD)
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name="glpn-video", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[_Prepared]:
        while (value := self._ready.get()) is not None:
            if isinstance(value, BaseException):
                raise value
            yield value

    def close(self) -> None:
        """End the thread."""
        self._is_closed.set()
        self._thread.join()

    def _read(self) -> None:
        try:
            before: SourceFrame | None = None
            for frame in self._reader.frames():
                if self._is_closed.is_set():
                    return
                if frame.index < self._skip:
                    before = before if frame.decoded is None else frame
                    continue
                if frame.index == self._skip and frame.decoded is None and before is not None:
                    self._put((before, _prepare(self._reader, self._predictor, before)))
                before = None  # its image takes memory
                self._put((frame, _prepare(self._reader, self._predictor, frame)))
            self._put(None)
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
            self._put(error)

    def _put(self, value: _Prepared | BaseException | None) -> None:
        while not self._is_closed.is_set():
            try:
                self._ready.put(value, timeout=_POLL_S)
            except queue.Full:
                continue
            return


def _prepare(reader: VideoReader, predictor: Predictor, frame: SourceFrame) -> PreparedImage | None:
    if frame.decoded is None:
        return None
    try:
        return predictor.prepare(reader.rgb(frame.decoded), name=reader.name)
    except ImageError as error:
        raise ImageError(f"{error.message} (frame {frame.index})", hint=error.hint) from error
