"""The few sentences that a reader in a hurry should see first. Bad news comes first."""

from __future__ import annotations

from dncsync.reconcile.checklist import Found
from dncsync.reconcile.facts import Exposure, Integrity

MOST = 5
"""Sentences."""


def headline(found: Found, integrity: Integrity, exposure: Exposure) -> tuple[str, ...]:
    """Two to five sentences, each of which a figure of the report bears out."""
    return tuple((_bad(found, integrity) + _good(found, exposure))[:MOST])


def _bad(found: Found, integrity: Integrity) -> list[str]:
    said = []
    if not integrity.verified:
        said.append(
            "The ledger's chain does not verify: nothing in this report is proof until that is explained."
        )
    times = found.processing
    if late := times.over_federal - times.already_late:
        said.append(f"{_count(late, 'request')} passed the federal deadline unconfirmed.")
    if times.already_late:
        past = "was past its" if times.already_late == 1 else "were past their"
        said.append(
            f"{_count(times.already_late, 'request')} {past} federal deadline when this ledger first knew."
        )
    unread = [platform.system for platform in found.platforms if platform.could_not_be_read is not None]
    if unread:
        said.append(f"Not read, or not afresh: {', '.join(unread)}; the reasons stand with each system.")
    lacking = sum(
        platform.comparison.missing + platform.comparison.different
        for platform in found.platforms
        if platform.comparison is not None
    )
    if lacking:
        said.append(f"{_count(lacking, 'holding')} lack a block that the ledger wants.")
    if times.open:
        said.append(f"{_count(times.open, 'request')} of the period are not confirmed everywhere yet.")
    return said


def _good(found: Found, exposure: Exposure) -> list[str]:
    times = found.processing
    said = []
    if times.done.count:
        said.append(
            f"{times.done.count:,} of {times.requests:,} requests are done: half within "
            f"{times.done.median_seconds:,.1f} s, 95 % within {times.done.p95_seconds:,.1f} s."
        )
    elif not times.requests:
        said.append("No request was received in the period.")
    read = [platform.comparison for platform in found.platforms if platform.comparison is not None]
    wanted = sum(one.present + one.missing + one.different + one.cannot_be_read for one in read)
    said.append(
        f"Of {wanted:,} holdings that should be blocked, {sum(one.verified for one in read):,} are verified, "
        f"{sum(one.accepted for one in read):,} accepted and cannot be read, "
        f"{sum(one.unconfirmed for one in read):,} not confirmed."
    )
    said.append(f"Blocked numbers were unconfirmed for {exposure.total_hours:,.1f} hours in all.")
    return said


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
