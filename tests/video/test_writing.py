import os
import subprocess
import sys
from pathlib import Path

import pytest

PRINT_PACKETS = """
import hashlib, sys
from fractions import Fraction
from pathlib import Path
import av
import numpy as np
from glpn_cli.video.writing import ENCODINGS, SegmentEncoder
rows, columns = np.mgrid[:240, :320]
encoder = SegmentEncoder(Path(sys.argv[1]), ENCODINGS[".mp4"], Fraction(25))
for index in range(60):
    image = np.stack([rows + 3 * index, columns + 5 * index, rows * columns], axis=-1)
    encoder.add((image % 256).astype(np.uint8))
encoder.finish()
with av.open(sys.argv[1]) as video:
    print(hashlib.sha256(b"".join(bytes(packet) for packet in video.demux())).hexdigest())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="MALLOC_PERTURB_ is a setting of the GNU C library")
def test_packets_do_not_depend_on_uninitialized_memory(tmp_path: Path) -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", PRINT_PACKETS, str(tmp_path / f"{byte}.video")],
            env=os.environ | {"MALLOC_PERTURB_": byte},
            check=True,
            capture_output=True,
        ).stdout
        for byte in ("0", "1")
    }
    assert len(digests) == 1
