"""One run of `scale.py`: a batch with so many workers, and its times as JSON."""

from __future__ import annotations

import json
import os
import resource
import sys
import time

START_S = time.perf_counter()


def main() -> None:
    """Run a batch; the arguments are images, output folder, weights, device, and number of workers or "1 core"."""
    photos, out, weights, device, workers = sys.argv[1:]
    if workers == "1 core" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
    from glpn_cli.tuning import tune_process

    tune_process()
    from glpn_cli.inference.batch import BatchRun, make_batch
    from glpn_cli.inference.load import load_for_run

    batch = make_batch(photos, out, weights=weights, device=device, offline=True)
    load: object = load_for_run
    if workers.startswith("1"):
        from glpn_cli.inference.crews.processes import ProcessCrew
        from glpn_cli.inference.remote import RemotePredictor

        def load(settings: object) -> RemotePredictor:
            return RemotePredictor(ProcessCrew([device], settings))

    times_s = []
    with BatchRun(batch, load) as running:
        start_cpu_s = time.process_time()
        times_s += (time.perf_counter() - START_S for result in running if result.error is None)
    end_s = time.perf_counter() - START_S
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    run_cpu_s = time.process_time() - start_cpu_s
    found = {
        "done": len(times_s),
        "wall_s": end_s,
        "start_s": times_s[0],
        "run_s": times_s[-1] - times_s[0],
        "driver_cpu_s": own.ru_utime + own.ru_stime,
        "driver_run_cpu_s": run_cpu_s,
        "workers_cpu_s": children.ru_utime + children.ru_stime,
    }
    print(json.dumps(found), flush=True)
    os._exit(0)  # as the command does


if __name__ == "__main__":
    main()
