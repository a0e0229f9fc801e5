from __future__ import annotations

import subprocess
import sys

import pytest

# In a process of its own, because memory that a test before gave back would be used again unseen.
_SCRIPT = """
import numpy as np, torch
from glpn_cli.benchmark.stages import watch_peak
cpu = torch.device("cpu")
before = watch_peak(cpu)()
if before is None:
    raise SystemExit("cannot reset")
read = watch_peak(cpu)
large = np.ones(200 * 2**20, np.uint8)
peak = read()
del large
later = watch_peak(cpu)()
print((peak - before) // 2**20, (peak - later) // 2**20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a peak")
def test_the_peak_is_that_since_the_watch_began() -> None:
    run = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=False)
    if "cannot reset" in run.stderr:
        pytest.skip("this system does not let a process reset its peak")
    rise_mib, fall_mib = map(int, run.stdout.split())
    assert rise_mib > 150
    assert fall_mib > 150
