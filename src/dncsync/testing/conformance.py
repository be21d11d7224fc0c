"""The conformance kit: the same rules for every connector, ours or a third party's.

A connector's tests name its plugin, and say what the kit cannot know:

    from dncsync.testing.conformance import ConformanceSuite, Facts
    from dncsync_acme import PLUGIN

    class TestAcme(ConformanceSuite):
        plugin = PLUGIN
        facts = Facts(contacts=400)

Each check builds a fresh sandbox under a virtual clock and the real connector over it, in one process, and
looks at the sandbox's own truth afterwards. A check that the declared capabilities rule out is skipped with
that reason, as is one that `Facts.excused` names. Without pytest: `run_check(check, plugin, facts)`.
"""

from __future__ import annotations

from typing import ClassVar

import pytest

from dncsync.connector import Plugin
from dncsync.testing import (
    conformance_changes,
    conformance_drift,
    conformance_faults,
    conformance_reading,
    conformance_webhooks,
    conformance_writing,
)
from dncsync.testing.conformance_bench import Bench
from dncsync.testing.conformance_check import Check, check, run_check
from dncsync.testing.conformance_facts import Broken, Facts, NotApplicable

__all__ = [
    "CHECKS",
    "Bench",
    "Broken",
    "Check",
    "ConformanceSuite",
    "Facts",
    "NotApplicable",
    "check",
    "run_check",
]

CHECKS: tuple[Check, ...] = (
    *conformance_reading.CHECKS,
    *conformance_changes.CHECKS,
    *conformance_writing.CHECKS,
    *conformance_faults.CHECKS,
    *conformance_drift.CHECKS,
    *conformance_webhooks.CHECKS,
)
"""Every rule of the contract, in the order in which a connector's builder wants to meet them."""


class ConformanceSuite:
    """Derive from it, name `plugin`, and pytest runs every check as `test_conforms[check-name]`."""

    plugin: ClassVar[Plugin]
    facts: ClassVar[Facts] = Facts()

    @pytest.mark.parametrize("one", CHECKS, ids=[one.name for one in CHECKS])
    def test_conforms(self, one: Check) -> None:
        try:
            run_check(one, self.plugin, self.facts)
        except NotApplicable as reason:
            pytest.skip(str(reason))

    def test_excuses_name_checks(self) -> None:
        """An excuse for a check that does not exist excuses nothing."""
        assert set(self.facts.excused) <= {one.name for one in CHECKS}
