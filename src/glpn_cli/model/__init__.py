"""The GLPN network in plain PyTorch: configuration, encoder, decoder, head and loss."""
