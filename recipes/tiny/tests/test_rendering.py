from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch

from glpn_cli.scenes.rendering import SCENE_KINDS, make_scene, render, render_scenes
from glpn_cli.scenes.scene import Camera, Light, Material, Scene, SolidKind
from glpn_cli.scenes.textures import TEXTURE_SIDE_PX, Atlas, build_atlas


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return build_atlas(0)


@pytest.mark.parametrize("kind", SCENE_KINDS)
def test_every_kind_shows_something_near_and_something_far(kind: str, atlas: Atlas) -> None:
    scene = make_scene(1, atlas, {kind: 1})
    assert scene.kind == kind
    rgb, depth = render([scene], 48, 64)
    assert (rgb.dtype, rgb.shape, depth.shape) == (torch.uint8, (1, 48, 64, 3), (1, 48, 64))
    known = depth[depth.isfinite()]
    assert known.min() > 0.02
    assert known.quantile(0.95) > 1.25 * known.quantile(0.05)
    assert rgb.float().std() > 10


def test_a_seed_decides_everything(atlas: Atlas) -> None:
    again_atlas = build_atlas(0)
    assert torch.equal(again_atlas.texels, atlas.texels)
    first, again, other = (
        render_scenes([seed], one, 32, 48) for seed, one in ((5, atlas), (5, again_atlas), (6, atlas))
    )
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


def test_company_changes_depth_and_colors_by_no_more_than_rounding(atlas: Atlas) -> None:
    scenes = [make_scene(seed, atlas) for seed in range(3)]
    together = render(scenes, 32, 48)
    for number, scene in enumerate(scenes):
        rgb, depth = render([scene], 32, 48)
        alike = torch.isclose(depth[0], together[1][number], rtol=1e-5)
        assert alike.float().mean() > 0.998  # a pixel on an edge may fall to either side
        steps = (rgb[0].int() - together[0][number].int()).abs().amax(-1)
        assert (steps <= 1).float().mean() > 0.99


def floor_with_lamp(atlas: Atlas, *, ball: bool) -> Scene:
    scene = Scene(random.Random(0), atlas)
    scene.camera = Camera((0.0, 3.0, 0.0), pitch=-math.pi / 2)
    scene.ambient = (0.1, 0.1, 0.1)
    scene.lights = [Light((0.0, 1.0, 0.0), (1.0, 1.0, 1.0))]
    scene.add(SolidKind.BOX, (0.0, -0.5, 0.0), (20.0, 0.5, 20.0), Material((0.5, 0.5, 0.5)))
    if ball:  # above and beside the camera, so that only its shadow is seen
        scene.add(SolidKind.SPHERE, (0.8, 4.0, 0.0), (0.4, 0.4, 0.4), Material((0.5, 0.5, 0.5)))
    return scene


def test_what_is_in_the_sun_throws_a_shadow_where_it_should(atlas: Atlas) -> None:
    dark, _ = render([floor_with_lamp(atlas, ball=True)], 64, 64)
    bright, _ = render([floor_with_lamp(atlas, ball=False)], 64, 64)
    assert bright.float().std() < 3
    column = 32 + round(0.8 / 3 * 32 / math.tan(math.radians(30)))
    image = dark[0, 32].float().mean(-1)
    assert image[column] < 0.7 * image[5]


def test_pieces_of_images_become_textures() -> None:
    image = np.zeros((80, 90, 3), np.uint8)
    image[..., 1] = 200
    atlas = build_atlas(0, [image])
    chosen = {atlas.pick(random.Random(seed), "print") for seed in range(20)}
    assert len(chosen) > 5
    for number in chosen:
        assert (atlas.texels[number, : TEXTURE_SIDE_PX**2] == torch.tensor([0, 200, 0])).all()
