"""How contact properties become flags, numbers and provenance, and how a change becomes properties. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from dncsync.connector import Change
from dncsync.model import Channel, Flag, Holding, Provenance
from dncsync_hubspot.settings import FlagProperty, HubSpotSettings, Shape

MERGED_IDS = "hs_merged_object_ids"
"""Semicolon list of the ids that a survivor has swallowed (sheet 3.6)."""
MODIFIED = "lastmodifieddate"
"""For contacts; `hs_lastmodifieddate` silently finds nothing (sheet section 0, item 7)."""

# `type: bool` properties were long not validated and hold what people typed (sheet 2.4).
_YES = frozenset({"true", "yes", "1"})
_NO = frozenset({"false", "no", "0", ""})
_BY_PEOPLE = frozenset({"CRM_UI", "IMPORT", "FORM", "MOBILE_IOS", "MOBILE_ANDROID"})

Properties = Mapping[str, str | None]


class Fields:
    """The properties of one system's configuration and their meaning."""

    def __init__(self, settings: HubSpotSettings) -> None:
        self._settings = settings
        self.flags: Mapping[Channel, FlagProperty] = settings.flags
        self.phones = settings.phone_properties
        self.flag_names = tuple(dict.fromkeys(f.property for f in self.flags.values()))
        opted_in = [f.opted_in_property for f in self.flags.values() if f.opted_in_property]
        self._reason = settings.companions.reason or ""
        """Where people say why they took a flag away; "": nowhere."""
        reason = (self._reason,) if self._reason else ()
        self.asked = tuple(dict.fromkeys([*self.flag_names, *opted_in, *self.phones, *reason, MERGED_IDS]))
        """What every read asks for."""
        self.watched = frozenset(self.asked) - {MERGED_IDS}
        """Properties whose webhooks matter."""
        self.needs_current = any(f.shape is Shape.MULTI_CHECKBOX for f in self.flags.values())
        """A write is a change of the present value, which must be read first."""

    # --- reading ------------------------------------------------------------------------------------

    def absent(self, properties: Properties) -> bool:
        """Whether a flag's property is missing from an answer."""
        return any(name not in properties for name in self.flag_names)

    def flag_of(self, flag: FlagProperty, properties: Properties, defined: Collection[str] = ()) -> Flag:
        """One channel. `defined`: properties known to exist although an answer leaves them out."""
        if flag.property not in properties:
            return Flag.CLEAR if flag.property in defined else Flag.ABSENT
        value = (properties[flag.property] or "").strip()
        if flag.shape is Shape.DATE:
            return _dated(value, (properties.get(flag.opted_in_property or "") or "").strip())
        if flag.shape is Shape.MULTI_CHECKBOX:
            chosen = {part.strip() for part in value.split(";")}
            return Flag.SET if flag.true_values[0] in chosen else Flag.CLEAR
        if flag.shape is Shape.ENUMERATION:
            if value in flag.true_values:
                return Flag.SET
            known = not flag.false_values or value in flag.false_values or not value
            return Flag.CLEAR if known else Flag.ABSENT
        if value in flag.true_values or (not flag.true_values and value.lower() in _YES):
            return Flag.SET
        known = value in flag.false_values or value.lower() in _NO
        # A value outside both sets means that the options were changed: drift, never "clear" (sheet 6.1, D3).
        return Flag.CLEAR if known else Flag.ABSENT

    def holding(self, record: Mapping[str, Any], defined: Collection[str] = ()) -> Holding:
        """One contact as HubSpot shows it, with provenance where its history was asked for."""
        properties: Properties = record["properties"]
        flags = {channel: self.flag_of(flag, properties, defined) for channel, flag in self.flags.items()}
        histories = record.get("propertiesWithHistory") or {}
        provenance: dict[Channel, Provenance] = {}
        marks: list[str] = []
        for channel, flag in self.flags.items():
            newest = newest_entry(histories.get(flag.property))
            if newest is None or flags[channel] is Flag.ABSENT:
                continue
            provenance[channel] = self.provenance(newest)  # also of a cleared flag: who took it away
            if flags[channel] is Flag.SET:
                marks.append(f"{channel}@{newest.get('timestamp', '')}")
        return Holding(
            key=str(record["id"]),
            flags=flags,
            numbers=tuple(value for name in self.phones if (value := (properties.get(name) or "").strip())),
            revision=" ".join(marks),
            provenance=provenance,
            reason=(properties[self._reason] or "").strip() if self._reason in properties else None,
        )

    def provenance(self, entry: Mapping[str, Any]) -> Provenance:
        """Who and how, from one entry of a property's history (sheet 3.5); all its fields may be missing."""
        source = str(entry.get("sourceType") or "")
        source_id = str(entry.get("sourceId") or "")
        user = str(entry.get("updatedByUserId") or "")
        return Provenance(
            actor=source_id or (f"userId:{user}" if user else ""),
            source=source,
            at=instant(entry.get("timestamp")),
            ours=self._ours(source, source_id, user),
        )

    def _ours(self, source: str, source_id: str, user: str) -> bool | None:
        app_id, app_user = self._settings.app_id, self._settings.app_user_id
        # sourceId changed its form before (e-mail to `userId:`), so only its digits are compared (sheet 3.5).
        ids = set(re.findall(r"\d+", source_id))
        if source in ("API", "INTEGRATION") and app_id and app_id in ids:
            return True
        if app_user and (user == app_user or app_user in ids):
            return True
        if source in _BY_PEOPLE:
            return False
        # With an app id we know our own integration's marks; without one an API write may be anybody's.
        return False if app_id and ids and source in ("API", "INTEGRATION") else None

    def merged_ids(self, record: Mapping[str, Any]) -> tuple[str, ...]:
        """The ids that this contact has swallowed."""
        value = record["properties"].get(MERGED_IDS) or ""
        return tuple(part.strip() for part in value.split(";") if part.strip().isdigit())

    # --- writing ------------------------------------------------------------------------------------

    def to_properties(self, change: Change, current: Properties, now: datetime) -> dict[str, str]:
        """The properties that a change writes. `current`: the present values where `needs_current`.

        Raises `ValueError` with one line where the change cannot be said in this portal's properties.
        """
        written: dict[str, str] = {}
        # CLEAR first, so that SET wins where two channels share a property (law 10).
        for channel, wish in sorted(change.wants.items(), key=lambda item: item[1] is Flag.SET):
            flag = self.flags.get(channel)
            if flag is None:
                raise ValueError(f"channel {channel} has no property in this system's configuration")
            if wish is Flag.ABSENT:
                raise ValueError("a field cannot be written absent")
            if wish is Flag.CLEAR:
                self._refuse_half_clear(flag, change)
            written |= self._value(flag, wish, {**current, **written}, change.requested_at or now)
        companions = self._settings.companions
        is_set = Flag.SET in change.wants.values()
        if companions.source and change.source:
            written[companions.source] = change.source
        if companions.request_id and change.request_id:
            written[companions.request_id] = change.request_id
        if companions.date:
            written[companions.date] = (change.requested_at or now).date().isoformat() if is_set else ""
        return written

    def _refuse_half_clear(self, flag: FlagProperty, change: Change) -> None:
        if flag.shape is Shape.MULTI_CHECKBOX:
            return
        users = {c for c, f in self.flags.items() if f.property == flag.property}
        if users - change.wants.keys():
            raise ValueError(
                f"property {flag.property!r} serves {' and '.join(sorted(users))}; a clear must name both"
            )

    def _value(self, flag: FlagProperty, wish: Flag, current: Properties, at: datetime) -> dict[str, str]:
        is_set = wish is Flag.SET
        name = flag.property
        if flag.shape is Shape.MULTI_CHECKBOX:
            chosen = [p for p in (current.get(name) or "").split(";") if p and p != flag.true_values[0]]
            return {name: ";".join([*chosen, flag.true_values[0]] if is_set else chosen)}
        if flag.shape is Shape.DATE:
            if is_set:
                written = {name: _wire_date(at, flag.with_time)}
                # An opt-in date that is newer, or wrongly in the future, would silence the opt-out.
                return written | ({flag.opted_in_property: ""} if flag.opted_in_property else {})
            if flag.opted_in_property:
                return {flag.opted_in_property: _wire_date(at, flag.with_time), name: flag.clear_value or ""}
            return {name: flag.clear_value or ""}
        checkbox = flag.shape is Shape.CHECKBOX
        if is_set:
            return {name: flag.true_values[0] if flag.true_values else "true"}
        return {name: flag.clear_value if flag.clear_value is not None else "false" if checkbox else ""}


def newest_entry(history: Any) -> Mapping[str, Any] | None:
    """The entry with the latest timestamp; every example has it first, nothing promises it (sheet 3.5)."""
    if not isinstance(history, list):
        return None
    entries = [entry for entry in history if isinstance(entry, dict)]
    return max(entries, key=_entry_time) if entries else None


def _entry_time(entry: Mapping[str, Any]) -> float:
    when = instant(entry.get("timestamp"))
    return when.timestamp() if when else float("-inf")


def instant(value: Any) -> datetime | None:
    """An instant (UTC) from ISO 8601 or epoch milliseconds; None where it is neither."""
    if isinstance(value, bool) or value is None:
        return None
    text = str(value).strip()
    try:
        if re.fullmatch(r"-?\d{11,}", text):
            return datetime.fromtimestamp(int(text) / 1000, UTC)
        read = datetime.fromisoformat(text)
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def milliseconds(value: Any) -> int | None:
    """Epoch milliseconds of a HubSpot time, exactly; None where it is no time."""
    when = instant(value)
    return None if when is None else round(when.timestamp() * 1000)


def gone(key: str, became: str | None = None) -> Holding:
    """A contact that is not there under this id: deleted, archived, or merged into `became`."""
    return Holding(key=key, flags={}, gone=True, became=became)


def _wire_date(at: datetime, with_time: bool) -> str:
    at = at.astimezone(UTC)
    return (
        at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z" if with_time else str(at.date())
    )


def _dated(out: str, opted_in: str) -> Flag:
    if not out:
        return Flag.CLEAR
    when, back = instant(out), instant(opted_in)
    if when is None:
        return Flag.ABSENT  # not a date any more: the property was retyped
    return Flag.CLEAR if back is not None and back > when else Flag.SET
