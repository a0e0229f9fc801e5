"""Images with ground truth depth, for training and evaluation."""
