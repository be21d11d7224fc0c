"""Every entry of every configured list, in pages, resumable (section 4.1)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dncsync.clock import Clock
from dncsync.connector import Failure, FailureKind, Page, VendorError
from dncsync.model import Holding
from dncsync_vicidial.client import VicidialClient
from dncsync_vicidial.fields import Entry, is_wildcard
from dncsync_vicidial.listing import Listing, download
from dncsync_vicidial.settings import VicidialSettings

LISTING_KEPT_FOR = 3600.0
"""Seconds during which a snapshot is resumed from the same download."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a snapshot stands; as JSON it is the cursor."""

    list: str = ""
    """The list being read; empty: the next snapshot begins."""
    digest: str = ""
    """The download that `position` belongs to; another download of the list is read from its start, because
    rows have no order that could be relied on."""
    position: int = 0
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Rows of each list at its last complete download, against short lists."""

    @property
    def cursor(self) -> str:
        return json.dumps([self.list, self.digest, self.position, dict(self.sizes)], separators=(",", ":"))

    @classmethod
    def of(cls, cursor: str | None) -> Place:
        """An unreadable cursor means from the start, which is always safe."""
        try:
            name, digest, position, sizes = json.loads(cursor or "[]")
            return cls(str(name), str(digest), max(0, int(position)), {k: int(v) for k, v in sizes.items()})
        except (ValueError, TypeError, AttributeError):
            return cls()


class Snapshots:
    """Reads the lists of one system, and remembers what makes the next reading safer."""

    def __init__(
        self,
        client: VicidialClient,
        settings: VicidialSettings,
        clock: Clock,
        *,
        holding: Callable[[Entry], Holding],
        list_fault: Callable[[str], Failure | None],
    ) -> None:
        self.wildcards: dict[str, set[str]] = {}
        """Area-code entries of each list, as last seen."""
        self._client = client
        self._settings = settings
        self._clock = clock
        self._holding = holding
        self._list_fault = list_fault
        self._kept: Listing | None = None
        self._kept_since = 0.0
        self._sizes: dict[str, int] = {}

    def pages(self, cursor: str | None) -> Iterator[Page]:
        """As `Connector.snapshot`. Raises `VendorError` for a list that is cut off, shorter than
        `largest_shrink` allows, or no list at all; then none of its rows was given."""
        place = Place.of(cursor)
        names = self._settings.lists
        first = names.index(place.list) if place.list in names else 0
        sizes = dict(place.sizes)
        for number, name in enumerate(names[first:], first):
            listing = self._listing(name, place, sizes.get(name))
            sizes[name] = listing.rows
            resumed = (place.list, place.digest) == (name, listing.digest)
            position = place.position if resumed else 0
            following = names[number + 1] if number + 1 < len(names) else ""
            done = False
            while not done:
                rows, position = listing.read(position, self._settings.page_rows)
                done = position >= listing.end
                here = Place(following, sizes=sizes) if done else Place(name, listing.digest, position, sizes)
                if done:
                    self.forget()
                more = bool(following) or not done
                yield Page(self._holdings(name, rows), here.cursor, more, listing.rows)

    def forget(self) -> None:
        """Lets go of the file of the present download."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _holdings(self, name: str, rows: Sequence[str]) -> tuple[Holding, ...]:
        """Numbers, also malformed ones (the engine quarantines them); area codes are kept apart."""
        self.wildcards.setdefault(name, set()).update(row for row in rows if is_wildcard(row))
        entries = (Entry(name, row) for row in rows if row and not is_wildcard(row))
        return tuple(self._holding(entry) for entry in entries)

    def _listing(self, name: str, place: Place, size_before: int | None) -> Listing:
        kept, now = self._kept, self._clock.monotonic()
        same = kept is not None and place.list == kept.name == name and place.digest == kept.digest
        if kept is not None and same and now - self._kept_since < LISTING_KEPT_FOR:
            return kept
        self.forget()
        if fault := self._list_fault(name):
            raise VendorError(fault)
        listing = download(self._client, name)
        before = self._sizes.get(name, size_before)
        if before is not None and self._suspiciously_short(before, listing.rows):
            listing.close()
            raise VendorError(_too_short(name, before, listing.rows))
        self._sizes[name] = listing.rows
        self._kept, self._kept_since = listing, now
        self.wildcards[name] = set()
        return listing

    def _suspiciously_short(self, before: int, now: int) -> bool:
        lost = before - now
        return lost > self._settings.smallest_loss and lost > before * self._settings.largest_shrink


def _too_short(name: str, before: int, now: int) -> Failure:
    return Failure(
        FailureKind.TRANSIENT,
        f"list {name} had {before} rows and now has {now}: not believed (a download that broke off, or a "
        "lagging replica); if it is true, set largest_shrink = 1 until one snapshot is complete",
        "short-list",
    )
