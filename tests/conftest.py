"""For every test: on a build machine chance is the same every time, so that only a change can make it fail.

How long an example takes is not what a property is about, and on a machine with other work it is chance: pytest's
time limit alone ends what hangs.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile("desk", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("desk"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")
