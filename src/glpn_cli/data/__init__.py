"""Images with known depth, for training and for evaluation."""
