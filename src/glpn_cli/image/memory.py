"""Images that are given in memory: arrays, tensors and file objects."""

from __future__ import annotations

import inspect
import os
import sys
from typing import TYPE_CHECKING, Any

from glpn_cli.errors import ImageError
from glpn_cli.files import os_reason, read_bounded
from glpn_cli.image.decoding import load_pixels
from glpn_cli.settings import MAX_IMAGE_PIXELS, MAX_STREAM_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray


def is_file_object(source: object) -> bool:
    """Return whether an image is given as a file object. It can also be iterated over, but is one image."""
    return callable(getattr(source, "read", None))


def is_image_input(source: object) -> bool:
    """Return whether a value is one image, which may be unusable, and not several images."""
    return (
        isinstance(source, str | os.PathLike | bytes | bytearray | memoryview)
        or is_file_object(source)
        or _is_like_array(source)
    )


def hold_image(source: Any, *, max_pixels: int = MAX_IMAGE_PIXELS) -> Any:
    """Return an image that stays as it is when its owner closes the file or writes into the array again.

    Args:
        source: as for `read_image`. Paths and bytes are returned as they are.
        max_pixels: a PIL image with more pixels is refused before it is decoded.

    Raises:
        ImageError: the file object or the PIL image cannot be read.
    """
    if isinstance(source, str | os.PathLike | bytes):
        return source
    if is_file_object(source):
        return read_file_object(source)
    if isinstance(source, bytearray | memoryview):
        return bytes(source)
    from PIL import Image

    if isinstance(source, Image.Image):
        return load_pixels(source, max_pixels)
    return to_array(source).copy()


def _is_like_array(source: object) -> bool:
    """Return whether a value is an array, or has one inside: an image of Pillow or another library, or a tensor."""
    # Asked of the type, because Pillow decodes an image when its attribute is asked for.
    return hasattr(type(source), "__array__") or hasattr(type(source), "__array_interface__")


def to_array(source: object) -> NDArray[Any]:
    """Return an array, or the array in a torch tensor or another wrapper."""
    import numpy as np

    torch = sys.modules.get("torch")  # whoever has a tensor has imported it
    try:
        if torch is not None and isinstance(source, torch.Tensor):
            return _tensor_to_array(source)
        if _is_like_array(source):
            return np.asarray(source)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: a sparse tensor
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"the {type(source).__name__} is not an array: {error}") from error
    raise ImageError(
        f"expected a path, bytes, a file object, a PIL image, an array or a tensor, got {type(source).__name__}"
    )


def _tensor_to_array(tensor: Any) -> NDArray[Any]:
    """Return (H, W) or (H, W, C), channels last, from a tensor, whose channels are first."""
    shape = (*tensor.shape,)
    if len(shape) == 3 and shape[0] > 4:
        hint = "use tensor.permute(2, 0, 1)" if shape[2] <= 4 else None
        raise ImageError(f"a tensor of shape {shape} is not an image; expected (channels, height, width)", hint=hint)
    if len(shape) not in (2, 3):
        hint = "use tensor[0]" if shape[:1] == (1,) else "pass several images as a list: list(tensor)"
        raise ImageError(
            f"a tensor of shape {shape} is not an image; expected (channels, height, width) or (height, width)",
            hint=hint if len(shape) == 4 else None,
        )
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        tensor = tensor.float()  # numpy has no bfloat16
    array: NDArray[Any] = (tensor.permute(1, 2, 0) if len(shape) == 3 else tensor).numpy()
    return array


def read_file_object(stream: Any) -> bytes:
    """Read a file object from its position to its end."""
    try:
        data = read_bounded(_CheckedFile(stream), MAX_STREAM_BYTES)  # type: ignore[arg-type]  # it has `read`
    except ImageError:
        raise
    except Exception as error:  # archives, sockets and uploads raise anything
        reason = os_reason(error) if isinstance(error, OSError) else " ".join(str(error).split())
        raise ImageError(f"the file object cannot be read: {reason}") from error
    if data is None:
        raise ImageError(f"endless, or longer than {MAX_STREAM_BYTES >> 20} MiB")
    if not data:
        raise ImageError("the file object has no more bytes", hint="use file.seek(0) if it was read before")
    return data


class _CheckedFile:
    """A file object whose reads are checked: text files and asynchronous ones are common mistakes."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        if isinstance(data, bytes | bytearray | memoryview):
            return bytes(data)
        if inspect.iscoroutine(data):
            data.close()  # or Python warns that it was never awaited
        if inspect.isawaitable(data):
            raise ImageError("the file object is asynchronous", hint="await its read() and pass the bytes")
        if isinstance(data, str):
            raise ImageError("the file object reads text", hint="open the file with mode 'rb'")
        raise ImageError(f"the file object reads {type(data).__name__}, not bytes")


def name_of_file(source: object) -> str | None:
    """Return the name of a file object, if it has one; temporary files have numbers."""
    name = getattr(source, "name", None) if is_file_object(source) else None
    return name if isinstance(name, str) and name and not name.startswith("<") else None
