"""Images: find them, read them as upright RGB, convert them to the network's input, and its output back to meters."""
