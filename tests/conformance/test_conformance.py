"""Every installed connector runs the conformance kit.

A connector's own suites stand beside its other tests, in `tests/integration/VENDOR/test_conformance.py`,
because its facts and excuses are its own; here is seen that they exist and that they excuse little.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from dncsync.connector import plugin, plugins
from dncsync.testing.conformance import CHECKS, ConformanceSuite

INTEGRATION = Path(__file__).resolve().parents[1] / "integration"
NEVER_EXCUSED = frozenset(
    {
        "settings-keep-secrets",
        "connecting-calls-nobody",
        "budget-is-declared",
        "probe-is-well",
        "describe-is-well",
        "write-sets",
        "write-twice-is-success",
        "write-leaves-others-alone",
        "a-write-that-may-have-landed-is-unknown",
        "a-read-in-bad-weather-tells-no-lies",
        "no-blind-retry-of-writes",
        "failures-name-nobody",
        "read-tells-the-truth",
        "a-change-is-seen",
        "polls-killed-between-pages-lose-nothing",
        "broken-off-listing-is-not-complete",
        *(one.name for one in CHECKS if one.name.startswith("write-under-")),
    }
)
"""The laws themselves: no vendor is so odd that its connector may lie about them."""


def suites(vendor: str) -> list[type[ConformanceSuite]]:
    """The suites in a connector's own tests."""
    path = INTEGRATION / vendor / "test_conformance.py"
    if not path.is_file():
        return []
    spec = importlib.util.spec_from_file_location(f"_{vendor}_conformance", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, ConformanceSuite) and value is not ConformanceSuite
    ]


@pytest.mark.parametrize("vendor", sorted(plugins()))
def test_every_installed_connector_runs_the_kit(vendor: str) -> None:
    own = suites(vendor)
    assert own, f"tests/integration/{vendor}/test_conformance.py has no ConformanceSuite"
    assert all(suite.plugin is plugin(vendor) for suite in own)
    assert all(suite.__name__.startswith("Test") for suite in own), "pytest collects classes named Test..."


@pytest.mark.parametrize("vendor", sorted(plugins()))
def test_the_laws_are_excused_nowhere(vendor: str) -> None:
    for suite in suites(vendor):
        assert not NEVER_EXCUSED & set(suite.facts.excused)


@pytest.mark.parametrize("vendor", sorted(plugins()))
def test_each_check_is_excused_with_a_sentence_or_runs(vendor: str) -> None:
    for suite in suites(vendor):
        assert all(len(reason.split()) >= 5 for reason in suite.facts.excused.values())
        assert suite.test_conforms is ConformanceSuite.test_conforms


def test_what_is_never_excused_exists() -> None:
    assert {one.name for one in CHECKS} >= NEVER_EXCUSED
