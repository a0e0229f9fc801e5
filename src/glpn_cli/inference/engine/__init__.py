"""The fast forward: the network of `model`, built anew for speed and held to it by parity tests."""
