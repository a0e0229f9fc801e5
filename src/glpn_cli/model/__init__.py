"""The GLPN network in plain PyTorch: its configuration, encoder, decoder, head and loss."""
