"""The 3D formats: ply (point cloud) and glb (textured mesh), both in meters, with the camera at the origin.

A glb has the axes that glTF defines: X is right, Y up, and the camera looks along -Z. PLY defines none, so there they
are a setting.
"""

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
from glpn_cli.files import load_json
from glpn_cli.geometry.camera import fov_deg_of, in_axes, to_points, to_triangles
from glpn_cli.output.metadata import KEYWORD, build_metadata, metadata_to_json, parse_metadata
from glpn_cli.settings import MAX_MESH_POINTS
from glpn_cli.values import Axes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from glpn_cli.depth import DepthMap
    from glpn_cli.geometry.camera import PointGrid
    from glpn_cli.settings import OutputSettings

_MAX_HEADER_BYTES = 2**20

_PLY_METADATA = "comment glpn "
_PLY_LINE_CHARACTERS = 400
"""Of metadata in one line of the header: programs with RPly, such as Open3D, end at lines of 1024 bytes."""

_PLY_AXES = {
    Axes.OPENGL: "X right, Y up, and the camera at the origin looks along -Z",
    Axes.OPENCV: "X right, Y down, and the camera at the origin looks along Z",
    Axes.BLENDER: "X right, Z up, and the camera at the origin looks along Y",
}

_GLB_MAGIC = b"glTF"
_GLB_HEADER = struct.Struct("<4sIIII")  # magic, version, length of the file; length and type of the first chunk

# Constants of the glTF 2.0 specification.
_GLTF_VERSION = 2
_JSON_CHUNK, _BINARY_CHUNK = 0x4E4F534A, 0x004E4942
_FLOAT, _UNSIGNED_INT = 5126, 5125
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_LINEAR, _LINEAR_MIPMAP_LINEAR, _CLAMP_TO_EDGE = 9729, 9987, 33071

_MAX_TEXTURE_PX = 4096
"""Longest side of the texture: every browser supports this size."""

_TEXTURE_QUALITY = 92


class PLY:
    """A colored point cloud."""

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:
        """Return a binary little-endian PLY: x, y, z (float32, meters) and red, green, blue (uint8).

        Without an image there are no colors.

        Raises:
            OutputError: no point is left, or the image is a panorama.
        """
        grid = to_points(depth, settings)
        xyz = in_axes(grid.xyz[grid.kept], settings.axes)
        if not len(xyz):
            raise _nothing_left(depth, "point")
        fields: list[tuple[str, str]] = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
        if depth.rgb is not None:
            fields += [("red", "u1"), ("green", "u1"), ("blue", "u1")]
        points = np.empty(len(xyz), fields)
        for axis, name in enumerate("xyz"):
            points[name] = xyz[:, axis]
        if depth.rgb is not None:
            rgb = depth.rgb[np.ix_(grid.rows, grid.columns)][grid.kept]
            for channel, name in enumerate(("red", "green", "blue")):
                points[name] = rgb[:, channel]
        size = list(depth.meters.shape)
        metadata = build_metadata("ply", replace(depth, camera=grid.camera), image_size=size, axes=str(settings.axes))
        text = metadata_to_json(metadata)
        parts = [text[start : start + _PLY_LINE_CHARACTERS] for start in range(0, len(text), _PLY_LINE_CHARACTERS)]
        header = [
            "ply",
            "format binary_little_endian 1.0",
            f"comment meters; {_PLY_AXES[settings.axes]}",
            *(_PLY_METADATA + part for part in parts),
            f"element vertex {len(points)}",
            *(f"property {'float' if kind == '<f4' else 'uchar'} {name}" for name, kind in fields),
            "end_header\n",
        ]
        return "\n".join(header).encode("ascii") + points.tobytes()

    def read_metadata(self, stream: BinaryIO) -> dict[str, Any] | None:
        """Return the metadata, without reading the points. Version 0.1 wrote it in one line, however long."""
        left = _MAX_HEADER_BYTES
        text = bytearray()
        while left > 0:
            line = stream.readline(left)
            left -= len(line)
            if line.startswith(_PLY_METADATA.encode()):
                text += line[len(_PLY_METADATA) :].rstrip(b"\r\n")
            elif not line or line.startswith(b"end_header"):
                break
        return parse_metadata(bytes(text))


class GLB:
    """A mesh with the image as its texture, for browsers, Blender and game engines."""

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:
        """Return a binary glTF 2.0: one unlit mesh and the camera.

        Without an image the mesh is gray.

        Raises:
            OutputError: no triangle is left, or the image is a panorama.
        """
        max_points = MAX_MESH_POINTS if settings.max_points is None else settings.max_points
        grid = to_points(depth, replace(settings, max_points=max_points))
        triangles = to_triangles(grid, jump=settings.edge_filter)
        if not len(triangles):
            if min(grid.xyz.shape[:2]) < 2:
                raise OutputError(
                    f"{_image_name(depth)}: a mesh needs at least two rows and two columns of points",
                    hint="increase `max_points`",
                )
            raise _nothing_left(depth, "triangle")
        used, indices = np.unique(triangles, return_inverse=True)
        builder = _GLBBuilder(depth, grid)
        xyz, texture_xy = grid.xyz.reshape(-1, 3)[used], _texture_coordinates(depth, grid)[used]
        builder.add_mesh(xyz, texture_xy, indices.astype(np.uint32))
        return builder.build()

    def read_metadata(self, stream: BinaryIO) -> dict[str, Any] | None:
        """Return the metadata, without reading the mesh."""
        header = stream.read(_GLB_HEADER.size)
        if len(header) < _GLB_HEADER.size:
            return None
        magic, version, _, length, kind = _GLB_HEADER.unpack(header)
        if magic != _GLB_MAGIC or version != _GLTF_VERSION or kind != _JSON_CHUNK or length > _MAX_HEADER_BYTES:
            return None
        try:
            return parse_metadata(load_json(stream.read(length))["asset"]["extras"][KEYWORD])
        except (ValueError, KeyError, TypeError):
            return None


def _image_name(depth: DepthMap) -> str:
    return depth.provenance.source or "the image"


def _nothing_left(depth: DepthMap, what: str) -> OutputError:
    return OutputError(
        f"{_image_name(depth)}: no {what} is left: "
        "all depth is unknown, outside `valid_range` or at the depth limit of the weights",
        hint="widen `valid_range`",
    )


def _as_unicode(text: str) -> str:
    """Return a text for glTF, whose JSON is UTF-8: a file name may have bytes that are not."""
    return text.encode("utf-8", "replace").decode()


def _texture_coordinates(depth: DepthMap, grid: PointGrid) -> NDArray[np.float32]:
    """Return the texture coordinates of all points: (h * w, 2) float32, in [0, 1] from the top left."""
    height, width = depth.meters.shape
    x = np.broadcast_to((grid.columns + 0.5) / width, grid.kept.shape)
    y = np.broadcast_to(((grid.rows + 0.5) / height)[:, None], grid.kept.shape)
    return np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.float32)


class _GLBBuilder:
    """Collects the binary chunk of a file and the JSON that describes it."""

    def __init__(self, depth: DepthMap, grid: PointGrid) -> None:
        self._depth = depth
        self._camera = grid.camera
        self._binary = bytearray()
        self._document: dict[str, Any] = {"bufferViews": [], "accessors": []}

    def add_mesh(self, xyz: NDArray[np.float32], texture_xy: NDArray[np.float32], indices: NDArray[np.uint32]) -> None:
        """Add the mesh: (n, 3) points, (n, 2) texture coordinates, and the indices of the triangles."""
        bounds = {"min": xyz.min(axis=0).tolist(), "max": xyz.max(axis=0).tolist()}
        attributes = {"POSITION": self._add_accessor(xyz, "VEC3", _FLOAT, _ARRAY_BUFFER, **bounds)}
        if self._depth.rgb is not None:
            attributes["TEXCOORD_0"] = self._add_accessor(texture_xy, "VEC2", _FLOAT, _ARRAY_BUFFER)
        primitive = {
            "attributes": attributes,
            "indices": self._add_accessor(indices.reshape(-1), "SCALAR", _UNSIGNED_INT, _ELEMENT_ARRAY_BUFFER),
            "material": 0,
        }
        self._document["meshes"] = [{"name": self._name, "primitives": [primitive]}]
        self._document["materials"] = [self._add_material()]

    def build(self) -> bytes:
        """Return the bytes of the file."""
        height, width = self._depth.meters.shape
        metadata = build_metadata("glb", replace(self._depth, camera=self._camera), image_size=[height, width])
        tool = _as_unicode(self._depth.provenance.tool or "glpn-cli")
        document = {
            "asset": {"version": "2.0", "generator": tool, "extras": {KEYWORD: metadata_to_json(metadata)}},
            "extensionsUsed": ["KHR_materials_unlit"],
            "scene": 0,
            "scenes": [{"nodes": [0, 1]}],
            "nodes": [{"name": self._name, "mesh": 0}, {"name": "camera", "camera": 0}],
            "cameras": [
                {
                    "type": "perspective",
                    "perspective": {
                        "aspectRatio": width / height * self._camera.focal_y_px / self._camera.focal_px,
                        "yfov": math.radians(fov_deg_of(self._camera.focal_y_px, height)),
                        "znear": 0.01,
                    },
                }
            ],
            **self._document,
            "buffers": [{"byteLength": len(self._binary)}],
        }
        text = json.dumps(document, separators=(",", ":")).encode("ascii")
        text += b" " * (-len(text) % 4)
        file_bytes = 12 + 8 + len(text) + 8 + len(self._binary)
        return b"".join(
            [
                _GLB_HEADER.pack(_GLB_MAGIC, _GLTF_VERSION, file_bytes, len(text), _JSON_CHUNK),
                text,
                struct.pack("<II", len(self._binary), _BINARY_CHUNK),
                bytes(self._binary),
            ]
        )

    @property
    def _name(self) -> str:
        return _as_unicode(self._depth.provenance.source or "depth")

    def _add_material(self) -> dict[str, Any]:
        """Return an unlit, double-sided material with the image as its texture."""
        color: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 1.0}
        if self._depth.rgb is None:
            color["baseColorFactor"] = [0.7, 0.7, 0.7, 1.0]
        else:
            view = self._add_view(_to_jpeg(self._depth.rgb))
            self._document["images"] = [{"bufferView": view, "mimeType": "image/jpeg"}]
            self._document["samplers"] = [
                {
                    "magFilter": _LINEAR,
                    "minFilter": _LINEAR_MIPMAP_LINEAR,
                    "wrapS": _CLAMP_TO_EDGE,
                    "wrapT": _CLAMP_TO_EDGE,
                }
            ]
            self._document["textures"] = [{"source": 0, "sampler": 0}]
            color["baseColorTexture"] = {"index": 0}
        return {"pbrMetallicRoughness": color, "doubleSided": True, "extensions": {"KHR_materials_unlit": {}}}

    def _add_accessor(
        self, values: NDArray[Any], shape: str, component: int, target: int, **bounds: list[float]
    ) -> int:
        little_endian = values.astype(values.dtype.newbyteorder("<"), copy=False)
        view = self._add_view(little_endian.tobytes(), target=target)
        accessor = {"bufferView": view, "componentType": component, "count": len(values), "type": shape}
        self._document["accessors"].append(accessor | bounds)
        return len(self._document["accessors"]) - 1

    def _add_view(self, data: bytes, *, target: int | None = None) -> int:
        view = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": len(data)}
        self._binary += data + b"\0" * (-len(data) % 4)
        self._document["bufferViews"].append(view if target is None else view | {"target": target})
        return len(self._document["bufferViews"]) - 1


def _to_jpeg(rgb: NDArray[np.uint8]) -> bytes:
    image = Image.fromarray(rgb)
    image.thumbnail((_MAX_TEXTURE_PX, _MAX_TEXTURE_PX))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_TEXTURE_QUALITY)
    return buffer.getvalue()
