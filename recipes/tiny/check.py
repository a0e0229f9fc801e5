"""See that a training has come to a step or to its end, before another begins with its weights.

    python docs/check_trained.py build/tiny/1/last [STEP]

`make tiny` asks, because a training that was told to stop after an hour has not failed.
"""

from __future__ import annotations

import json
import sys

from glpn_cli.weights.checkpoint import read_checkpoint


def main() -> None:
    """Leave with 1 if there are steps left."""
    folder, *until = sys.argv[1:]
    facts = json.loads(read_checkpoint(folder).metadata["training"])
    wanted = min([facts["steps"], *map(int, until)])
    if facts["step"] < wanted:
        sys.exit(f"{folder}: {facts['step']} of {wanted} steps are done; the same command goes on with them")


if __name__ == "__main__":
    main()
