"""A world whose fuses are small: imports that tick whole systems, and a person who decides what waits.

What is checked here is law 9, from the world's side: against what was on the plan that the person looked at,
and against what really reached the vendors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dncsync.clock import VirtualClock, to_micros
from dncsync.ledger.sqlite import connect_reader
from dncsync.policy import BlocksFuse, ClearsFuse, FirstReadFuse, Fuses, Policies, Policy
from dncsync.sync import fuse_decisions, fuse_plan
from dncsync.sync.requests import Refused

if TYPE_CHECKING:
    from simulation.world import World

Pair = tuple[str, str]

SMALL = Policies(
    Policy(
        fuses=Fuses(
            new_blocks=BlocksFuse(count=2, percent=100, least=1000, window_seconds=300),
            first_read=FirstReadFuse(percent=60, least=4),
            clears=ClearsFuse(count=1, percent=100, least=1000, window_seconds=300),
        )
    )
)


class Approver:
    """Imports, by mistake or not; looks at plans, and decides on what was looked at, often much later."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = world._fork()
        self.looked: dict[str, tuple[str, frozenset[str]]] = {}
        """Fuse -> (SHA-256, what stood in its plan), as last looked at."""
        self.approved: set[str] = set()
        """What stood in the plans that were approved: requests, and waiting reversals."""
        self.trips = 0

    def act(self) -> None:
        """One thing of these, or nothing."""
        choice = self.rng.random()
        if choice < 0.12:
            self._mass_tick()
        elif choice < 0.35:
            self._look()
        elif choice < 0.5:
            self._decide()

    def decide_all(self) -> None:
        """Whatever still waits is looked at and approved."""
        for _ in range(20):
            self._look()
            if not self.looked:
                return
            while self.looked:
                self._decide(approve=True)

    def _mass_tick(self) -> None:
        vendor = self.rng.choice((self.world.hubspot, self.world.salesforce))
        self.world.note(f"somebody's import ticks all of {vendor.name}")
        for row in list(vendor.rows.values()):
            if not row.gone and not row.flag:
                self.world.people._ticked(vendor, row)
                vendor.person_sets(row.key, True)

    def _look(self) -> None:
        conn = connect_reader(self.world.path)
        try:
            for of in fuse_plan.fuses(conn):
                shown = fuse_plan.show(conn, of, 3)
                if shown.revision is None:
                    continue
                on_it = {
                    body.get("request") or body["id"]
                    for _, _, body in fuse_plan.lines(conn, of)
                    if _own(body)
                }
                self.looked[of.id] = (shown.revision.sha256, frozenset(on_it))
        finally:
            conn.close()

    def _decide(self, *, approve: bool | None = None) -> None:
        if not self.looked:
            return
        world = self.world
        fuse = self.rng.choice(sorted(self.looked))
        sha256, on_it = self.looked.pop(fuse)
        approve = self.rng.random() < 0.8 if approve is None else approve

        def decide() -> None:
            assert world.writer is not None
            at = to_micros(world.clock.now())
            try:
                if approve:
                    world.writer.call(lambda tx: fuse_decisions.approve(tx, at, fuse, "jane", sha256, ""))
                else:
                    world.writer.call(lambda tx: fuse_decisions.reject(tx, at, fuse, "jane", "a mistake"))
            except Refused as refused:
                world.note(f"{fuse}: {refused}")

        if approve:
            self.approved |= on_it
        while not world.mortal(decide):
            pass
        world.note(f"{fuse} is {'approved' if approve else 'rejected'} ({len(on_it)} on its plan)")
        before = dict(self._reversals())
        while not world.mortal(self._apply):
            pass
        for number, count in self._reversals().items():
            if count > before.get(number, 0):
                world.reversed_at[number] = world.clock.monotonic()
                world.note(f"the blocks of {number} are reversed, as approved")

    def _apply(self) -> None:
        world = self.world
        while True:
            assert world.writer is not None
            at = to_micros(world.clock.now())
            done = world.writer.call(
                lambda tx, at=at: fuse_decisions.apply_piece(tx, at, world.intake, most=2)
            )  # type: ignore[misc]
            if done is None:
                return

    def _reversals(self) -> dict[str, int]:
        conn = connect_reader(self.world.path)
        try:
            return dict(conn.execute("SELECT number, count(*) FROM reversals GROUP BY number").fetchall())
        finally:
            conn.close()


def _own(body: dict[str, Any]) -> bool:
    return body["kind"] in (fuse_plan.BLOCK, fuse_plan.UNBLOCK)


def spreading(conn: Any) -> set[str]:
    """Numbers with a voice block that no fuse holds."""
    rows = conn.execute(
        "SELECT number FROM blocks b WHERE channel = 'voice' AND ended_seq IS NULL AND NOT EXISTS (SELECT 1 "
        "FROM held h WHERE h.number = b.number AND h.request_id = b.request_id AND h.released_seq IS NULL)"
    )
    return {row[0] for row in rows}


def broken(world: World, approver: Approver, conn: Any) -> str | None:
    """Law 9. What is wrong, in words; None: it holds."""
    released = {row[0] for row in conn.execute("SELECT request_id FROM held WHERE released_seq NOT NULL")}
    carried_out = conn.execute("SELECT id FROM held_reversals WHERE state = 'carried-out'")
    released |= {row[0] for row in carried_out}
    if strangers := released - approver.approved:
        return f"applied, and on no plan that anybody approved: {sorted(strangers)[:3]}"
    waits = conn.execute("SELECT id FROM fuses WHERE state IN ('waiting', 'approved')").fetchall()
    if waits:
        return f"still not decided after everything was approved: {waits}"
    return _written_too_soon(world, conn)


def _written_too_soon(world: World, conn: Any) -> str | None:
    """A list entry that we set while every block of its number was held."""
    start = to_micros(VirtualClock().now())
    rows = conn.execute(
        "SELECT b.number, b.since, ifnull(b.ended_at, 1 << 62), h.event_seq IS NULL, "
        "(SELECT at FROM events WHERE seq = h.released_seq) FROM blocks b LEFT JOIN held h "
        "ON h.number = b.number AND h.request_id = b.request_id"
    ).fetchall()
    free: dict[str, list[tuple[float, float]]] = {}
    for number, since, ended, never_held, released_at in rows:
        begin = since if never_held else released_at
        if begin is not None:
            free.setdefault(number, []).append(((begin - start) / 1e6, (ended - start) / 1e6))
    for vendor in (world.dialer, world.sms):
        for at, key, flag in vendor.writes:
            number = key.rpartition("/")[2]
            if flag and not any(begin - 1e-6 <= at <= end + 60.0 for begin, end in free.get(number, ())):
                return f"{vendor.name} {key} was set at {at:.1f} while all that blocked {number} was held"
    return None
