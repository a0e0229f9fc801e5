"""Triangles between neighboring points."""

from __future__ import annotations

import numpy as np

from glpn_cli.depth import Camera, DepthMap
from glpn_cli.geometry.camera import PointGrid, to_points, to_triangles
from glpn_cli.settings import OutputSettings


def grid_of(rows: list[list[float]]) -> PointGrid:
    depth = DepthMap(np.array(rows, np.float32), camera=Camera(10.0, "--focal-px 10"))
    return to_points(depth, OutputSettings(edge_filter=0))


def test_a_square_of_points_is_two_triangles_that_face_the_camera() -> None:
    grid = grid_of([[2, 2, 2], [2, 2, 2]])
    triangles = to_triangles(grid, jump=0.1)
    assert triangles.shape == (4, 3)
    corners = grid.xyz.reshape(-1, 3)[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normals[:, 2] > 0).all()
    np.testing.assert_allclose(normals[:, 2].sum() / 2, 2 * 0.2 * 0.2, rtol=1e-5)


def test_the_cut_goes_along_the_diagonal_that_is_flatter() -> None:
    fold = to_triangles(grid_of([[2, 2], [2, 2.1]]), jump=0.1)  # one corner is bent back
    assert {frozenset(triangle) for triangle in fold.tolist()} == {frozenset({0, 1, 2}), frozenset({1, 2, 3})}
    other = to_triangles(grid_of([[2, 2.1], [2, 2]]), jump=0.1)
    assert {frozenset(triangle) for triangle in other.tolist()} == {frozenset({0, 2, 3}), frozenset({0, 1, 3})}


def test_three_points_of_a_square_are_the_one_triangle_between_them() -> None:
    for gone in range(4):
        meters = [2.0, 2.0, 2.0, 2.0]
        meters[gone] = 0.0
        triangles = to_triangles(grid_of([meters[:2], meters[2:]]), jump=0.1)
        assert [set(triangle) for triangle in triangles.tolist()] == [{0, 1, 2, 3} - {gone}]


def test_no_triangle_spans_an_edge_of_depth() -> None:
    rows = [[2.0, 2.0, 5.0, 5.0]] * 3
    cut = to_triangles(grid_of(rows), jump=0.1)
    assert len(cut) == 8
    assert all(len({column in (0, 1) for column in triangle % 4}) == 1 for triangle in cut)
    assert len(to_triangles(grid_of(rows), jump=0)) == 12


def test_too_few_points_are_no_surface() -> None:
    assert to_triangles(grid_of([[2, 2, 2]]), jump=0.1).shape == (0, 3)
    assert to_triangles(grid_of([[2, 0], [0, 2]]), jump=0.1).shape == (0, 3)
