"""Accuracy of depth maps, measured on images with ground truth (`glpn evaluate`)."""
