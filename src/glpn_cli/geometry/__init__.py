"""Geometry: cameras, points, meshes, measurements and known distances."""
