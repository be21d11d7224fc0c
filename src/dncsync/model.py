"""The words of the house (design section 1) as small frozen values. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Channel(StrEnum):
    """How a consumer can be reached."""

    VOICE = "voice"
    SMS = "sms"


class Flag(StrEnum):
    """What a holding says about one channel."""

    SET = "set"
    """Do not contact."""
    CLEAR = "clear"
    """No block is held: an unticked box, an empty field, no row in the list."""
    ABSENT = "absent"
    """The field itself is not there. That is drift, never 'clear'."""


class Role(StrEnum):
    """The kind of a system; decides its internal goal (regulation REV-05, policy `sla_seconds`)."""

    CRM = "crm"
    DIALER = "dialer"
    SMS = "sms"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who set a flag, as far as the vendor tells. Vendor times are evidence, never an order (law 7)."""

    actor: str = ""
    """The vendor's words for who did it, e.g. `userId:123`."""
    source: str = ""
    """The vendor's words for how, e.g. `CRM_UI`, `IMPORT`."""
    at: datetime | None = None
    """When, by the vendor's clock (UTC)."""
    ours: bool | None = None
    """True: our own integration user wrote it. None: the vendor does not say."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What a system holds about one key: a CRM record (several numbers) or a list entry (one number)."""

    key: str
    """The vendor's key: a record id, or `LIST/number` for a list entry."""
    flags: Mapping[Channel, Flag]
    """One entry per channel that the system knows."""
    numbers: tuple[str, ...] = ()
    """Phone values as received, in the vendor's field order, empty ones left out."""
    revision: str = ""
    """An opaque mark that changes when somebody writes the flag again. Compared for equality only. A vendor
    with two flags on one holding gives `revisions` too: a joint mark moves for both when one is written."""
    provenance: Mapping[Channel, Provenance] = field(default_factory=dict)
    gone: bool = False
    """Deleted, archived, or not found. Never a reason to clear anything."""
    became: str | None = None
    """The key that this record was merged or converted into."""
    reason: str | None = None
    """What people wrote about why a flag was taken away, in the field that the system is configured to have
    for it; None: it was not read. It counts only where policy names the system as an authority for
    reversals, and in a reading by key."""
    revisions: Mapping[Channel, str] = field(default_factory=dict)
    """A mark of its own for each flag, where the vendor has such; it is used instead of `revision`."""


class OptOutKind(StrEnum):
    """How an inbound text reads (regulation section 11)."""

    CONCLUSIVE = "conclusive"
    PHRASE = "phrase"
    AMBIGUOUS = "ambiguous"
    START = "start"
    HELP = "help"
    NOT = "not"


class Stamp(StrEnum):
    """The four stamps of a delivery."""

    KNOWN = "known"
    SENT = "sent"
    ACCEPTED = "accepted"
    VERIFIED = "verified"


class ProofLevel(StrEnum):
    """What may be claimed of a delivery (law 4). Values are the words that every report uses."""

    VERIFIED = "verified"
    ACCEPTED = "accepted, cannot be read"
    UNCONFIRMED = "not confirmed"
