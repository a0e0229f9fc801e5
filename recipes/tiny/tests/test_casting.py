from __future__ import annotations

import math
import random

import pytest
import torch

from scenes.casting import TILE_PX, cast, gather_solids, intersect
from scenes.scene import Camera, Frame, Material, Scene, SolidKind
from scenes.textures import Atlas

GRAY = Material((0.5, 0.5, 0.5))
HEIGHT, WIDTH = 40, 56  # not multiples of the tile size


@pytest.fixture
def scene() -> Scene:
    return Scene(random.Random(0), atlas=object.__new__(Atlas))


def depth_of(*scenes: Scene) -> torch.Tensor:
    return cast(scenes, gather_solids(scenes), HEIGHT, WIDTH).depth.double()


def rays(camera: Camera) -> tuple[torch.Tensor, torch.Tensor]:
    """Return x and y of the rays whose z is 1, independent of the code under test."""
    focal = max(HEIGHT, WIDTH) / 2 / math.tan(math.radians(camera.fov_deg) / 2)
    y, x = torch.meshgrid(
        torch.arange(HEIGHT, dtype=torch.float64), torch.arange(WIDTH, dtype=torch.float64), indexing="ij"
    )
    return (x + 0.5 - WIDTH / 2) / focal, (HEIGHT / 2 - 0.5 - y) / focal


def test_sphere_depth_is_along_the_optical_axis(scene: Scene) -> None:
    scene.camera = Camera((0.0, 0.0, 0.0), fov_deg=70)
    scene.add(SolidKind.SPHERE, (0.5, -0.3, 4.0), (1.2, 1.2, 1.2), GRAY)
    x, y = rays(scene.camera)
    a = x * x + y * y + 1
    b = 0.5 * x - 0.3 * y + 4.0
    inside = b * b - a * (0.25 + 0.09 + 16 - 1.44)
    expected = torch.where(inside > 0, (b - inside.clamp_min(0).sqrt()) / a, torch.inf)
    found = depth_of(scene)[0]
    assert expected.isfinite().any()
    edge = inside.abs() < 1e-3
    assert torch.equal(found.isfinite() | edge, expected.isfinite() | edge)
    both = found.isfinite() & expected.isfinite()
    assert (found - expected)[both].abs().max() < 1e-4


def test_floor_depth_follows_from_camera_height(scene: Scene) -> None:
    scene.camera = Camera((3.0, 1.5, -2.0), fov_deg=60)
    scene.add(SolidKind.BOX, (0.0, -0.5, 0.0), (500.0, 0.5, 500.0), GRAY)
    _, y = rays(scene.camera)
    found = depth_of(scene)[0]
    expected = -1.5 / y
    near = (y < 0) & (expected < 100)
    assert near.sum() > 500
    assert ((found - expected)[near].abs() / expected[near]).max() < 1e-4
    assert found[y > 0].isinf().all()


def test_downward_camera_sees_constant_depth(scene: Scene) -> None:
    scene.camera = Camera((0.0, 2.0, 0.0), pitch=-math.pi / 2, yaw=0.7, roll=0.4)
    scene.add(SolidKind.BOX, (0.0, -0.5, 0.0), (50.0, 0.5, 50.0), GRAY)
    assert (depth_of(scene) - 2).abs().max() < 1e-4  # a plane perpendicular to the optical axis


@pytest.mark.parametrize("yaw", [0.0, 0.6, -2.4])
def test_rotated_box_shows_its_front(scene: Scene, yaw: float) -> None:
    scene.camera = Camera((0.0, 0.0, 0.0), yaw=yaw)
    scene.add(SolidKind.BOX, (5 * math.sin(yaw), 0.0, 5 * math.cos(yaw)), (1.0, 0.6, 0.5), GRAY, yaw=yaw)
    x, y = rays(scene.camera)
    found = depth_of(scene)[0]
    front = (x.abs() * 4.5 < 0.99) & (y.abs() * 4.5 < 0.59)
    assert front.sum() > 50
    assert (found[front] - 4.5).abs().max() < 1e-4
    assert found[(x.abs() * 5.5 > 1.4) | (y.abs() * 5.5 > 0.9)].isinf().all()


def test_cylinder_has_round_side_and_flat_top(scene: Scene) -> None:
    scene.camera = Camera((0.0, 0.0, 0.0))
    scene.add(SolidKind.CYLINDER, (0.0, -1.0, 4.0), (0.8, 0.6, 0.8), GRAY)
    x, y = rays(scene.camera)
    found = depth_of(scene)[0]
    a = x * x + 1
    side = (4 - (16 - a * (16 - 0.64)).clamp_min(0).sqrt()) / a
    height = y * side
    on_side = (16 - a * (16 - 0.64) > 1e-3) & (height > -1.59) & (height < -0.41)
    assert on_side.sum() > 40
    assert (found - side)[on_side].abs().max() < 1e-4
    top = -0.4 / y
    on_top = (y < 0) & ((x * top) ** 2 + (top - 4) ** 2 < 0.6) & (height > -0.39)
    assert on_top.sum() > 5
    assert (found - top)[on_top].abs().max() < 1e-4


def test_bar_ends_at_given_points(scene: Scene) -> None:
    Frame(scene, (0.0, 0.0, 0.0), 0.3).bar((1.0, 0.5, 2.0), (-0.4, 1.7, 3.0), 0.01, GRAY)
    (bar,) = scene.solids
    solids = gather_solids([scene])
    ends = solids.center[0] + (solids.to_world[0] @ torch.tensor([[0.0, 0.0], [1.0, -1.0], [0.0, 0.0]])).T
    frame = Frame(scene, (0.0, 0.0, 0.0), 0.3)
    wanted = torch.tensor([frame.at(1.0, 0.5, 2.0), frame.at(-0.4, 1.7, 3.0)])
    apart = torch.cdist(ends, wanted)
    assert apart.min(1).values.max() < 1e-5
    assert bar.half[0] == 0.01


def test_nearest_solid_is_visible(scene: Scene) -> None:
    scene.camera = Camera((0.0, 0.0, 0.0))
    scene.add(SolidKind.BOX, (0.0, 0.0, 6.0), (9.0, 9.0, 0.5), GRAY)
    scene.add(SolidKind.SPHERE, (0.0, 0.0, 3.0), (0.5, 0.5, 0.5), GRAY)
    hits = cast([scene], gather_solids([scene]), HEIGHT, WIDTH)
    assert hits.solid[0, HEIGHT // 2, WIDTH // 2] == 1
    assert hits.solid[0, 0, 0] == 0
    assert abs(float(hits.depth[0, 0, 0]) - 5.5) < 1e-4


def test_tiles_match_testing_all_solids_on_all_pixels(scene: Scene) -> None:
    rng = random.Random(3)
    for kind in SolidKind:
        for _ in range(6):
            center = (
                rng.uniform(-2, 2),
                rng.uniform(-2, 2),
                rng.uniform(-1, 5),
            )  # some are behind or around the camera
            half = (rng.uniform(0.05, 1.0), rng.uniform(0.05, 1.0), rng.uniform(0.05, 1.0))
            angles = [rng.uniform(-3, 3) for _ in range(3)]
            scene.add(kind, center, half, GRAY, yaw=angles[0], pitch=angles[1], roll=angles[2])
    scene.camera = Camera((0.1, 0.2, 0.0), fov_deg=80)
    solids = gather_solids([scene])
    x, y = (values.float() for values in rays(scene.camera))
    direction = torch.stack([x, y, torch.ones_like(x)], -1)
    every = []
    for number in range(len(scene.solids)):
        along = (direction @ solids.to_local[number].T).unbind(-1)
        place = solids.to_local[number] @ (torch.tensor(scene.camera.position) - solids.center[number])
        every.append(intersect(SolidKind(int(solids.kind[number])), along, list(place)))
    expected = torch.stack(every).amin(0)
    found = cast([scene], solids, HEIGHT, WIDTH).depth[0]
    assert HEIGHT % TILE_PX
    both = found.isfinite() & expected.isfinite()
    assert (found.isfinite() != expected.isfinite()).sum() <= 2  # pixels on an edge
    assert (found - expected)[both].abs().median() < 1e-6
    assert ((found - expected)[both].abs() > 1e-4).sum() <= 3


def test_scenes_of_a_batch_are_independent(scene: Scene) -> None:
    other = Scene(random.Random(0), atlas=scene.atlas)
    for one, distance in ((scene, 3.0), (other, 7.0)):
        one.camera = Camera((0.0, 0.0, 0.0))
        one.add(SolidKind.BOX, (0.0, 0.0, distance), (0.5, 0.5, 0.1), GRAY)
    together = depth_of(scene, other)
    assert torch.equal(together[0], depth_of(scene)[0])
    assert torch.equal(together[1], depth_of(other)[0])
