"""What holds for every test."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# The same examples in every run, so that a red suite is red for whoever runs it next; `HYPOTHESIS=explore`
# searches for new ones. No deadlines: a slow machine is no failure.
settings.register_profile(
    "same", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", settings.get_profile("same"), derandomize=False, max_examples=1000)
settings.load_profile("explore" if os.environ.get("HYPOTHESIS") == "explore" else "same")
