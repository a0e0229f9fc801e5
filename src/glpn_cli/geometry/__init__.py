"""Depth in space: cameras, points, surfaces, known distances."""
