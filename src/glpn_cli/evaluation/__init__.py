"""How good depth is, against images whose depth is known (`glpn evaluate`)."""
