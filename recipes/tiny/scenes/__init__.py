"""Synthetic scenes with exact depth: random composition, ray casting, shading, and folders of rendered scenes."""
