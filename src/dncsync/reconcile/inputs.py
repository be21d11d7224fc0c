"""What a reconciliation is made with that the ledger does not hold otherwise.

It is recorded when the reconciliation begins, so that the report can be made again from the ledger alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, TypeAlias

import orjson

from dncsync import __version__
from dncsync.connector import SystemSettings
from dncsync.policy import Policies
from dncsync.reconcile.facts import Policy
from dncsync.sync.topology import SystemFacts

Inputs: TypeAlias = dict[str, Any]
"""JSON: `software`, `policy` (as `facts.Policy`), `systems` (name -> its facts), `within_days`, `canary`."""

_ACCOUNT_FIELDS = ("portal_id", "account_sid", "domain", "base_url")
"""Settings that name the account, where a vendor has one; never a secret."""

BANNER = "No counsel has reviewed the policy under which these requests were handled."


def software() -> str:
    """E.g. `dncsync 0.3.0`."""
    return f"dncsync {__version__}"


def gather(
    policies: Policies,
    day: date,
    source: str,
    systems: Iterable[tuple[SystemFacts, SystemSettings | None]],
    *,
    within_days: int,
    canary: bool,
) -> Inputs:
    """`day`: of the policy; `source`: the policy file's name, or `the shipped defaults`."""
    return {
        "software": software(),
        "policy": policy(policies, day, source).model_dump(mode="json"),
        "systems": {facts.name: system(facts, settings) for facts, settings in systems},
        "within_days": within_days,
        "canary": canary,
    }


def policy(policies: Policies, day: date, source: str) -> Policy:
    """The policy in force on `day`, as a report states it."""
    in_force = policies.on(day)
    text = orjson.dumps(in_force.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
    since = [amended.since for amended in policies.amendments if amended.since <= day]
    rules = in_force.rules
    values = {
        "business days to honor a request": str(in_force.business_days()),
        "internal goal, dialers": f"{rules.sla_seconds.dialer} s",
        "internal goal, SMS": f"{rules.sla_seconds.sms} s",
        "internal goal, CRMs": f"{rules.sla_seconds.crm} s",
        "internal goal, everywhere": f"{rules.sla_seconds.all} s",
        "scope of a STOP": rules.scope_on_stop,
        "channels": in_force.sync.channels,
        "coverage": in_force.sync.coverage,
        "reversal authorities": ", ".join(in_force.sync.reversal_authorities) or "none",
        "last compared with the law": str(in_force.verified_on),
    }
    reviewed = in_force.reviewed_by.strip()
    return Policy(
        source=source,
        sha256=hashlib.sha256(text).hexdigest(),
        effective_from=str(since[-1]) if since else None,
        reviewed_by=reviewed or None,
        banner="" if reviewed else BANNER,
        values=values,
    )


def system(facts: SystemFacts, settings: SystemSettings | None) -> Mapping[str, Any]:
    """One configured system."""
    can = facts.capabilities
    named = (getattr(settings, name, None) for name in _ACCOUNT_FIELDS)
    return {
        "vendor": facts.vendor,
        "account": next((str(value) for value in named if value), ""),
        "role": str(can.role),
        "unit": str(can.unit),
        "channels": sorted(str(channel) for channel in can.channels),
        "can_read": can.can_read,
        "can_list": can.can_list,
    }
