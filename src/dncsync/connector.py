"""The connector contract (design section 5): all that a connector and the engine know of each other.

A connector depends on this module, the model, the HTTP door and the sandbox kit; never on the ledger or
the loops. Operations are synchronous and are called by one loop at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from dncsync.clock import Clock
from dncsync.model import Channel, Flag, Holding, Role

if TYPE_CHECKING:
    from dncsync.http import HttpDoor
    from dncsync.testing.sandbox import Sandbox


# --- failures: values, not surprises ---------------------------------------------------------------


class FailureKind(StrEnum):
    """What the caller should do about a failure."""

    TRANSIENT = "transient"
    """Nothing happened there; try again later."""
    RATE_LIMITED = "rate-limited"
    """Nothing happened there; not before `retry_after`."""
    UNAUTHORISED = "unauthorised"
    """Credentials or permissions; a person must mend it."""
    REJECTED = "rejected"
    """Final for this item, with the vendor's words."""
    UNKNOWN = "unknown"
    """It may or may not have happened: a timeout, a reset, an unreadable answer. Settled by reading."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an item or a call failed. `message` is safe to show: no numbers, no secrets."""

    kind: FailureKind
    message: str
    code: str = ""
    """The vendor's own code, e.g. `21610`, `INVALID_FIELD`."""
    retry_after: float | None = None
    """Seconds to wait, where the vendor says."""


class VendorError(Exception):
    """A whole call failed; nothing is known of single items beyond `failure`."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.kind}: {failure.message}")
        self.failure = failure


# --- what a connector declares ----------------------------------------------------------------------


class Unit(StrEnum):
    """What a system's holdings are keyed by."""

    RECORD = "record"
    """CRM records; we write onto those that exist and never create one."""
    NUMBER = "number"
    """List entries; a blocked number gets one on every list that the connector names."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A published limit: at most `calls` in any window of `seconds`."""

    name: str
    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the vendor can do; the engine obeys."""

    unit: Unit
    role: Role
    channels: frozenset[Channel]
    can_clear: bool = True
    """False: a reversal is never written here (e.g. Twilio, where only the consumer's START counts)."""
    can_read: bool = True
    """False: deliveries end at `accepted` (law 4)."""
    can_list: bool = True
    """`snapshot()` yields every holding."""
    can_poll: bool = True
    """`changes()` yields what changed."""
    has_webhooks: bool = False
    write_batch: int = 100
    read_batch: int = 100
    poll_every: float = 10.0
    """Seconds between polls when nothing is known to be waiting."""
    read_after: float = 0.0
    """Seconds after an accepted write before a read-back means anything."""
    limits: tuple[Limit, ...] = ()


# --- what passes between connector and engine -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """Make one holding say this. Writing what is already there is a success."""

    key: str
    wants: Mapping[Channel, Flag]
    request_id: str = ""
    """Sent along as evidence where the vendor has a place for it; never name, reason or words (INT-05)."""
    source: str = ""
    requested_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """The result of one `Change`."""

    key: str
    failure: Failure | None = None
    ref: str = ""
    """The vendor's trace of the write: correlation id, response line."""


@dataclass(frozen=True, slots=True)
class Looked:
    """The result of reading one key. A key that is not there is a `Holding` with `gone=True`, no failure."""

    key: str
    holding: Holding | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some holdings, and where to go on after they are committed."""

    holdings: tuple[Holding, ...]
    cursor: str
    """Opaque; give it back to go on after this page, also after a restart."""
    more: bool
    """False: for `snapshot`, everything was read; for `changes`, all that is known so far was read."""
    total: int | None = None
    """For progress, where the vendor says."""
    statements: tuple[Statement, ...] = ()
    """What people said, found while reading (inbound messages after an outage)."""
    fresh: bool = False
    """True: each holding was read by its key, for this page, from what does not lag; it is believed as `read`
    is. False: what differs from what is known is only a hint, and is read again."""


@dataclass(frozen=True, slots=True)
class Look:
    """A hint: something may have changed under this key. It is answered by reading."""

    key: str


class Says(StrEnum):
    """The vendor's own reading of an inbound message, where it gives one."""

    STOP = "stop"
    START = "start"
    HELP = "help"


@dataclass(frozen=True, slots=True)
class Statement:
    """What a person said, brought by a vendor: an inbound text, a disposition, a key press."""

    ref: str
    """The vendor's id of the message or call; one statement is recorded once."""
    number: str
    """As received."""
    channel: Channel
    at: datetime
    """When it was said, by the vendor's clock, else when it arrived (UTC)."""
    text: str = ""
    """The words; personal data, erasable."""
    says: Says | None = None
    scope: str = ""
    """The programme it was said to: a messaging service, a campaign. Part of the keys of that programme."""
    source: str = ""
    """How it came, e.g. `sms-inbound`, `21610`."""
    evidence_only: bool = False
    """Recorded beside the number, but no request by itself (e.g. a 21610 whose cause is not known)."""


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """A vendor's call, as it arrived."""

    method: str
    url: str
    """The public URL as the vendor called it, with query."""
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Webhook:
    """An authentic webhook: what to record before `answer` is sent (law 1)."""

    signals: tuple[Look | Statement, ...]
    nonce: str = ""
    """The same nonce is taken once (replay)."""
    answer_type: str = "text/plain"
    answer: bytes = b""


class WebhookRefused(Exception):
    """Not authentic, stale or malformed: 4xx, one line, nothing recorded."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class FieldStatus(StrEnum):
    """How a field of the contract stands today."""

    OK = "ok"
    MISSING = "missing"
    HIDDEN = "hidden"
    """It exists, and we may not see it."""
    READ_ONLY = "read-only"
    CHANGED = "changed"
    """Other type or options than needed."""
    RENAMED = "renamed"
    """Gone, and a likely successor was seen."""


@dataclass(frozen=True, slots=True)
class FieldCheck:
    """One field of the field contract against the vendor's present schema."""

    name: str
    """E.g. `Contact.DoNotCall`, `contacts.do_not_call`, `list SYSTEM_INTERNAL`."""
    status: FieldStatus
    expected: str
    seen: str
    mend: str = ""
    """How to mend it, in the vendor's own terms."""
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    """The parts of the vendor's definition that matter, for drift baselines."""


class Aspect(StrEnum):
    """What a line of a probe speaks of; the drift detectors tell by it what a fault means."""

    CREDENTIALS = "credentials"
    """Whether they are taken at all."""
    SCOPE = "scope"
    """Something that we must be allowed to do."""
    SIGHT = "sight"
    """Something that we must be allowed to read: without it an empty answer says nothing."""
    EXCESS = "excess"
    """More is granted than is needed. The system works, so `ok` stays True; the line is there only where
    there is an excess."""
    VERSION = "version"
    """The version of the API that we speak."""
    LIMIT = "limit"
    """What is left of an allocation of calls."""
    NOTICE = "notice"
    """What answers announce; `drift.endings` reads the same from their headers."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ProbeCheck:
    """One line of a probe: credentials, a scope, a version, the clock."""

    name: str
    ok: bool
    seen: str
    mend: str = ""
    about: Aspect = Aspect.OTHER
    expires_at: datetime | None = None
    """When what is checked ends, where the vendor tells (UTC)."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Who and what answered."""

    account: str
    """The vendor's id of the account, e.g. portal or org id."""
    checks: tuple[ProbeCheck, ...]
    server_time: datetime | None = None


class Connector(Protocol):
    """One connected account of one vendor.

    Every operation may raise `VendorError`. `write` and `read` yield one result per item given, whatever
    happened; an item they cannot account for is a `Failure` of kind unknown.
    """

    capabilities: Capabilities

    def keys_for(self, number: str) -> tuple[str, ...]:
        """The keys of a number (E.164) in a system of unit NUMBER, one per list; `()` for unit RECORD."""

    def changes(self, cursor: str | None) -> Iterator[Page]:
        """What changed since the cursor; None: start now, with the vendor's usual overlap. At least once."""

    def snapshot(self, cursor: str | None) -> Iterator[Page]:
        """Every holding once or more; None: from the start. Idempotent, resumable."""

    def read(self, keys: Sequence[str]) -> Iterator[Looked]:
        """What the vendor holds now under these keys (at most `read_batch`); never from a lagging index."""

    def find(self, number: str) -> Iterator[Looked]:
        """Records that hold this number (E.164), as a second opinion to the local index; may miss or lag."""

    def write(self, changes: Sequence[Change]) -> Iterator[Written]:
        """Make the holdings say so (at most `write_batch`). Idempotent."""

    def parse_webhook(self, request: WebhookRequest) -> Webhook:
        """Checks authenticity, then says what to record. Raises `WebhookRefused`. No calls to the vendor."""

    def describe(self) -> tuple[FieldCheck, ...]:
        """The field contract against the vendor's present schema."""

    def probe(self) -> Probe:
        """Cheap and harmless: credentials, scopes, versions, clock."""

    def close(self) -> None:
        """Lets go of connections."""


# --- how a connector is found and built -------------------------------------------------------------


class SystemSettings(BaseModel):
    """What every system's configuration has; vendors add their own fields.

    Fields of type `SecretStr` are secrets: refused in the file, taken from the environment, the secrets
    folder or systemd credentials.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    vendor: str
    region: str = Field(
        "US", pattern=r"^[A-Z]{2}$", description="Default region of numbers without a country code"
    )
    enabled: bool = True
    base_url: str | None = Field(
        None, description="Another host than the vendor's, for sandboxes and proxies"
    )
    credentials_expire: date | None = Field(
        None, description="The day by which the credentials must be renewed, where you know of one (UTC)"
    )


@dataclass(frozen=True, slots=True)
class Context:
    """What the runtime hands to a connector."""

    system: str
    clock: Clock
    open_door: Callable[..., HttpDoor]
    """`open_door(allowed=(...), limits=(...), classify=...)`: see `HttpDoor`; the runtime adds the rest."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """What a connector package exports as `PLUGIN` under the entry-point group `dncsync.connectors`."""

    vendor: str
    settings: type[SystemSettings]
    connect: Callable[[Any, Context], Connector]
    """`connect(settings, context)`; makes no vendor call."""
    sandbox: Callable[[], type[Sandbox]]
    """Imports the sandbox only when asked."""


GROUP = "dncsync.connectors"


class UnknownVendor(LookupError):
    """No installed connector has that name."""


def plugins() -> dict[str, EntryPoint]:
    """Installed connectors by vendor name, not yet imported."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def plugin(vendor: str) -> Plugin:
    """The connector package for a vendor. Raises `UnknownVendor` with the names that exist."""
    known = plugins()
    if vendor not in known:
        raise UnknownVendor(f"no connector named {vendor!r}; installed: {', '.join(sorted(known)) or 'none'}")
    loaded = known[vendor].load()
    if not isinstance(loaded, Plugin):
        raise UnknownVendor(f"entry point {vendor!r} is not a dncsync Plugin")
    return loaded
