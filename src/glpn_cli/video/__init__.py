"""Video: depth of every frame, steady over time, in files of any length."""
