"""A check of the conformance kit: one rule of the contract, and how it is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dncsync.connector import Plugin, VendorError
from dncsync.testing.conformance_bench import Bench
from dncsync.testing.conformance_facts import Broken, Facts, NotApplicable


@dataclass(frozen=True, slots=True)
class Check:
    """One rule of the contract, tried on a fresh bench."""

    name: str
    says: str
    needs: tuple[str, ...]
    """Names of capabilities without which the rule says nothing."""
    run: Callable[[Bench], None]


def check(*needs: str) -> Callable[[Callable[[Bench], None]], Check]:
    """Makes a function a `Check`: its name with dashes, its docstring as what it says."""

    def make(function: Callable[[Bench], None]) -> Check:
        says = " ".join((function.__doc__ or "").split())
        return Check(function.__name__.replace("_", "-"), says, needs, function)

    return make


def run_check(one: Check, plugin: Plugin, facts: Facts) -> None:
    """Runs one check on a fresh bench. Raises `Broken`, or `NotApplicable` with the reason."""
    if reason := facts.excused.get(one.name):
        raise NotApplicable(reason)
    bench = Bench(plugin, facts)
    try:
        for need in one.needs:
            if not getattr(bench.capabilities, need):
                raise NotApplicable(f"the connector declares {need}=False")
        one.run(bench)
    except VendorError as error:
        raise Broken(f"unexpected failure: {error}") from error
    finally:
        bench.close()
