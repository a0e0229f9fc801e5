"""Made-up scenes with exactly known depth: described in meters, cast in batches, colored, kept for training."""
