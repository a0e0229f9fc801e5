"""Training: from pictures with known depth to weights."""
