"""The 3D formats ply and glb: opened by trimesh and a browser, with the true size."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import struct
import zipfile
from dataclasses import replace
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from cube import SIDE_M, trace_cube
from glpn_cli.depth import Camera, DepthMap, Provenance
from glpn_cli.errors import OutputError
from glpn_cli.geometry.camera import choose_camera
from glpn_cli.output.mesh import GLB, PLY
from glpn_cli.settings import CameraSettings, OutputSettings
from glpn_cli.values import Axes, ValidRange

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

SIZE = (240, 320)
CAMERA = choose_camera(CameraSettings(fov_deg=50), SIZE)
ALL_POINTS = OutputSettings(edge_filter=0)


# ply


def read_points(path: Path) -> trimesh.PointCloud:
    cloud = trimesh.load(path)
    assert isinstance(cloud, trimesh.PointCloud)
    return cloud


@pytest.mark.parametrize(
    "settings",
    [CameraSettings(fov_deg=50), CameraSettings(focal_px=400), CameraSettings(focal_mm_35=35), CameraSettings()],
    ids=str,
)
@pytest.mark.parametrize("wall_m", [0.0, 6.0])
def test_point_cloud_of_a_cube_has_its_size(settings: CameraSettings, wall_m: float, tmp_path: Path) -> None:
    camera = choose_camera(settings, SIZE)
    cube = trace_cube(camera, wall_m=wall_m)
    cube.depth.save(tmp_path / "cube.ply", settings=OutputSettings(valid_range=ValidRange(far_m=5.0)))
    points = cube.to_cube_axes(read_points(tmp_path / "cube.ply").vertices)
    pixel_m = 2.5 / camera.focal_px
    np.testing.assert_allclose(np.ptp(points, axis=0), SIDE_M, atol=3 * pixel_m)
    np.testing.assert_allclose(points.max(axis=0), SIDE_M / 2, atol=3 * pixel_m)
    # Every point is on a face, within the rounding of float32.
    np.testing.assert_allclose(np.abs(points).max(axis=1), SIDE_M / 2, atol=1e-4)


def test_wrong_camera_gives_a_wrong_size(tmp_path: Path) -> None:
    """The test above would prove nothing if every camera gave the true size."""
    cube = trace_cube(CAMERA)
    wrong = replace(cube.depth, camera=choose_camera(CameraSettings(fov_deg=70), SIZE))
    wrong.save(tmp_path / "cube.ply")
    points = cube.to_cube_axes(read_points(tmp_path / "cube.ply").vertices)
    assert np.ptp(points, axis=0).max() > 1.2 * SIDE_M


def test_points_have_the_colors_of_their_pixels(tmp_path: Path) -> None:
    cube = trace_cube(CAMERA)
    cube.depth.save(tmp_path / "cube.ply")
    cloud = read_points(tmp_path / "cube.ply")
    assert len(cloud.vertices) == (cube.depth.meters > 0).sum()
    assert set(map(tuple, np.asarray(cloud.colors)[:, :3].tolist())) == {(200, 30, 60)}


def test_ply_is_binary_little_endian_float32(depth_map: DepthMap) -> None:
    data = PLY().encode(depth_map, ALL_POINTS)
    header = data[: data.index(b"end_header\n")].decode("ascii")
    assert header.startswith("ply\nformat binary_little_endian 1.0\n")
    assert re.findall(r"property (.*)", header) == ["float x", "float y", "float z"]
    assert "meters" in header
    assert len(data) == len(header) + len("end_header\n") + 20 * 30 * 12


def test_line_break_in_a_name_does_not_break_the_header(depth_map: DepthMap, tmp_path: Path) -> None:
    odd = replace(depth_map, provenance=replace(depth_map.provenance, source="a\nend_header\nélan.jpg"))
    odd.save(tmp_path / "odd.ply", settings=ALL_POINTS)
    assert len(read_points(tmp_path / "odd.ply").vertices) == 600
    with (tmp_path / "odd.ply").open("rb") as stream:
        metadata = PLY().read_metadata(stream)
    assert metadata is not None
    assert metadata["provenance"]["source"] == "a\nend_header\nélan.jpg"


def test_header_lines_are_short_enough_for_every_reader(depth_map: DepthMap, tmp_path: Path) -> None:
    """RPly, which Open3D and CloudCompare use, ends the process at lines of 1024 bytes."""
    long = replace(depth_map, provenance=replace(depth_map.provenance, source="é" * 255, notes=("a note",) * 500))
    long.save(tmp_path / "long.ply", settings=ALL_POINTS)
    data = (tmp_path / "long.ply").read_bytes()
    lines = data[: data.index(b"end_header\n")].split(b"\n")
    assert sum(map(len, lines)) > 5000
    assert max(map(len, lines)) < 500
    metadata = PLY().read_metadata(io.BytesIO(data))
    assert metadata is not None
    assert Provenance.from_dict(metadata["provenance"]) == long.provenance
    assert len(read_points(tmp_path / "long.ply").vertices) == 600


def test_metadata_of_version_0_1_is_read() -> None:
    """Version 0.1 wrote one line, however long."""
    text = json.dumps({"format": "ply", "provenance": {"source": "x" * 2000}})
    for end in ("\n", "\r\n"):
        data = end.join(["ply", "format ascii 1.0", "comment glpn " + text, "element vertex 0", "end_header", ""])
        metadata = PLY().read_metadata(io.BytesIO(data.encode()))
        assert metadata is not None
        assert metadata["provenance"]["source"] == "x" * 2000


def test_open3d_reads_points_and_long_metadata(depth_map: DepthMap, tmp_path: Path) -> None:
    open3d = pytest.importorskip("open3d")
    long = replace(depth_map, provenance=replace(depth_map.provenance, source="é" * 255, notes=("a note",) * 500))
    long.save(tmp_path / "long.ply", settings=ALL_POINTS)
    points = np.asarray(open3d.io.read_point_cloud(str(tmp_path / "long.ply")).points)
    np.testing.assert_allclose(points, read_points(tmp_path / "long.ply").vertices)


@pytest.mark.parametrize(
    ("axes", "right", "up", "away"),
    [
        (Axes.OPENGL, (1, 0, 0), (0, 1, 0), (0, 0, -1)),
        (Axes.OPENCV, (1, 0, 0), (0, -1, 0), (0, 0, 1)),
        (Axes.BLENDER, (1, 0, 0), (0, 0, 1), (0, 1, 0)),
    ],
)
def test_points_have_the_axes_of_the_settings(
    axes: Axes, right: tuple[int, ...], up: tuple[int, ...], away: tuple[int, ...], tmp_path: Path
) -> None:
    meters = np.full((11, 15), 4.0, np.float32)
    settings = OutputSettings(axes=axes, edge_filter=0)
    DepthMap(meters, camera=Camera(10.0, "user")).save(tmp_path / "x.ply", settings=settings)
    points = np.asarray(read_points(tmp_path / "x.ply").vertices)
    np.testing.assert_allclose(points @ np.array(away), 4, rtol=1e-6)
    top_right = points[14]
    assert top_right @ np.array(right) == pytest.approx(4 * 7 / 10)
    assert top_right @ np.array(up) == pytest.approx(4 * 5 / 10)
    with (tmp_path / "x.ply").open("rb") as stream:
        metadata = PLY().read_metadata(stream)
    assert metadata is not None
    assert metadata["axes"] == axes


@pytest.mark.parametrize("data", [b"", b"ply\n", b"ply\ncomment glpn {", b"ply\ncomment glpn []\nend_header\n"])
def test_foreign_ply_has_no_metadata(data: bytes) -> None:
    assert PLY().read_metadata(io.BytesIO(data)) is None


# both


@pytest.mark.parametrize(("name", "codec"), [("ply", PLY()), ("glb", GLB())])
def test_files_describe_themselves(name: str, codec: PLY | GLB, depth_map: DepthMap) -> None:
    metadata = codec.read_metadata(io.BytesIO(codec.encode(depth_map, ALL_POINTS)))
    assert metadata is not None
    assert metadata["format"] == name
    assert metadata["image_size"] == [20, 30]
    assert metadata["provenance"]["weights"] == "tiny"
    assert metadata["provenance"]["weights_sha256"] == "ab" * 32
    assert metadata["camera"]["source"].startswith("assumed: 55°")


@pytest.mark.parametrize("ending", [".ply", ".glb"])
def test_no_file_is_written_without_points(ending: str, depth_map: DepthMap, tmp_path: Path) -> None:
    nothing = replace(depth_map, meters=np.zeros_like(depth_map.meters))
    with pytest.raises(OutputError, match=r"photo\.jpg.*`valid_range`"):
        nothing.save(tmp_path / f"nothing{ending}")
    assert not list(tmp_path.iterdir())


def test_mesh_of_one_row_is_refused(depth_map: DepthMap) -> None:
    row = replace(depth_map, meters=depth_map.meters[:1].copy(), uncertainty_m=None)
    with pytest.raises(OutputError, match=r"photo\.jpg") as caught:
        GLB().encode(row, ALL_POINTS)
    assert "`max_points`" in str(caught.value.hint)


# glb


def read_mesh(path: Path) -> trimesh.Trimesh:
    scene = trimesh.load(path)
    assert isinstance(scene, trimesh.Scene)
    (mesh,) = scene.dump()
    assert isinstance(mesh, trimesh.Trimesh)
    return mesh


def split_glb(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return JSON and binary chunk of a glb file, and check all lengths against the specification."""
    magic, version, whole, length, kind = struct.unpack("<4sIII4s", data[:20])
    assert (magic, version, whole, kind) == (b"glTF", 2, len(data), b"JSON")
    assert length % 4 == 0
    document = json.loads(data[20 : 20 + length])
    binary_length, binary_kind = struct.unpack("<I4s", data[20 + length : 28 + length])
    assert (binary_kind, binary_length) == (b"BIN\0", len(data) - 28 - length)
    assert binary_length % 4 == 0
    return document, data[28 + length :]


@pytest.mark.parametrize("wall_m", [0.0, 6.0])
def test_mesh_of_a_cube_has_its_size_and_faces(wall_m: float, tmp_path: Path) -> None:
    cube = trace_cube(CAMERA, wall_m=wall_m)
    cube.depth.save(tmp_path / "cube.glb", settings=OutputSettings(valid_range=ValidRange(far_m=5.0)))
    mesh = read_mesh(tmp_path / "cube.glb")
    points = cube.to_cube_axes(mesh.vertices)
    pixel_m = 2.5 / CAMERA.focal_px
    np.testing.assert_allclose(np.ptp(points, axis=0), SIDE_M, atol=3 * pixel_m)
    # Three faces are visible, and all of them face the camera.
    assert mesh.area == pytest.approx(3 * SIDE_M**2, rel=0.03)
    towards_camera = -(mesh.face_normals * mesh.triangles_center).sum(axis=1)
    assert (towards_camera > 0).mean() > 0.999


def test_no_triangle_connects_the_cube_with_the_wall(tmp_path: Path) -> None:
    cube = trace_cube(CAMERA, wall_m=6.0)
    cube.depth.save(tmp_path / "cut.glb")
    cube.depth.save(tmp_path / "whole.glb", settings=OutputSettings(edge_filter=0))
    cut, whole = read_mesh(tmp_path / "cut.glb"), read_mesh(tmp_path / "whole.glb")

    # The wall is 6 m away: only triangles that connect it with the cube have a large depth range.
    def depths(mesh: trimesh.Trimesh) -> np.ndarray:
        return np.ptp(-mesh.triangles[:, :, 2], axis=1)

    assert depths(cut).max() < 0.5
    assert depths(whole).max() > 2.5


def test_texture_has_the_right_orientation(tmp_path: Path) -> None:
    cube = trace_cube(CAMERA, wall_m=4.0)
    cube.depth.save(tmp_path / "cube.glb")
    mesh = read_mesh(tmp_path / "cube.glb")
    colors = mesh.visual.to_color().vertex_colors[:, :3].astype(int)
    on_cube = np.asarray(mesh.vertices)[:, 2] > -3.5
    reddish = colors[:, 0] > 100
    assert (reddish == on_cube).mean() > 0.98  # JPEG blurs the edge a little


def test_json_describes_the_binary_chunk(depth_map: DepthMap) -> None:
    rgb = np.full((20, 30, 3), 128, np.uint8)
    document, binary = split_glb(GLB().encode(replace(depth_map, rgb=rgb), OutputSettings()))
    assert document["asset"]["version"] == "2.0"
    (mesh,) = document["meshes"]
    (surface,) = mesh["primitives"]
    accessors, views = document["accessors"], document["bufferViews"]
    assert document["buffers"] == [{"byteLength": len(binary)}]
    for view in views:
        assert view["byteOffset"] % 4 == 0
        assert view["byteOffset"] + view["byteLength"] <= len(binary)

    def values(index: int, kind: str, per_item: int) -> np.ndarray:
        view = views[accessors[index]["bufferView"]]
        part = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        array = np.frombuffer(part, kind).reshape(-1, per_item)
        assert len(array) == accessors[index]["count"]
        return array

    xyz = values(surface["attributes"]["POSITION"], "<f4", 3)
    bounds = accessors[surface["attributes"]["POSITION"]]
    np.testing.assert_array_equal(xyz.min(axis=0), np.float32(bounds["min"]))
    np.testing.assert_array_equal(xyz.max(axis=0), np.float32(bounds["max"]))
    texture_xy = values(surface["attributes"]["TEXCOORD_0"], "<f4", 2)
    assert len(texture_xy) == len(xyz)
    assert texture_xy.min() > 0
    assert texture_xy.max() < 1
    indices = values(surface["indices"], "<u4", 1)
    assert indices.max() == len(xyz) - 1
    (image,) = document["images"]
    view = views[image["bufferView"]]
    jpeg = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    assert Image.open(io.BytesIO(jpeg)).size == (30, 20)


def test_scene_contains_the_camera(tmp_path: Path) -> None:
    document, _ = split_glb(GLB().encode(trace_cube(CAMERA).depth, OutputSettings()))
    (camera,) = document["cameras"]
    assert camera["perspective"]["aspectRatio"] == pytest.approx(320 / 240)
    yfov = camera["perspective"]["yfov"]
    assert math.tan(yfov / 2) * 320 / 240 == pytest.approx(math.tan(math.radians(25)))
    assert document["nodes"][1] == {"name": "camera", "camera": 0}, "at the origin, looking along -Z"


def test_camera_has_the_field_of_view_of_pixels_that_are_not_square() -> None:
    depth = replace(trace_cube(CAMERA).depth, camera=Camera(300.0, "user", focal_y_px=200.0))
    document, _ = split_glb(GLB().encode(depth, OutputSettings()))
    perspective = document["cameras"][0]["perspective"]
    assert math.tan(perspective["yfov"] / 2) == pytest.approx(120 / 200)
    assert math.tan(perspective["yfov"] / 2) * perspective["aspectRatio"] == pytest.approx(160 / 300)


def test_names_that_are_not_utf_8_give_valid_json(depth_map: DepthMap) -> None:
    odd = replace(depth_map.provenance, source="caf\udce9 \ud800.jpg", tool="\udcff")
    document, _ = split_glb(GLB().encode(replace(depth_map, provenance=odd), ALL_POINTS))

    def texts(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [text for item in value.items() for part in item for text in texts(part)]
        return [text for item in value for text in texts(item)] if isinstance(value, list) else [value]

    for text in texts(document):
        if isinstance(text, str):
            text.encode("utf-8")
    assert document["nodes"][0]["name"] == document["meshes"][0]["name"] == "caf? ?.jpg"
    metadata = GLB().read_metadata(io.BytesIO(GLB().encode(replace(depth_map, provenance=odd), ALL_POINTS)))
    assert metadata is not None
    assert Provenance.from_dict(metadata["provenance"]) == odd


def build_viewer(data: bytes) -> str:
    """Return trimesh's notebook page, which uses three.js and needs no network, with a glb file."""
    parts = resources.files("trimesh") / "resources" / "templates" / "viewer.zip"
    with zipfile.ZipFile(io.BytesIO(parts.read_bytes())) as archive:
        page = archive.read("viewer.html.template").decode()
    assert page.count("$B64GLTF") == 1
    return page.replace("$B64GLTF", base64.b64encode(data).decode())


READ_SCENE = """() => {
    const meshes = [];
    scene.traverse(node => { if (node.isMesh) meshes.push(node); });
    const box = new THREE.Box3().setFromObject(meshes[0]);
    const image = meshes[0].material.map.image;
    return {count: meshes.length, low: box.min.toArray(), high: box.max.toArray(), image: [image.width, image.height]};
}"""


def test_browser_opens_the_mesh_in_meters(browser: Browser, tmp_path: Path) -> None:
    depth = trace_cube(CAMERA).depth
    data = GLB().encode(depth, OutputSettings())
    (tmp_path / "viewer.html").write_text(build_viewer(data), encoding="utf-8")
    page = browser.new_page()
    try:
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((tmp_path / "viewer.html").as_uri())
        page.wait_for_function("() => { let found = 0; scene.traverse(n => found += !!n.isMesh); return found > 0; }")
        scene = page.evaluate(READ_SCENE)
    finally:
        page.close()
    assert errors == []
    assert (scene["count"], scene["image"]) == (1, [320, 240])
    (tmp_path / "cube.glb").write_bytes(data)
    bounds = read_mesh(tmp_path / "cube.glb").bounds
    np.testing.assert_allclose([scene["low"], scene["high"]], bounds, atol=1e-5)
    # Both agree with the traced cube: its nearest corner.
    assert -scene["high"][2] == pytest.approx(depth.meters[depth.meters > 0].min())


def test_mesh_without_an_image_is_gray(depth_map: DepthMap, tmp_path: Path) -> None:
    depth_map.save(tmp_path / "gray.glb", settings=OutputSettings(edge_filter=0))
    assert len(read_mesh(tmp_path / "gray.glb").vertices) == 600
    document, _ = split_glb((tmp_path / "gray.glb").read_bytes())
    assert "images" not in document
    assert "textures" not in document


def test_max_points_limits_the_points() -> None:
    cube = trace_cube(CAMERA, wall_m=4.0)
    document, _ = split_glb(GLB().encode(cube.depth, OutputSettings(max_points=5000)))
    assert 2000 < document["accessors"][0]["count"] <= 5000


def test_meshes_have_fewer_points_than_clouds_by_default() -> None:
    depth = DepthMap(np.full((450, 500), 2.0, np.float32))

    def points(**settings: Any) -> tuple[int, int]:
        document, _ = split_glb(GLB().encode(depth, OutputSettings(edge_filter=0, **settings)))
        header = PLY().encode(depth, OutputSettings(edge_filter=0, **settings))[:2000]
        found = re.search(rb"element vertex (\d+)", header)
        assert found is not None
        return document["accessors"][0]["count"], int(found[1])

    assert points() == (225 * 250, 450 * 500)
    assert points(max_points=9000) == (90 * 100, 90 * 100)
    assert points(max_points=0) == (450 * 500, 450 * 500)


@pytest.mark.parametrize("cut", [0, 4, 19, 30, 200])
def test_truncated_glb_has_no_metadata(cut: int, depth_map: DepthMap) -> None:
    assert GLB().read_metadata(io.BytesIO(GLB().encode(depth_map, OutputSettings())[:cut])) is None


def test_foreign_glb_has_no_metadata() -> None:
    text = b'{"asset":{"version":"2.0"}}  '
    foreign = struct.pack("<4sIIII", b"glTF", 2, 20 + len(text), len(text), 0x4E4F534A) + text
    assert GLB().read_metadata(io.BytesIO(foreign)) is None
