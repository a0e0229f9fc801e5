"""`python -m glpn_cli` is `glpn`."""

import gc

from glpn_cli.cli.allocation import keep_freed_memory
from glpn_cli.cli.app import main
from glpn_cli.cli.leaving import leave_quickly

_OBJECTS_BETWEEN_COLLECTIONS = 100_000


def run() -> None:
    """Be a process: run the command line, and end with it."""
    # Importing torch makes half a million objects and no garbage; looking through them takes a tenth of a second.
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    keep_freed_memory()
    try:
        main()
    except SystemExit as end:
        leave_quickly(end.code)
        raise


if __name__ == "__main__":  # and not where a process that makes samples looks for what it is to run
    run()
