"""`python -m glpn_cli` is `glpn`."""

from glpn_cli.cli.app import main

if __name__ == "__main__":  # and not where a process that makes samples looks for what it is to run
    main()
