"""Surfaces: valid glTF, opened by trimesh, true in size, with the image on them."""

from __future__ import annotations

import base64
import io
import json
import math
import struct
import zipfile
from dataclasses import replace
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import trimesh
from PIL import Image

import glpn_cli
from cube import SIDE_M, see_cube
from glpn_cli.errors import GLPNError, OutputError
from glpn_cli.geometry.camera import choose_camera
from glpn_cli.output import glb
from glpn_cli.settings import CameraSettings, OutputSettings, ValidRange

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

    from glpn_cli.depth import DepthMap

SIZE = (240, 320)
CAMERA = choose_camera(CameraSettings(fov_deg=50), SIZE)


def surface_of(path: Path) -> trimesh.Trimesh:
    scene = trimesh.load(path)
    assert isinstance(scene, trimesh.Scene)
    (mesh,) = scene.dump()
    assert isinstance(mesh, trimesh.Trimesh)
    return mesh


def parts_of(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Take a glb file apart by the specification, checking all lengths on the way."""
    magic, version, whole, length, kind = struct.unpack("<4sIII4s", data[:20])
    assert (magic, version, whole, kind) == (b"glTF", 2, len(data), b"JSON")
    assert length % 4 == 0
    document = json.loads(data[20 : 20 + length])
    binary_length, binary_kind = struct.unpack("<I4s", data[20 + length : 28 + length])
    assert (binary_kind, binary_length) == (b"BIN\0", len(data) - 28 - length)
    assert binary_length % 4 == 0
    return document, data[28 + length :]


@pytest.mark.parametrize("wall_m", [0.0, 6.0])
def test_a_cube_comes_out_with_its_true_size_and_faces(wall_m: float, tmp_path: Path) -> None:
    cube = see_cube(CAMERA, wall_m=wall_m)
    cube.depth.save(tmp_path / "cube.glb", settings=OutputSettings(valid_range=ValidRange(far_m=5.0)))
    mesh = surface_of(tmp_path / "cube.glb")
    points = cube.in_its_own_axes(mesh.vertices)
    pixel_m = 2.5 / CAMERA.focal_px
    np.testing.assert_allclose(np.ptp(points, axis=0), SIDE_M, atol=3 * pixel_m)
    # Three faces are seen, and all of them look towards the camera.
    assert mesh.area == pytest.approx(3 * SIDE_M**2, rel=0.03)
    towards_camera = -(mesh.face_normals * mesh.triangles_center).sum(axis=1)
    assert (towards_camera > 0).mean() > 0.999


def test_no_triangle_ties_the_cube_to_the_wall(tmp_path: Path) -> None:
    cube = see_cube(CAMERA, wall_m=6.0)
    cube.depth.save(tmp_path / "cut.glb")
    cube.depth.save(tmp_path / "whole.glb", settings=OutputSettings(edge_filter=0))
    cut, whole = surface_of(tmp_path / "cut.glb"), surface_of(tmp_path / "whole.glb")

    # The wall is 6 m away: nothing lies between it and the cube but triangles that tie them together.
    def depths(mesh: trimesh.Trimesh) -> np.ndarray:
        return np.ptp(-mesh.triangles[:, :, 2], axis=1)

    assert depths(cut).max() < 0.5
    assert depths(whole).max() > 2.5


def test_the_image_lies_on_the_surface_the_right_way_round(tmp_path: Path) -> None:
    cube = see_cube(CAMERA, wall_m=4.0)
    cube.depth.save(tmp_path / "cube.glb")
    mesh = surface_of(tmp_path / "cube.glb")
    colors = mesh.visual.to_color().vertex_colors[:, :3].astype(int)
    on_cube = np.asarray(mesh.vertices)[:, 2] > -3.5
    reddish = colors[:, 0] > 100
    assert (reddish == on_cube).mean() > 0.98  # JPEG blurs the edge a little


def test_the_binary_part_is_what_the_json_says(depth_map: DepthMap) -> None:
    rgb = np.full((20, 30, 3), 128, np.uint8)
    document, binary = parts_of(glb.encode(replace(depth_map, rgb=rgb), OutputSettings()))
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
    places = values(surface["attributes"]["TEXCOORD_0"], "<f4", 2)
    assert len(places) == len(xyz)
    assert places.min() > 0
    assert places.max() < 1
    indices = values(surface["indices"], "<u4", 1)
    assert indices.max() == len(xyz) - 1
    (image,) = document["images"]
    view = views[image["bufferView"]]
    jpeg = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    assert Image.open(io.BytesIO(jpeg)).size == (30, 20)


def test_the_camera_of_the_photo_is_in_the_scene(tmp_path: Path) -> None:
    document, _ = parts_of(glb.encode(see_cube(CAMERA).depth, OutputSettings()))
    (camera,) = document["cameras"]
    assert camera["perspective"]["aspectRatio"] == pytest.approx(320 / 240)
    yfov = camera["perspective"]["yfov"]
    assert math.tan(yfov / 2) * 320 / 240 == pytest.approx(math.tan(math.radians(25)))
    assert document["nodes"][1] == {"name": "camera", "camera": 0}, "at the origin, looking along -Z"


def viewer_of(data: bytes) -> str:
    """Put a glb file into the page of three.js that trimesh carries for notebooks; it needs no network."""
    parts = resources.files("trimesh") / "resources" / "templates" / "viewer.zip"
    with zipfile.ZipFile(io.BytesIO(parts.read_bytes())) as archive:
        page = archive.read("viewer.html.template").decode()
    assert page.count("$B64GLTF") == 1
    return page.replace("$B64GLTF", base64.b64encode(data).decode())


IN_THE_SCENE = """() => {
    const meshes = [];
    scene.traverse(node => { if (node.isMesh) meshes.push(node); });
    const box = new THREE.Box3().setFromObject(meshes[0]);
    const image = meshes[0].material.map.image;
    return {count: meshes.length, low: box.min.toArray(), high: box.max.toArray(), image: [image.width, image.height]};
}"""


def test_a_browser_opens_the_surface_and_finds_its_meters(browser: Browser, tmp_path: Path) -> None:
    depth = see_cube(CAMERA).depth
    data = glb.encode(depth, OutputSettings())
    (tmp_path / "viewer.html").write_text(viewer_of(data), encoding="utf-8")
    page = browser.new_page()
    try:
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto((tmp_path / "viewer.html").as_uri())
        page.wait_for_function("() => { let found = 0; scene.traverse(n => found += !!n.isMesh); return found > 0; }")
        seen = page.evaluate(IN_THE_SCENE)
    finally:
        page.close()
    assert faults == []
    assert (seen["count"], seen["image"]) == (1, [320, 240])
    (tmp_path / "cube.glb").write_bytes(data)
    bounds = surface_of(tmp_path / "cube.glb").bounds
    np.testing.assert_allclose([seen["low"], seen["high"]], bounds, atol=1e-5)
    # What trimesh and three.js agree on is also true: the nearest corner of the traced cube.
    assert -seen["high"][2] == pytest.approx(depth.meters[depth.meters > 0].min())


def test_without_a_image_the_surface_is_gray(depth_map: DepthMap, tmp_path: Path) -> None:
    depth_map.save(tmp_path / "gray.glb", settings=OutputSettings(edge_filter=0))
    assert len(surface_of(tmp_path / "gray.glb").vertices) == 600
    document, _ = parts_of((tmp_path / "gray.glb").read_bytes())
    assert "images" not in document
    assert "textures" not in document


def test_a_large_image_is_thinned_in_points_and_not_in_color() -> None:
    cube = see_cube(CAMERA, wall_m=4.0)
    document, _ = parts_of(glb.encode(cube.depth, OutputSettings(max_points=5000)))
    assert 2000 < document["accessors"][0]["count"] <= 5000


def test_the_file_says_what_it_is(depth_map: DepthMap) -> None:
    facts = glb.read_facts(io.BytesIO(glb.encode(depth_map, OutputSettings())))
    assert facts is not None
    assert facts["format"] == "glb"
    assert facts["provenance"]["weights_sha256"] == "ab" * 32
    assert facts["camera"]["source"].startswith("assumed: 55°")


def test_without_a_triangle_there_is_no_file(depth_map: DepthMap, tmp_path: Path) -> None:
    nothing = replace(depth_map, meters=np.zeros_like(depth_map.meters))
    with pytest.raises(OutputError, match=r"photo\.jpg: no surface is left"):
        nothing.save(tmp_path / "nothing.glb")


def test_a_surface_is_not_read_back_and_says_why(depth_map: DepthMap, tmp_path: Path) -> None:
    depth_map.save(tmp_path / "a.glb")
    with pytest.raises(GLPNError, match="is a glb file: "):
        glpn_cli.read(tmp_path / "a.glb")


@pytest.mark.parametrize("cut", [0, 4, 19, 30, 200])
def test_half_a_file_says_nothing(cut: int, depth_map: DepthMap) -> None:
    assert glb.read_facts(io.BytesIO(glb.encode(depth_map, OutputSettings())[:cut])) is None


def test_a_foreign_file_says_nothing() -> None:
    text = b'{"asset":{"version":"2.0"}}  '
    foreign = struct.pack("<4sIIII", b"glTF", 2, 20 + len(text), len(text), 0x4E4F534A) + text
    assert glb.read_facts(io.BytesIO(foreign)) is None
