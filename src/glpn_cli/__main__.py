"""`python -m glpn_cli` is `glpn`."""

import gc
import sys

_INTERRUPTED = 130
_OBJECTS_BETWEEN_COLLECTIONS = 100_000


def run() -> None:
    """Run the command line in a process of its own."""
    # Importing torch creates half a million objects and no garbage; collecting among them takes 0.1 s.
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    try:
        from glpn_cli.cli.app import main
        from glpn_cli.cli.process import exit_quickly, keep_freed_memory
    except KeyboardInterrupt:  # an impatient user, before there is anything to clean up
        sys.exit(_INTERRUPTED)
    keep_freed_memory()
    try:
        main()
    except SystemExit as end:
        exit_quickly(end.code)
        raise


if __name__ == "__main__":  # not in a data loader process, which imports this module again
    run()
