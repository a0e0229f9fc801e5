"""Weights: the catalog, the files on this machine, and how they get here from the Hugging Face Hub."""
