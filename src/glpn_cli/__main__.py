"""`python -m glpn_cli` is `glpn`."""

from glpn_cli.cli.app import main

main()
