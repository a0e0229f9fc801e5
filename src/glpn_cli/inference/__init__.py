"""The product: from an image to a depth map."""
