"""Read all images of a folder in a separate process, to detect crashes, hangs and excessive memory use.

`read_images.py FOLDER MAX_PIXELS LIMIT_S` prints one JSON object per image. If an image takes longer than the limit,
the process ends with a traceback.
"""

from __future__ import annotations

import faulthandler
import json
import sys
import time
from pathlib import Path

from glpn_cli.errors import ImageError
from glpn_cli.image.reading import read_image


def peak_mib() -> float:
    """Return the peak memory of this process, or 0 if the system does not report it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    folder, max_pixels, limit_s = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    read_image(
        b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;", max_pixels=1
    )  # memory that reading needs in any case
    before_mib = peak_mib()
    for path in sorted(folder.iterdir()):
        faulthandler.dump_traceback_later(limit_s, exit=True)
        start_s = time.perf_counter()
        try:
            result = {"shape": read_image(path, max_pixels=max_pixels).rgb.shape}
        except ImageError as error:
            result = {"error": error.message.removeprefix(f"{path}: ")}
        elapsed_s = time.perf_counter() - start_s
        result |= {"name": path.name, "elapsed_s": elapsed_s, "grown_mib": peak_mib() - before_mib}
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
