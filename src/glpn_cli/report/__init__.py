"""The report of a batch: a page, opened from disk, that shows every image next to its depth map."""
