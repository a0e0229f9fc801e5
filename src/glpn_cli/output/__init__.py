"""Depth files: the table of formats, one module per format family, names, reading, colors."""
