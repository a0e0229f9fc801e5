"""Crews: how worker processes are started, on this machine or others."""
