"""The patrol: detectors keep neither each other nor anybody's webhook waiting."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest

from dncsync.clock import SystemClock
from dncsync.drift.ledger_detector import Seen
from dncsync.drift.patrol import Patrol
from dncsync.drift.sighting import Blind, Sighting
from dncsync.ledger.sqlite import Connection
from dncsync.ledger.writer import Tx
from dncsync.sync.topology import SystemFacts
from integration.drift.patrols import patrol
from integration.sync.vendors import ANN, SET
from integration.sync.world import World


class Told:
    """Sees what it was told to see."""

    kinds: Sequence[str] = ("odd",)
    healed = "even again"
    every = 0.0

    def __init__(self) -> None:
        self.odd = True
        self.looked = 0

    def look(self, conn: Connection, at: int, facts: SystemFacts) -> Seen:
        self.looked += 1
        if facts.name != "crm" or not self.odd:
            return Seen()
        return Seen([Sighting("odd", "crm", "x", "it is odd", "even", "odd", "wait")])


class Failing(Told):
    kinds = ("failing",)

    def look(self, conn: Connection, at: int, facts: SystemFacts) -> Seen:
        raise ZeroDivisionError


class Blindfolded(Told):
    def look(self, conn: Connection, at: int, facts: SystemFacts) -> Seen:
        raise Blind("no light")


class Endless(Told):
    kinds = ("endless",)

    def look(self, conn: Connection, at: int, facts: SystemFacts) -> Seen:
        conn.execute(
            "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
        ).fetchone()
        return Seen()


def test_a_failing_detector_keeps_no_other_from_its_work(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        patrol(world, Failing(), Told()).run()
    assert world.findings("odd")
    assert "a detector failed" in caplog.text


def test_one_that_does_not_come_to_an_end_is_interrupted(world: World) -> None:
    assert world.writer is not None
    watch = Patrol(
        world.path, world.writer, world.topology, SystemClock(), watchers=[Endless(), Told()], patience=0.05
    )
    watch.run()
    assert world.findings("odd")


def test_what_is_not_seen_any_more_heals(world: World) -> None:
    told = Told()
    watch = patrol(world, told)
    watch.run()
    told.odd = False
    watch.run()
    assert world.findings("odd") == []
    assert world.query("SELECT closed_by FROM findings WHERE kind = 'odd'") == [("even again",)]


def test_one_that_cannot_look_concludes_nothing(world: World) -> None:
    patrol(world, Told()).run()
    patrol(world, Blindfolded()).run()
    assert world.findings("odd")


def test_a_patrol_that_has_nothing_new_to_say_writes_nothing(world: World) -> None:
    world.crm.put("r1", ANN, voice=SET)
    world.settle()
    watch = patrol(world)
    watch.run()
    before = world.events()
    for _ in range(3):
        watch.run()
    told = patrol(world, Told())
    told.run()
    told.run()
    assert world.events() == before + 1


def test_nothing_is_read_while_the_writer_waits(world: World) -> None:
    """Detectors look before the transaction: one that is slow would keep webhooks waiting."""
    assert world.writer is not None
    inside: list[bool] = []
    busy = False

    class Watching(Told):
        def look(self, conn: Connection, at: int, facts: SystemFacts) -> Seen:
            inside.append(busy)
            return super().look(conn, at, facts)

    class Noting(type(world.writer)):  # type: ignore[misc]
        def __init__(self, inner: object) -> None:
            self._inner = inner

        def submit(self, fn: object) -> object:
            def noted(tx: Tx) -> object:
                nonlocal busy
                busy = True
                try:
                    return fn(tx)  # type: ignore[operator]
                finally:
                    busy = False

            return self._inner.submit(noted)  # type: ignore[attr-defined]

        def close(self) -> None:
            pass

    Patrol(world.path, Noting(world.writer), world.topology, world.clock, watchers=[Watching()]).run()
    assert inside
    assert not any(inside)


def test_detectors_that_read_everything_run_once_a_day(world: World) -> None:
    class Daily(Told):
        every = 86_400.0

    daily, often = Daily(), Told()
    watch = patrol(world, daily, often)
    for _ in range(48):
        watch.run()
        world.clock.advance(3600)
    assert daily.looked == 2 * len(world.topology)
    assert often.looked == 48 * len(world.topology)


def test_a_patrol_that_was_stopped_looks_no_more(world: World) -> None:
    told = Told()
    watch = patrol(world, told)
    watch.stop()
    watch.run()
    assert told.looked == 0
