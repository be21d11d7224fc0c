"""A block that is not there any more where it was set or written: who took it, in words that a person knows.

Vendors name causes in their own codes and change them; a code that is not known is shown as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dncsync.ledger.writer import Tx
from dncsync.model import Channel, Holding, Provenance
from dncsync.numbers import mask_text
from dncsync.rules import Verdict
from dncsync.sync import findings
from dncsync.sync.topology import SystemFacts, shown
from dncsync.sync.will import waits

OFTEN: Final = "not-kept-often"
"""The finding about a whole system that does not keep what is written; while it is open, single records are
not told one by one (`drift.not_kept` opens and closes it)."""

_WORKFLOW = "a workflow changed it back"
_CAUSES: Mapping[str, str] = {
    "AUTOMATION": _WORKFLOW,
    "AUTOMATION_PLATFORM": _WORKFLOW,
    "WORKFLOW": _WORKFLOW,
    "WORKFLOWS": _WORKFLOW,
    "MERGE": "a merge of records",
    "MERGE_OBJECTS": "a merge of records",
    "MERGE_CONTACTS": "a merge of records",
    "IMPORT": "an import",
    "FORM": "a form that somebody sent",
    "INTEGRATION": "another integration",
    "API": "another integration",
    "DATA_ENRICHMENT": "the vendor's data enrichment",
    "CRM_UI": "a person in the vendor's screens",
    "MOBILE_IOS": "a person in the vendor's app",
    "MOBILE_ANDROID": "a person in the vendor's app",
    "BATCH_UPDATE": "a bulk change in the vendor's screens",
}
"""Sources of a property's history at HubSpot (sheet 3.5) -> words."""
_PEOPLE = frozenset({"CRM_UI", "MOBILE_IOS", "MOBILE_ANDROID"})
"""Those that are one person with one record before them."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Who took a block away."""

    words: str
    mend: str


def cause_of(facts: SystemFacts, provenance: Provenance) -> Cause:
    """The cause, as far as the vendor tells.

    A record that changed back while our own user touched it last was changed by automation in the same
    transaction: a trigger or a flow (Salesforce sheet 5). An `API` or `INTEGRATION` source that is our own
    names nobody.
    """
    source, who = provenance.source, mask_text(provenance.actor)
    if source in _CAUSES and not (provenance.ours and _CAUSES[source] == "another integration"):
        words = _CAUSES[source]
        if who:
            words += f" ({_id(who)})"
        return Cause(words, _mend(source, facts))
    if provenance.ours:
        return Cause(
            "automation that runs as our own user: a trigger, a flow or a rule",
            f"find the automation in {facts.name} that writes this field, and let it leave a set flag alone",
        )
    if source in ("field-history", "last-modified") and who:
        certainty = "" if source == "field-history" else ", who touched the record last"
        return Cause(
            f"another user ({_id(who)}{certainty})", f"find out what {who} does in {facts.name}, and why"
        )
    if source:
        words = f"{mask_text(source)} ({_id(who)})" if who else mask_text(source)
        return Cause(words, f"find out in {facts.name} what this source is, and let it leave the flag alone")
    return Cause(
        "the vendor does not say who",
        f"look at this entry in {facts.name} and at whoever else writes there",
    )


def _id(who: str) -> str:
    """The bare id of a program; `userId:7` and `user:005...` as they are."""
    return who if re.match(r"[A-Za-z]", who) else f"id {who}"


def _mend(source: str, facts: SystemFacts) -> str:
    if _CAUSES[source] == _WORKFLOW:
        return f"in {facts.name}, find the workflow that sets this property; let it leave a set flag alone"
    if _CAUSES[source] in ("another integration", "an import"):
        return f"in {facts.name}, keep this integration or import from writing the do-not-contact property"
    if "merge" in source.lower():
        return "nothing: the block is put back on what is left of the merged records"
    return "talk to whoever did it: the block stands until it is reversed with evidence"


def no_person(source: str) -> str:
    """Who a vendor's source names, where that is known and not one person's own hand, in words; else ""."""
    return "" if source in _PEOPLE else _CAUSES.get(source, "")


def report(
    tx: Tx,
    at: int,
    facts: SystemFacts,
    holding: Holding,
    channel: Channel,
    verdict: Verdict,
    provenance: Provenance,
    *,
    refused: str = "",
) -> None:
    """Opens the finding about one holding: `cleared-there`, or `not-kept` for what we wrote ourselves.
    `refused`: why the reason that was given there does not make it a reversal."""
    if not verdict.cleared_there and findings.is_open(tx, f"{OFTEN}/{facts.name}/{facts.name}"):
        return  # told of the whole system; thousands of single findings would hide it
    if not verdict.cleared_there and not _was_accepted(tx, facts, holding.key, channel):
        return  # the write itself never arrived: its outcome was unknown, and this reading settles it
    who = mask_text(provenance.actor) or "unknown"
    when = provenance.at.isoformat() if provenance.at else "unknown"
    cause = cause_of(facts, provenance)
    waiting = waits(tx, facts, holding.key, channel)
    then = "it stays as it is: its block waits for approval" if waiting else "it is put back"
    what = "was cleared there" if verdict.cleared_there else "was accepted there and not kept"
    if refused:
        then = f"its reason does not count: {refused}; {then}"
    findings.open_finding(
        tx,
        at,
        "cleared-there" if verdict.cleared_there else "not-kept",
        facts.name,
        holding.key,
        f"the {channel} block of {shown(facts, holding.key)} in {facts.name} {what}: {cause.words} "
        f"(who: {who}, when: {when}); {then}",
        detail={
            "who": who,
            "when": when,
            "how": mask_text(provenance.source),
            "channel": str(channel),
            "cause": cause.words,
            "expected": "set, as it was" if verdict.cleared_there else "set, as it was written",
            "seen": "clear",
            "mend": cause.mend,
        },
    )


def _was_accepted(tx: Tx, facts: SystemFacts, key: str, channel: Channel) -> bool:
    row = tx.execute(
        "SELECT 1 FROM deliveries WHERE system = ? AND key = ? AND channel = ? AND open = 1 "
        "AND accepted_at IS NOT NULL",
        (facts.name, key, str(channel)),
    ).fetchone()
    return row is not None


# --- a field that is not there ------------------------------------------------------------------------------


class Fields:
    """Which flags the holdings of one reading showed at all, by channel and kind of record."""

    def __init__(self) -> None:
        self._there: set[str] = set()
        self._absent: set[str] = set()
        self._noted: set[tuple[str, Channel, bool]] = set()

    def note(self, key: str, channel: Channel, *, absent: bool) -> None:
        """One flag of one holding."""
        kind = (key.rpartition("/")[0], channel, absent)
        if kind not in self._noted:  # a page is mostly of one kind
            self._noted.add(kind)
            (self._absent if absent else self._there).add(subject_of(key, channel))

    def heal(self, tx: Tx, at: int, facts: SystemFacts) -> None:
        """Closes what says that a field is absent where every holding of this reading shows it."""
        for subject in sorted(self._there - self._absent):
            words = "a reading shows the field again"
            findings.close_finding(tx, at, "field-absent", facts.name, subject, words)


def subject_of(key: str, channel: Channel) -> str:
    """A channel, and the kind of record where a system has several (`Lead/00Q...`): each has its field."""
    place, _, _ = key.rpartition("/")
    return f"{channel} of {place}" if place else str(channel)
