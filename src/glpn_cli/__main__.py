"""`python -m glpn_cli` is `glpn`."""

import os
import sys
from typing import Any

_INTERRUPTED = 130


def run() -> None:
    """Run the command line in a process of its own."""
    try:
        from glpn_cli.cli.process import exit_quickly, repeat_lost_interrupt, set_signal_handler
        from glpn_cli.tuning import tune_process

        # A signal while the program is imported, or exits, ends it at once: there is nothing to clean up then, and an
        # exception would show a traceback of whatever Python is doing at that moment.
        set_signal_handler(_exit_now)
        sys.excepthook, sys.unraisablehook = _report_bug, repeat_lost_interrupt
        tune_process()
        from glpn_cli.cli.app import main

        main()
    except KeyboardInterrupt:  # before the first handler, or between two
        _exit_now()
    except SystemExit as end:
        set_signal_handler(_exit_now)
        exit_quickly(end.code)
        raise


def _exit_now(*_: object) -> None:
    os._exit(_INTERRUPTED)


def _report_bug(kind: Any, error: Any, traceback: Any) -> None:
    """Show the traceback of a bug; an interrupt that came while another exception was handled is none."""
    if issubclass(kind, KeyboardInterrupt):
        _exit_now()
    sys.__excepthook__(kind, error, traceback)


if __name__ == "__main__":  # not in a data loader process, which imports this module again
    run()
