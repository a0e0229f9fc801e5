"""How good depth is, against pictures whose depth is known (`glpn evaluate`)."""
