"""A page about a batch: every picture beside its depth, opened from disk, with metres under the pointer."""
