"""The product: from a picture to a depth map."""
