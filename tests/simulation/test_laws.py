"""Laws 1 to 9 in 500 seeded worlds, a determinism check, and a few mutants that must not get away."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from simulation import mutants
from simulation.world import LawBroken, World, simulate, world

SEEDS, CHUNK = 500, 20


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("first", range(1, SEEDS, CHUNK))
def test_every_law_holds_in_every_world(first: int) -> None:
    for seed in range(first, first + CHUNK):
        try:
            simulate(seed)
        except LawBroken as broken:
            story = "\n".join(broken.trace[-40:])
            pytest.fail(f"seed {seed}: {broken}\nreplay: make simulate SEEDS=1 FIRST={seed}\n{story}")


def test_a_seed_replays_to_the_same_ledger() -> None:
    def fingerprint() -> str:
        with world(7) as made:
            made.run()
            return made.fingerprint()

    assert fingerprint() == fingerprint()


def test_the_worlds_are_not_quiet_ones() -> None:
    """What the laws are checked on must really happen: deaths, writes, verified deliveries."""
    made: World = simulate(3)
    assert made.deaths > 3
    assert sum(len(vendor.writes) for vendor in made.vendors) > 20
    assert sum(len(vendor.readings) for vendor in made.vendors) > 20


@pytest.mark.parametrize(
    "mutation",
    [
        mutants.verified_when_accepted,
        mutants.clear_without_a_reversal,
        mutants.echo_believed,
        mutants.held_spreads_anyway,
    ],
    ids=lambda mutation: mutation.__name__,
)
def test_a_planted_fault_is_caught(mutation: mutants.Mutation) -> None:
    """A share of `make mutants`, so that a simulation gone blind is noticed at once."""
    assert mutants.hunt(mutation, iter(range(10))) is not None
