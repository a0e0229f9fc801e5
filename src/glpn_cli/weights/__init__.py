"""Weights: which there are, where they lie, how they are read and written."""
