"""Images: found, read upright as RGB, made into what the network sees, and back."""
