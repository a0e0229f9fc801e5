"""The inference engine: the network of `glpn_cli.model`, rebuilt for speed and tested against it."""
