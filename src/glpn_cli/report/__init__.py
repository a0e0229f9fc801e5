"""A page about a batch: every image beside its depth, opened from disk, with meters under the pointer."""
