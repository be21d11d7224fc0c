"""What ends, and when: dates that vendors published, kept in each connector's `manifest.toml`, and what their
answers announce in `Sunset`, `Deprecation` and `Warning` headers.

    [[endings]]
    what = "v3 API paths get no fixes any more"
    date = 2027-09-30            # the last day
    source = "section 1.2"       # of the connector's fact sheet
    mend = 'set api = "2026-03"'
    when = { api = ["v3"] }      # only for systems with such a setting; left out: for all
"""

from __future__ import annotations

import email.utils
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from importlib.resources import files
from typing import Any

from dncsync.clock import from_micros
from dncsync.connector import plugins
from dncsync.drift.sighting import Sighting, settle
from dncsync.ledger.writer import Tx
from dncsync.numbers import mask_text
from dncsync.sync import findings

DAYS: Sequence[tuple[int, str]] = ((7, "page"), (30, "warning"), (90, "warning"), (180, "info"))
"""Days before an ending, nearest first, and how loudly it is said from then on."""
KEPT = 86_400.0
"""Seconds after which an announcement that no answer repeats is over."""
MOST = 50
"""Different announcements of one system that are kept."""


@dataclass(frozen=True, slots=True)
class Ending:
    """One thing that a vendor will take away."""

    vendor: str
    what: str
    on: date
    """The last day."""
    source: str
    mend: str
    when: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Setting -> values that it applies to; empty: to every system of the vendor."""

    def concerns(self, settings: Any) -> bool:
        """Whether a system with these settings is hit."""
        return all(str(getattr(settings, name, "")) in values for name, values in self.when.items())


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the calendar."""

    on: date
    system: str
    """A configured system, or the vendor where none is configured."""
    vendor: str
    what: str
    days: int
    """Left; negative: since then."""
    source: str
    mend: str


def declared(vendor: str) -> tuple[Ending, ...]:
    """The endings in a connector's manifest; none where it has no manifest. Raises `ValueError` for one that
    cannot be read, `KeyError` for a vendor that is not installed."""
    package = plugins()[vendor].module.partition(".")[0]
    manifest = files(package) / "manifest.toml"
    if not manifest.is_file():
        return ()
    return tuple(
        _read(vendor, table) for table in tomllib.loads(manifest.read_text("utf-8")).get("endings", [])
    )


def _read(vendor: str, table: Mapping[str, Any]) -> Ending:
    on = table.get("date")
    missing = [key for key in ("what", "source", "mend") if not isinstance(table.get(key), str)]
    if missing or not isinstance(on, date):
        raise ValueError(f"manifest of {vendor}: an ending needs what, source, mend and a date")
    when = {name: tuple(map(str, values)) for name, values in table.get("when", {}).items()}
    return Ending(vendor, table["what"], on, table["source"], table["mend"], when)


def calendar(systems: Mapping[str, Any], today: date, *, endings: Iterable[Ending]) -> list[Entry]:
    """What ends when for these systems (name -> settings), soonest first. Without any system, every ending is
    listed under its vendor's name."""
    entries = []
    for ending in endings:
        hit = [n for n, s in systems.items() if s.vendor == ending.vendor and ending.concerns(s)]
        if not systems:
            hit = [ending.vendor]
        entries += [
            Entry(
                ending.on,
                name,
                ending.vendor,
                ending.what,
                (ending.on - today).days,
                ending.source,
                ending.mend,
            )
            for name in hit
        ]
    return sorted(entries, key=lambda entry: (entry.on, entry.system, entry.what))


def sightings(entries: Iterable[Entry]) -> list[Sighting]:
    """One for each ending within 180 days; its words change when 90, 30 and 7 days are left."""
    found = []
    for entry in entries:
        urgency = _urgency(entry.days)
        if urgency is None:
            continue
        words, severity = urgency
        found.append(
            Sighting(
                "ending-announced",
                entry.system,
                f"{entry.what} ({entry.on})",
                f"{entry.system}: {entry.what}: {entry.on}, {words}",
                "an interface that stays",
                f"{entry.on}: {words}",
                f"{entry.mend} (source: {entry.source})",
                severity=severity,
            )
        )
    return found


def _urgency(days: int) -> tuple[str, str] | None:
    if days < 0:
        return "over", "page"
    return next(((f"within {most} days", severity) for most, severity in DAYS if days <= most), None)


def check(tx: Tx, at: int, systems: Mapping[str, Any], endings: Iterable[Ending]) -> None:
    """Brings the findings about published dates up to date; for a daily job. `systems`: name -> settings."""
    entries = calendar(systems, from_micros(at).date(), endings=tuple(endings))
    seen = sightings(entries)
    for name in systems:
        mine = [sighting for sighting in seen if sighting.system == name]
        settle(tx, at, name, (), mine, "")
        keep = {sighting.subject for sighting in mine}
        _close_others(tx, at, name, keep, "it does not concern this system any more", announced=False)


# --- what answers announce --------------------------------------------------------------------------------

_PREFIX = "header "


class Announced:
    """The notices that one system's answers carry. Not thread-safe."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], float] = {}

    def note(self, notices: Mapping[str, str], now: float) -> None:
        """Headers of one answer. `now`: seconds, monotonic."""
        for name, value in notices.items():
            place = (name, value)
            if place in self._last or len(self._last) < MOST:
                self._last[place] = now

    def settle(self, tx: Tx, at: int, system: str, now: float, since: float) -> None:
        """One finding for each different announcement; closed when a day's answers did not repeat it.
        `since`: when watching began (monotonic)."""
        for place in [place for place, seen in self._last.items() if now - seen > KEPT]:
            del self._last[place]
        today = from_micros(at).date()
        mine = [_announcement(system, name, value, today) for name, value in self._last]
        settle(tx, at, system, (), mine, "")
        if now - since >= KEPT:
            keep = {sighting.subject for sighting in mine}
            _close_others(tx, at, system, keep, "answers of a day did not say so any more", announced=True)


def _announcement(system: str, name: str, value: str, today: date) -> Sighting:
    on = _date_in(name, value)
    said = mask_text(" ".join(value.split()))[:200]
    urgency = _urgency((on - today).days) if on is not None and name == "sunset" else ("", "warning")
    words, severity = urgency or ("in more than 180 days", "info")
    subject = f"{_PREFIX}{name}: {on or said[:80]}"
    seen = f"{name}: {said}" + (f" ({words})" if words else "")
    return Sighting(
        "ending-announced",
        system,
        subject,
        f"{system} announces in its answers that an interface ends: {seen}",
        "answers without such a notice",
        seen,
        "read the vendor's changelog, and raise the API version in the configuration or the connector",
        severity=severity,
    )


def _date_in(name: str, value: str) -> date | None:
    """The day in a `Sunset` (RFC 8594) or `Deprecation` (RFC 9745: `@epoch`; drafts: a date) header."""
    if name == "deprecation" and (epoch := re.fullmatch(r"@(\d{1,11})", value.strip())):
        return datetime.fromtimestamp(int(epoch[1]), UTC).date()
    try:
        return email.utils.parsedate_to_datetime(value).date()
    except (ValueError, TypeError, OverflowError):
        return None


def announced(conn: Any) -> list[dict[str, str]]:
    """What a ledger's open findings say that answers announced: `system` and `summary` of each.

    `conn`: a connection that reads the ledger.
    """
    rows = conn.execute(
        "SELECT system, summary FROM findings WHERE kind = 'ending-announced' AND closed_at IS NULL "
        "AND substr(subject, 1, ?) = ? ORDER BY id",
        (len(_PREFIX), _PREFIX),
    )
    return [{"system": system, "summary": summary} for system, summary in rows]


def _close_others(tx: Tx, at: int, system: str, keep: set[str], by: str, *, announced: bool) -> None:
    rows = tx.execute(
        "SELECT subject FROM findings WHERE kind = 'ending-announced' AND system = ? AND closed_at IS NULL",
        (system,),
    ).fetchall()
    for (subject,) in rows:
        if subject.startswith(_PREFIX) is announced and subject not in keep:
            findings.close_finding(tx, at, "ending-announced", system, subject, by)
