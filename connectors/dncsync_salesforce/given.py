"""Which rows of the change feed our caller already has, so that an overlap read again costs it nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from dncsync_salesforce.fields import Row

REMEMBERED = 20_000
"""Rows remembered; what exceeds them may be given twice."""

Mark = tuple[str, int]
"""A row's stamp to the second, and a fingerprint of its columns: two changes in one second share a stamp."""


def mark_of(row: Row) -> Mark:
    """What tells this state of a row from another."""
    values = tuple(value for name, value in row.items() if name != "attributes")
    try:
        return str(row.get("SystemModstamp"))[:19], hash(values)
    except TypeError:  # something nested where a plain value should be
        return str(row.get("SystemModstamp"))[:19], hash(repr(values))


class Given:
    """A row counts as given once the cursor of its page comes back: only then is it committed (law 1)."""

    def __init__(self) -> None:
        self._rows: OrderedDict[str, Mark] = OrderedDict()
        self._waiting: list[tuple[str, Mapping[str, Mark]]] = []
        self._last = ""

    def resume(self, cursor: str) -> None:
        """The caller has everything up to this cursor. One that it cannot have from us now, after a restart
        or a rollback, empties the memory."""
        texts = [text for text, _ in self._waiting]
        if cursor in texts:
            for _, rows in self._waiting[: texts.index(cursor) + 1]:
                self._rows.update(rows)
        elif cursor != self._last:
            self._rows.clear()
        self._waiting, self._last = [], cursor
        while len(self._rows) > REMEMBERED:
            self._rows.popitem(last=False)

    def hand_out(self, cursor: str, rows: Mapping[str, Mark]) -> None:
        """These rows, by record id, go out with that cursor."""
        self._waiting.append((cursor, rows))

    def has(self, record_id: str, mark: Mark) -> bool:
        """Whether the caller has this row in this state."""
        return self._rows.get(record_id) == mark

    def forget_before(self, id_prefix: str, stamp: str) -> None:
        """Rows of one kind behind its mark do not come again."""
        for record_id in [
            r for r, (at, _) in self._rows.items() if r.startswith(id_prefix) and at < stamp[:19]
        ]:
            del self._rows[record_id]
