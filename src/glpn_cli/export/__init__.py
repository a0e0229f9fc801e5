"""The network for programs that have neither torch nor glpn (`glpn export`)."""
