"""The field contract: how our words map to Twilio's, and which keys of its answers we stand on."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from dncsync.connector import Change, Failure, FailureKind, Says, Statement
from dncsync.model import Channel, Flag

E164_PATTERN = r"\+[1-9][0-9]{6,14}"
CONSENT_FAILED = 30646
BLOCKED = 21610
SOURCES = ("website", "offline", "opt-in-message", "opt-out-message", "others")
"""All that the Consent API takes as `source`."""
ITEM_WORDS = frozenset(
    {
        "INVALID_CORRELATION_ID",
        "INVALID_SENDER_ID",
        "INVALID_CONTACT_ID",
        "INVALID_STATUS",
        "INVALID_SOURCE",
        "INVALID_DATE_OF_CONSENT",
        "INTERNAL_SERVER_ERROR",
    }
)
"""All documented `error_messages` of an item; another one is drift."""
RESULT_KEYS = frozenset({"correlation_id", "error_code", "error_messages"})
ROW_KEYS = frozenset({"sid", "direction", "from", "to", "body", "date_sent", "date_created", "error_code"})
"""Keys without which a row of the message log cannot be judged."""
TOLL_FREE = re.compile(r"\+18(00|33|44|55|66|77|88)\d{7}")
OPT_OUT_TYPES = {"STOP": Says.STOP, "START": Says.START, "HELP": Says.HELP}
_TOKEN = re.compile(r"(?=[A-Za-z]*\d)[0-9A-Za-z]{20,}")
_NUMBER = re.compile(r"\+?\d[\d\s().-]{5,}\d")


# --- keys ---------------------------------------------------------------------------------------------


def key_of(scope: str, number: str) -> str:
    """`MG.../+15005550006`: one entry per sender scope and number (E.164)."""
    return f"{scope}/{number}"


def scope_of(service: str, to: str, scopes: Collection[str]) -> str:
    """The scope that an inbound message was said to.

    A log row outside a service may carry a default service id that names nothing (API description of
    `messaging_service_sid`), so a configured scope is preferred.
    """
    for candidate in (service, to):
        if candidate in scopes:
            return candidate
    return service or to


# --- consents -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Consent:
    """One item of a bulk call, without its correlation id, which is fresh on every attempt."""

    contact_id: str
    sender_id: str
    status: str
    """`opt-out` or `opt-in`."""
    source: str = "others"
    date_of_consent: str | None = None

    def item(self, correlation_id: str) -> dict[str, str]:
        """The JSON object of the `Items` field."""
        item = {
            "contact_id": self.contact_id,
            "correlation_id": correlation_id,
            "sender_id": self.sender_id,
            "status": self.status,
            "source": self.source,
        }
        if self.date_of_consent:
            item["date_of_consent"] = self.date_of_consent
        return item


def consent_of(
    change: Change, now: datetime, scopes: Collection[str], *, allow_opt_in: bool
) -> Consent | Failure:
    """What to write for a change, or why it cannot be written. `now` is UTC."""
    scope, _, number = change.key.partition("/")
    if scope not in scopes:
        return _refusal(f"{scope or 'the scope'} is not among the configured scopes", "unknown-scope")
    if not re.fullmatch(E164_PATTERN, number):
        return _refusal("the key holds no E.164 number", "bad-key")
    wanted = change.wants.get(Channel.SMS)
    if wanted is Flag.SET:
        return Consent(number, scope, "opt-out", source_word(change.source), consent_date(change, now))
    if wanted is not Flag.CLEAR:
        return _refusal("Twilio keeps opt-outs of the sms channel only, set or clear", "bad-change")
    if not allow_opt_in:
        return _refusal(
            "opt-in is never written (allow_opt_in = false); the person may text START to the sender",
            "opt-in-disabled",
        )
    if TOLL_FREE.fullmatch(scope):
        return _refusal(
            "a toll-free block is held by the network and no API lifts it; the person must text START or "
            "UNSTOP to the sender",
            "toll-free",
        )
    return Consent(number, scope, "opt-in", source_word(change.source), consent_date(change, now))


def consent_date(change: Change, now: datetime) -> str | None:
    """A full ISO datetime, never in the future; None is better than one that Twilio refuses."""
    at = change.requested_at
    if at is None or at.tzinfo is None or at > now:
        return None
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def source_word(source: str) -> str:
    """Twilio's word for how a request came; `others` where ours has no counterpart."""
    if source in SOURCES:
        return source
    if source.startswith("sms"):
        return "opt-out-message"
    if source.startswith("web"):
        return "website"
    return "others"


def _refusal(message: str, code: str) -> Failure:
    return Failure(FailureKind.REJECTED, message, code)


# --- the message log ------------------------------------------------------------------------------------


def row_faults(row: Mapping[str, Any]) -> list[str]:
    """Why a row cannot be judged: keys are missing, or mean something else than they did. Empty: it can."""
    faults = [f"without {key!r}" for key in sorted(ROW_KEYS - row.keys())]
    if faults:
        return faults
    for key in ("sid", "direction"):
        if not isinstance(row[key], str) or not row[key]:
            faults.append(f"with another type of {key!r}")
    for key in ("from", "to", "body", "date_sent", "date_created"):
        if row[key] is not None and not isinstance(row[key], str):
            faults.append(f"with another type of {key!r}")
    if not str(row["direction"]).startswith(("inbound", "outbound")):
        faults.append("with a direction that is neither inbound nor outbound")
    if row["error_code"] is not None and not re.fullmatch(r"\d+", str(row["error_code"])):
        faults.append("with another type of 'error_code'")
    return faults


def statement_of_row(row: Mapping[str, Any], scopes: Collection[str], now: datetime) -> Statement | None:
    """What a row of the message log says: an inbound text, or a 21610 as evidence; None for other traffic.

    `now` stands in where a row has no readable date.
    """
    at = rfc2822(row["date_sent"]) or rfc2822(row["date_created"]) or now
    service = str(row.get("messaging_service_sid") or "")
    sender, to = str(row["from"] or ""), str(row["to"] or "")
    if row["direction"] == "inbound":
        number, kind = contact_of(sender)
        return Statement(
            ref=str(row["sid"]),
            number=number,
            channel=Channel.SMS,
            at=at,
            text=whole_text(str(row["body"] or "")),
            scope=scope_of(service, to, scopes),
            source=f"{kind}-inbound",
        )
    if str(row["error_code"]) == str(BLOCKED):
        return blocked(str(row["sid"]), to, at, scope_of(service, sender, scopes))
    return None


def blocked(sid: str, to: str, at: datetime, scope: str) -> Statement:
    """A 21610: Twilio would not send. A STOP, or a reassigned number (sheet section 8), so evidence only."""
    return Statement(
        ref=sid,
        number=contact_of(to)[0],
        channel=Channel.SMS,
        at=at,
        scope=scope,
        source=str(BLOCKED),
        evidence_only=True,
    )


def contact_of(address: str) -> tuple[str, str]:
    """A channel address as (number as received, `sms` | `whatsapp` | `rcs`); other schemes stay whole."""
    kind, colon, rest = address.partition(":")
    if colon and kind.lower() in ("whatsapp", "rcs"):
        return rest, kind.lower()
    return address, "sms"


def whole_text(text: str) -> str:
    """Text that can be stored: half an emoji, which a text of 70 characters may end in and JSON carries as it
    is, becomes U+FFFD. One such message would else stop every message behind it."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def rfc2822(value: object) -> datetime | None:
    """`Fri, 24 May 2019 17:44:50 +0000` in UTC; None where there is none or it cannot be read."""
    if not isinstance(value, str) or not value:
        return None
    try:
        at = parsedate_to_datetime(value)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):  # the latter for the end of the year 9999 in a zone behind UTC
        return None


def safe_words(text: object) -> str:
    """A vendor's words in one short line, with anything like a phone number or a secret taken out."""
    line = " ".join(str(text).split())
    return _NUMBER.sub("[number]", _TOKEN.sub("[id]", line))[:200]
