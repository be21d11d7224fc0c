"""The kit itself on trial: it passes a connector that keeps every rule, and catches each rule broken."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from conformance.toy_breaks import BREAKS
from conformance.toy_vendor import NUMBER, RECORD
from dncsync.connector import Plugin
from dncsync.testing.conformance import CHECKS, Broken, Check, Facts, NotApplicable, run_check
from dncsync.testing.sandbox import Sandbox


def sign(sandbox: Sandbox, method: str, url: str, body: bytes) -> Mapping[str, str]:
    headers: Mapping[str, str] = sandbox.sign(method, url, body)  # type: ignore[attr-defined]
    return headers


FACTS = Facts(sign=sign)
BY_NAME = {one.name: one for one in CHECKS}
CASES = [pytest.param(name, p, id=f"{name}-{i}") for name, ps in BREAKS.items() for i, p in enumerate(ps)]


@pytest.mark.parametrize("one", CHECKS, ids=[one.name for one in CHECKS])
@pytest.mark.parametrize("plugin", [RECORD, NUMBER], ids=["record", "number"])
def test_the_toy_keeps_every_rule(one: Check, plugin: Plugin) -> None:
    """Nothing is skipped: the toy has every capability and its sandbox honours every fault."""
    run_check(one, plugin, FACTS)


def test_every_check_has_a_break() -> None:
    assert set(BREAKS) == set(BY_NAME)


def test_names_are_distinct_and_say_what_they_check() -> None:
    assert len(BY_NAME) == len(CHECKS)
    assert all(one.says for one in CHECKS)


@pytest.mark.parametrize(("name", "plugin"), CASES)
def test_the_kit_catches(name: str, plugin: Plugin) -> None:
    with pytest.raises(Broken):
        run_check(BY_NAME[name], plugin, FACTS)


def test_an_excuse_is_a_reason_to_skip() -> None:
    facts = Facts(excused={"short-list-is-not-complete": "the vendor sends no total"})
    with pytest.raises(NotApplicable, match="the vendor sends no total"):
        run_check(BY_NAME["short-list-is-not-complete"], RECORD, facts)


def test_a_fault_that_the_sandbox_ignores_proves_nothing() -> None:
    from conformance.toy_sandbox import RecordSandbox
    from dncsync.testing.faults import FaultKind

    class Deaf(RecordSandbox):
        def _shown(self, row, flags):  # type: ignore[no-untyped-def]
            return {"key": row.key, "numbers": row.numbers, "version": 1, "at": row.modified, **row.flags}

        def _lost_fields(self) -> set[str]:
            return set()

    facts = Facts(sign=sign)
    plugin = Plugin("toy", RECORD.settings, RECORD.connect, lambda: Deaf)
    with pytest.raises(NotApplicable, match=f"no fault {FaultKind.HIDDEN_FIELD}"):
        run_check(BY_NAME["a-hidden-field-is-not-clear"], plugin, facts)
