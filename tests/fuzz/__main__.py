"""Fuzz the codecs: `make fuzz`, or `make fuzz FUZZ="60 hj212 mbus"` for a minute of these two.

From: published packets, and frames that the codecs build themselves. To: `tests.fuzz.harness`, by way of atheris,
which mutates them with an eye on the code they reach. Exit code 77 when a promise was broken.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["devices", "meterbus"]):
    from tests.fuzz.harness import LONGEST, Harness

    harness = Harness(sys.argv[2:])


def main() -> None:
    """Fuzz for the seconds given first, ten minutes without."""
    limit_s = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    end_s = time.monotonic() + limit_s - 1
    told = False

    def one(data: bytes) -> None:
        nonlocal told
        harness.one(data)
        if time.monotonic() >= end_s and not told:
            told = True
            for name in harness.decoded:
                print(f"{name}: {harness.decoded[name]} decoded, {harness.refused[name]} refused")  # noqa: T201
            if harness.found:
                raise AssertionError("\n".join(harness.found.values()))

    with tempfile.TemporaryDirectory() as folder:
        for place, seed in enumerate(harness.seeds()):
            (Path(folder) / f"{place:05}").write_bytes(seed)
        options = [f"-max_total_time={limit_s}", f"-max_len={LONGEST}", "-timeout=10", "-rss_limit_mb=2048"]
        atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/", "-verbosity=0", folder], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
