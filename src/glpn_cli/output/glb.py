"""The glb format: a surface in meters with the image on it, for browsers, Blender and game engines (glTF 2.0)."""

from __future__ import annotations

import io
import json
import math
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image

from glpn_cli.errors import OutputError
from glpn_cli.geometry.camera import fov_deg_of, to_points, to_triangles
from glpn_cli.output.facts import KEYWORD, facts_from_json, facts_to_json, state_facts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from glpn_cli.depth import DepthMap
    from glpn_cli.geometry.camera import PointGrid
    from glpn_cli.settings import OutputSettings


_MAGIC = b"glTF"
_HEAD = struct.Struct("<4sIIII")  # magic, version, length of all; then length and kind of the first chunk
_LONGEST_JSON = 2**20

# Numbers of the glTF 2.0 specification.
_VERSION = 2
_JSON_CHUNK, _BINARY_CHUNK = 0x4E4F534A, 0x004E4942
_FLOAT, _UNSIGNED_INT = 5126, 5125
_VERTICES, _INDICES = 34962, 34963
_LINEAR, _LINEAR_MIPMAPS, _CLAMP = 9729, 9987, 33071

_TEXTURE_LIMIT_PX = 4096
"""The longest side that every browser's graphics takes."""

_TEXTURE_QUALITY = 92


def encode(depth: DepthMap, settings: OutputSettings) -> bytes:
    """Turn depth into a binary glTF: one surface, textured with the image and lit by nothing else, and its camera.

    Y is up, and the camera at the origin looks along -Z, as glTF has it. Without an image the surface is gray.

    Raises:
        OutputError: no triangle is left.
    """
    grid = to_points(depth, settings)
    triangles = to_triangles(grid, jump=settings.edge_filter)
    if not len(triangles):
        raise OutputError(
            f"{depth.provenance.source or 'the image'}: no surface is left for a glb file",
            hint="a surface takes two rows and columns; more --max-points"
            if min(grid.xyz.shape[:2]) < 2
            else "all depth is unknown, out of --valid-range or at the depth limit of the weights",
        )
    used, indices = np.unique(triangles, return_inverse=True)
    builder = _Builder(depth, grid)
    builder.add_surface(grid.xyz.reshape(-1, 3)[used], _texture_places(depth, grid)[used], indices.astype(np.uint32))
    return builder.build()


def read_facts(stream: BinaryIO) -> dict[str, Any] | None:
    """Give what one of our files says of itself; None if it says nothing."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    magic, version, _, length, kind = _HEAD.unpack(head)
    if magic != _MAGIC or version != _VERSION or kind != _JSON_CHUNK or length > _LONGEST_JSON:
        return None
    try:
        return facts_from_json(json.loads(stream.read(length))["asset"]["extras"][KEYWORD])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _texture_places(depth: DepthMap, grid: PointGrid) -> NDArray[np.float32]:
    """Give where in the image each point of a grid is: (h * w, 2) float32 in [0, 1] from the top left."""
    height, width = depth.meters.shape
    across = np.broadcast_to((grid.columns + 0.5) / width, grid.kept.shape)
    down = np.broadcast_to(((grid.rows + 0.5) / height)[:, None], grid.kept.shape)
    return np.stack([across, down], axis=-1).reshape(-1, 2).astype(np.float32)


class _Builder:
    """Collects the binary part of a file and the JSON that describes it."""

    def __init__(self, depth: DepthMap, grid: PointGrid) -> None:
        self._depth = depth
        self._camera = grid.camera
        self._binary = bytearray()
        self._document: dict[str, Any] = {"bufferViews": [], "accessors": []}

    def add_surface(
        self, xyz: NDArray[np.float32], texture_places: NDArray[np.float32], indices: NDArray[np.uint32]
    ) -> None:
        """Add the one surface: (n, 3) points, (n, 2) places in the texture, and indices of triangles."""
        bounds = {"min": xyz.min(axis=0).tolist(), "max": xyz.max(axis=0).tolist()}
        attributes = {"POSITION": self._accessor(xyz, "VEC3", _FLOAT, _VERTICES, **bounds)}
        if self._depth.rgb is not None:
            attributes["TEXCOORD_0"] = self._accessor(texture_places, "VEC2", _FLOAT, _VERTICES)
        surface = {
            "attributes": attributes,
            "indices": self._accessor(indices.reshape(-1), "SCALAR", _UNSIGNED_INT, _INDICES),
            "material": 0,
        }
        self._document["meshes"] = [{"name": self._name, "primitives": [surface]}]
        self._document["materials"] = [self._material()]

    def build(self) -> bytes:
        """Give the whole file."""
        height, width = self._depth.meters.shape
        facts = state_facts("glb", replace(self._depth, camera=self._camera), image_size=[height, width])
        tool = self._depth.provenance.tool or "glpn-cli"
        document = {
            "asset": {"version": "2.0", "generator": tool, "extras": {KEYWORD: facts_to_json(facts)}},
            "extensionsUsed": ["KHR_materials_unlit"],
            "scene": 0,
            "scenes": [{"nodes": [0, 1]}],
            "nodes": [{"name": self._name, "mesh": 0}, {"name": "camera", "camera": 0}],
            "cameras": [
                {
                    "type": "perspective",
                    "perspective": {
                        "aspectRatio": width / height,
                        "yfov": math.radians(fov_deg_of(self._camera.focal_px, height)),
                        "znear": 0.01,
                    },
                }
            ],
            **self._document,
            "buffers": [{"byteLength": len(self._binary)}],
        }
        text = json.dumps(document, separators=(",", ":")).encode("ascii")
        text += b" " * (-len(text) % 4)
        whole = 12 + 8 + len(text) + 8 + len(self._binary)
        return b"".join(
            [
                _HEAD.pack(_MAGIC, _VERSION, whole, len(text), _JSON_CHUNK),
                text,
                struct.pack("<II", len(self._binary), _BINARY_CHUNK),
                bytes(self._binary),
            ]
        )

    @property
    def _name(self) -> str:
        return self._depth.provenance.source or "depth"

    def _material(self) -> dict[str, Any]:
        """Describe the image as it is, without light and shadow on it, seen from both sides."""
        color: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 1.0}
        if self._depth.rgb is None:
            color["baseColorFactor"] = [0.7, 0.7, 0.7, 1.0]
        else:
            view = self._view(_to_jpeg(self._depth.rgb))
            self._document["images"] = [{"bufferView": view, "mimeType": "image/jpeg"}]
            self._document["samplers"] = [
                {"magFilter": _LINEAR, "minFilter": _LINEAR_MIPMAPS, "wrapS": _CLAMP, "wrapT": _CLAMP}
            ]
            self._document["textures"] = [{"source": 0, "sampler": 0}]
            color["baseColorTexture"] = {"index": 0}
        return {"pbrMetallicRoughness": color, "doubleSided": True, "extensions": {"KHR_materials_unlit": {}}}

    def _accessor(self, values: NDArray[Any], shape: str, component: int, target: int, **bounds: list[float]) -> int:
        little_endian = values.astype(values.dtype.newbyteorder("<"), copy=False)
        view = self._view(little_endian.tobytes(), target=target)
        accessor = {"bufferView": view, "componentType": component, "count": len(values), "type": shape}
        self._document["accessors"].append(accessor | bounds)
        return len(self._document["accessors"]) - 1

    def _view(self, data: bytes, *, target: int | None = None) -> int:
        view = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": len(data)}
        self._binary += data + b"\0" * (-len(data) % 4)
        self._document["bufferViews"].append(view if target is None else view | {"target": target})
        return len(self._document["bufferViews"]) - 1


def _to_jpeg(rgb: NDArray[np.uint8]) -> bytes:
    image = Image.fromarray(rgb)
    image.thumbnail((_TEXTURE_LIMIT_PX, _TEXTURE_LIMIT_PX))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_TEXTURE_QUALITY)
    return buffer.getvalue()
