"""Depth files: which formats there are, what they are named, how they are written whole."""
