from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch

from scenes.rendering import SCENE_KINDS, make_scene, render, render_scenes
from scenes.scene import Camera, Light, Material, Scene, SolidKind
from scenes.textures import TEXTURE_SIDE_PX, Atlas, build_atlas


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return build_atlas(0)


@pytest.mark.parametrize("kind", SCENE_KINDS)
def test_every_kind_has_near_and_far_content(kind: str, atlas: Atlas) -> None:
    scene = make_scene(1, atlas, {kind: 1})
    assert scene.kind == kind
    rgb, depth = render([scene], 48, 64)
    assert (rgb.dtype, rgb.shape, depth.shape) == (torch.uint8, (1, 48, 64, 3), (1, 48, 64))
    known = depth[depth.isfinite()]
    assert known.min() > 0.02
    assert known.quantile(0.95) > 1.25 * known.quantile(0.05)
    assert rgb.float().std() > 10


@pytest.mark.usefixtures("few_textures")
def test_seed_determines_scene_and_textures() -> None:
    atlas, again_atlas, other_atlas = (build_atlas(seed) for seed in (0, 0, 1))
    assert torch.equal(again_atlas.texels, atlas.texels)
    assert not torch.equal(other_atlas.texels, atlas.texels)
    first, again, other = (
        render_scenes([seed], one, 32, 48) for seed, one in ((5, atlas), (5, again_atlas), (6, atlas))
    )
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


def test_batch_changes_results_by_rounding_only(atlas: Atlas) -> None:
    scenes = [make_scene(seed, atlas) for seed in range(3)]
    together = render(scenes, 32, 48)
    for number, scene in enumerate(scenes):
        rgb, depth = render([scene], 32, 48)
        alike = torch.isclose(depth[0], together[1][number], rtol=1e-5)
        assert alike.float().mean() > 0.998  # a pixel on an edge may belong to either side
        steps = (rgb[0].int() - together[0][number].int()).abs().amax(-1)
        assert (steps <= 1).float().mean() > 0.99


def floor_with_lamp(atlas: Atlas, *, ball: bool) -> Scene:
    scene = Scene(random.Random(0), atlas)
    scene.camera = Camera((0.0, 3.0, 0.0), pitch=-math.pi / 2)
    scene.ambient = (0.1, 0.1, 0.1)
    scene.lights = [Light((0.0, 1.0, 0.0), (1.0, 1.0, 1.0))]
    scene.add(SolidKind.BOX, (0.0, -0.5, 0.0), (20.0, 0.5, 20.0), Material((0.5, 0.5, 0.5)))
    if ball:  # outside the view, so that only its shadow is visible
        scene.add(SolidKind.SPHERE, (0.8, 4.0, 0.0), (0.4, 0.4, 0.4), Material((0.5, 0.5, 0.5)))
    return scene


def test_shadow_falls_at_expected_position(atlas: Atlas) -> None:
    dark, _ = render([floor_with_lamp(atlas, ball=True)], 64, 64)
    bright, _ = render([floor_with_lamp(atlas, ball=False)], 64, 64)
    assert bright.float().std() < 3
    column = 32 + round(0.8 / 3 * 32 / math.tan(math.radians(30)))
    image = dark[0, 32].float().mean(-1)
    assert image[column] < 0.7 * image[5]


@pytest.mark.usefixtures("few_textures")
def test_patches_of_images_become_textures() -> None:
    image = np.zeros((80, 90, 3), np.uint8)
    image[..., 1] = 200
    atlas = build_atlas(0, [image])
    chosen = {atlas.pick(random.Random(seed), "print") for seed in range(20)}
    assert len(chosen) > 5
    for number in chosen:
        assert (atlas.texels[number, : TEXTURE_SIDE_PX**2] == torch.tensor([0, 200, 0])).all()


def test_default_kinds_are_the_common_ones(atlas: Atlas) -> None:
    assert {make_scene(seed, atlas, {"meal": 1, "jam": 1}).kind for seed in range(6)} == {"meal", "jam"}
    assert {make_scene(seed, atlas).kind for seed in range(12)} <= {"room", "tabletop", "street", "park"}


@pytest.mark.parametrize(
    ("kind", "solids", "sum_z_m", "last_texture"),
    [
        ("room", 175, -263.14, -1),
        ("tabletop", 39, 76.47, 95),
        ("street", 714, 30862.75, -1),
        ("park", 415, 6047.39, -1),
        ("meal", 233, -47.38, 90),
        ("jam", 825, 34534.45, -1),
        ("traffic", 765, 34558.38, 5),
        ("square", 213, 2937.28, -1),
        ("evening", 916, 35586.44, 0),
        ("portrait", 279, -163.67, -1),
    ],
)
def test_seed_keeps_its_scene_across_versions(
    kind: str, solids: int, sum_z_m: float, last_texture: int, atlas: Atlas
) -> None:
    scene = make_scene(1, atlas, {kind: 1})
    assert len(scene.solids) == solids
    assert sum(solid.center[2] for solid in scene.solids) == pytest.approx(sum_z_m, abs=0.01)
    assert scene.solids[-1].material.texture == last_texture
