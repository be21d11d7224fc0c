"""The table of contents: facts in, document out."""

from __future__ import annotations

from dncsync.reconcile.facts import Facts
from dncsync.reconcile.report import (
    part_closing,
    part_requests,
    part_systems,
    part_watch,
    verdict,
)
from dncsync.reconcile.report.document import Document
from dncsync.reconcile.report.wording import instant, legible


def document(facts: Facts) -> Document:
    """The whole report, in the order in which an auditor reads it."""
    period, record, policy = facts.period, facts.integrity, facts.policy
    banners = [legible(policy.banner)] if policy.banner else []
    if not period.over:
        banners.append(
            f"The period was not over when this was made; it covers up to {instant(period.as_of)}."
        )
    reviewed = f"reviewed by {policy.reviewed_by}" if policy.reviewed_by else "not reviewed by counsel"
    since = f", in force since {policy.effective_from}" if policy.effective_from else ""
    return Document(
        title="Do-Not-Call reconciliation",
        period=period.name,
        verdict=verdict.sentence(facts),
        sound=verdict.sound(facts),
        headline=facts.headline,
        banners=tuple(banners),
        figures=verdict.figures(facts),
        cover=(
            ("Period", f"{period.first_day} to {period.last_day}, days of {period.zone}"),
            ("Facts gathered", instant(period.as_of)),
            ("Policy", f"{policy.source}{since}, {reviewed}"),
            ("Policy's SHA-256", policy.sha256),
            ("Ledger", record.ledger),
            ("Ledger head", f"event #{record.head_seq}"),
            ("Head's SHA-256", record.head_hash),
            ("Made by", record.software),
        ),
        head=record.head_hash,
        as_of=period.as_of,
        sections=(
            part_requests.processing(facts),
            part_requests.exposure(facts),
            part_systems.systems(facts),
            part_systems.coverage(facts),
            part_systems.repairs(facts),
            part_watch.canary(facts),
            part_watch.findings(facts),
            part_watch.fuses(facts),
            part_watch.overrides(facts),
            part_requests.sample(facts),
            part_closing.checklist(facts),
            part_closing.method(facts),
            part_closing.queries(facts),
        ),
        queries=dict(sorted(facts.queries.items())),
    )
