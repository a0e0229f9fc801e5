"""Made-up scenes with exactly known depth: described in metres, cast in batches, coloured, kept for training."""
