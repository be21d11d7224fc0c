"""What befalls a world: misfortunes of vendors, deaths of the daemon, and people doing what people do."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from dncsync.clock import to_micros
from dncsync.ledger.sqlite import connect_reader
from dncsync.model import Channel
from dncsync.sync.requests import Refused, Reversal
from simulation.vendors import Crm, Row, Vendor

if TYPE_CHECKING:
    from simulation.world import World


class People:
    """Chooses, by the world's seed, who does what next."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = world.rng
        self._messages = 0

    def populate(self) -> None:
        """What vendors hold before the daemon ever ran."""
        for vendor in (self.world.hubspot, self.world.salesforce):
            for i in range(self.rng.randint(2, 14)):
                row = Row(str(100 + i), self.rng.sample(self.world.numbers, self.rng.choice((0, 1, 1, 1, 2))))
                if self.rng.random() < 0.15:
                    row.numbers.append(self.rng.choice(("N/A", "555-0100 x12", "0000000000")))
                vendor.rows[row.key] = row
                if self.rng.random() < 0.1:
                    vendor._set(row.key, True, by="person")
                    self._ticked(vendor, row)
        for number in self.world.numbers:
            if self.rng.random() < 0.1:
                self.world.dialer._set(f"LIST/{number}", True, by="person")
                self._asked([number])

    def _asked(self, numbers: list[str]) -> None:
        for number in numbers:
            if number in self.world.numbers:
                self.world.last_set[number] = self.world.clock.monotonic()

    def _ticked(self, vendor: Vendor, row: Row) -> None:
        """A box went from empty to ticked by a person's hand: from now on it must not be lost."""
        self._asked(row.numbers)
        self.world.ticked[vendor.name, row.key] = self.world.clock.monotonic()

    def misfortune(self) -> None:
        vendor = self.rng.choice(self.world.vendors)
        trouble = vendor.trouble
        trouble.calm()
        for name in (
            "refuse",
            "timeout_before",
            "timeout_after",
            "lose_item",
            "drop_write",
            "reject_item",
            "rate_limit",
            "lose_hook",
            "double_hook",
        ):
            if self.rng.random() < 0.3:
                setattr(trouble, name, self.rng.choice((0.1, 0.3, 0.6)))
        if self.rng.random() < 0.1:
            trouble.down_until = self.world.clock.monotonic() + self.rng.uniform(10, 900)
        if self.rng.random() < 0.3:
            self.world.kill.left = self.rng.randint(1, 120)

    def act(self) -> None:
        choice = self.rng.choice(
            (
                self._stop,
                self._stop,
                self._tick,
                self._tick,
                self._untick,
                self._disposition,
                self._edit,
                self._create,
                self._merge,
                self._delete,
                self._reverse,
                self._start_text,
                self._change_of_heart,
                self._unheard_stop,
            )
        )
        choice()

    def _stop(self) -> None:
        number = self.rng.choice(self.world.numbers)
        words = self.rng.choice(("STOP", "STOP", "please stop texting me", "leave me alone"))
        self._text(number, words)
        self._asked([number])

    def _start_text(self) -> None:
        self._text(self.rng.choice(self.world.numbers), "START")

    def _text(self, number: str, words: str) -> None:
        self._messages += 1
        scope = self.rng.choice(("MG1", "MG2"))
        self.world.note(f"{number} texts {words!r} to {scope}")
        self.world.sms.text(f"SM{self._messages}", number, words, scope)

    def _record(self) -> tuple[Crm, Row] | None:
        vendor = self.rng.choice((self.world.hubspot, self.world.salesforce))
        rows = [row for row in vendor.rows.values() if not row.gone]
        return (vendor, self.rng.choice(rows)) if rows else None

    def _tick(self) -> None:
        if found := self._record():
            vendor, row = found
            self.world.note(f"somebody ticks {vendor.name} {row.key} {row.numbers} (was {row.flag})")
            if not row.flag:
                self._ticked(vendor, row)
            vendor.person_sets(row.key, True)

    def _untick(self) -> None:
        if found := self._record():
            vendor, row = found
            self.world.note(f"somebody unticks {vendor.name} {row.key}")
            self.world.ticked.pop((vendor.name, row.key), None)
            vendor.person_sets(row.key, False)

    def _disposition(self) -> None:
        number = self.rng.choice(self.world.numbers)
        key = f"LIST/{number}"
        row = self.world.dialer.rows.get(key)
        if row is not None and row.flag and self.rng.random() < 0.5:
            self.world.note(f"somebody deletes {key} from the dialer")
            self.world.dialer.person_sets(key, False)
            return
        self.world.note(f"an agent dispositions {number}")
        if row is None or not row.flag:
            self._asked([number])
        self.world.dialer.person_sets(key, True)

    def _edit(self) -> None:
        if found := self._record():
            vendor, row = found
            vendor._touch(row)
            row.numbers = self.rng.sample(self.world.numbers, self.rng.choice((1, 1, 2)))
            if row.flag:
                self._asked(row.numbers)
            self.world.note(f"{vendor.name} {row.key} now has {row.numbers}")

    def _create(self) -> None:
        vendor = self.rng.choice((self.world.hubspot, self.world.salesforce))
        key = str(100 + len(vendor.rows))
        row = Row(key, self.rng.sample(self.world.numbers, 1))
        vendor.rows[key] = row
        if self.rng.random() < 0.2:
            vendor._set(key, True, by="person")
            self._ticked(vendor, row)
        vendor._touch(row)
        row.shown = (tuple(row.numbers), row.flag, row.revision)
        self.world.note(f"{vendor.name} {key} is created with {row.numbers}, flag {row.flag}")

    def _merge(self) -> None:
        vendor = self.rng.choice((self.world.hubspot, self.world.salesforce))
        rows = [row for row in vendor.rows.values() if not row.gone]
        if len(rows) > 3:
            loser, winner = self.rng.sample(rows, 2)
            if winner.flag:
                self._asked(loser.numbers)
            self.world.note(f"{vendor.name} merges {loser.key} into {winner.key}")
            for key in (loser.key, winner.key):
                self.world.ticked.pop((vendor.name, key), None)
            vendor.merge(loser.key, winner.key)

    def _delete(self) -> None:
        if (found := self._record()) and self.rng.random() < 0.3:
            vendor, row = found
            vendor._touch(row)
            row.gone = True
            self.world.ticked.pop((vendor.name, row.key), None)
            self.world.note(f"{vendor.name} {row.key} is deleted")

    def _unheard_stop(self) -> None:
        """A message whose webhook is lost, and a daemon that may die while it finds it in the log."""
        self.world.sms.trouble.lose_hook = 1.0
        self._stop()
        self.world.loops["sms"].poll_soon()
        self.world.wanted["sms"] = self.world.clock.monotonic()
        self.world.kill.left = self.rng.randint(1, 12)

    def _change_of_heart(self) -> None:
        """A reversal, and before it reaches the record somebody takes the box away and ticks it again."""
        found = self._record()
        if not found or not found[0].marks_revision or not found[1].flag or not found[1].numbers:
            return
        vendor, row = found
        vendor.trouble.down_until = self.world.clock.monotonic() + 20.0
        for number in row.numbers:
            if number in self.world.numbers:
                self._reverse(number)
        self.world.let_pass(1.0)
        self.world.note(f"somebody unticks and ticks {vendor.name} {row.key} again")
        if row.gone:
            return
        vendor.person_sets(row.key, False)
        self._ticked(vendor, row)
        vendor.person_sets(row.key, True)

    def _reverse(self, number: str | None = None) -> None:
        number = number or self.rng.choice(self.world.numbers)
        signed = self.world.clock.now().isoformat()
        channels = (Channel.VOICE, Channel.SMS)
        reversal = Reversal(number, channels, "admin", "asked", "written", "form.pdf", "0" * 64, signed)

        def reverse() -> None:
            assert self.world.writer is not None
            at = to_micros(self.world.clock.now())
            with contextlib.suppress(Refused):
                self.world.writer.call(lambda tx: self.world.intake.reverse(tx, at, reversal))

        before = self._reversals(number)
        while not self.world.mortal(reverse):
            pass  # it may have died on either side of the commit, or again
        if self._reversals(number) > before:
            self.world.reversed_at[number] = self.world.clock.monotonic()
            self.world.note(f"the blocks of {number} are reversed")

    def _reversals(self, number: str) -> int:
        """What the ledger knows: a daemon that died may have committed before."""
        conn = connect_reader(self.world.path)
        try:
            sql = "SELECT count(*) FROM reversals WHERE number = ?"
            return int(conn.execute(sql, (number,)).fetchone()[0])
        finally:
            conn.close()
