"""Depth of several images from Python: the run loop, without files.

Reading the next images overlaps with predicting, as in a batch; depth maps come back in the order of the images.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from glpn_cli.errors import ImageError
from glpn_cli.image.memory import hold_image
from glpn_cli.inference.plan import MemoryImage, Task
from glpn_cli.inference.run import RunOptions, run
from glpn_cli.settings import OutputSettings, RunSettings

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from glpn_cli.depth import DepthMap
    from glpn_cli.errors import GLPNError
    from glpn_cli.image.reading import ImageInput
    from glpn_cli.inference.predictor import Predictor


def predict_several(
    predictor: Predictor, images: Iterable[ImageInput], *, return_exceptions: bool, hold: bool
) -> Generator[DepthMap | GLPNError]:
    """Yield the depth of images, in their order.

    A GPU gets them one by one: only a run that writes files may finish images of one size out of order, together.

    Args:
        predictor: runs in the caller's thread.
        images: as `Predictor.predict` takes them; an iterator is read ahead, in the caller's thread.
        return_exceptions: yield the error of an image instead of raising it.
        hold: read file objects and copy arrays as soon as the iterator gives them, because many iterators close a file
            or fill the same array again when they are asked for the next image.

    Raises:
        GLPNError: the error of an image, when its turn comes.
    """
    tasks = _tasks(images, predictor.settings.max_pixels, hold=hold)
    settings = RunSettings(batch_size=1)
    options = RunOptions(keep_depth=True, tune_threads=False)
    with closing(run(tasks, predictor, OutputSettings(), settings=settings, options=options)) as results:
        for number, result in enumerate(results, start=1):
            if result.error is None:
                assert result.depth is not None  # noqa: S101 - as the options ask
                yield result.depth
                continue
            result.error.add_note(f"image {number}, counted from 1")
            if not return_exceptions:
                raise result.error
            yield result.error


def _tasks(images: Iterable[ImageInput], max_pixels: int, *, hold: bool) -> Iterator[Task]:
    """Yield a task without outputs for each image."""
    for image in images:
        failure: ImageError | None = None
        held: Any = image
        if hold:
            try:
                held = hold_image(image, max_pixels=max_pixels)
            except ImageError as error:
                failure = ImageError(f"the image: {error.message}", hint=error.hint)
        yield Task(MemoryImage(held), failure=failure)
