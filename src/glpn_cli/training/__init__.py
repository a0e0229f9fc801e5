"""Training: from images with known depth to weights."""
