"""The checklist with its forms, and the appendix: method, integrity, policy, files, queries."""

from __future__ import annotations

from dncsync.reconcile.facts import ChecklistRow, Facts
from dncsync.reconcile.report.document import (
    Block,
    Check,
    Checklist,
    Column,
    Kind,
    Prose,
    Queries,
    Section,
    Signatures,
    Table,
    Terms,
    Warned,
)
from dncsync.reconcile.report.wording import count, instant, legible, plural, sentence


def checklist(facts: Facts) -> Section:
    """The quarterly audit checklist: what the ledger answers, and lines for what only a person can."""
    rows = facts.checklist
    forms = sum(1 for row in rows if row.form is not None)
    return Section(
        "checklist",
        "Quarterly audit checklist",
        (
            Checklist("The checklist, item by item", tuple(_check(row) for row in rows)),
            Table(
                "checklist",
                "The checklist as a table",
                (
                    Column("No.", Kind.COUNT),
                    Column("Item"),
                    Column("Filled"),
                    Column("Result"),
                    Column("Good", Kind.YES),
                    Column("A person must state"),
                    Column("Queries", Kind.CODE),
                ),
                len(rows),
                lambda: (
                    (
                        r.number,
                        r.item,
                        r.filled,
                        r.result,
                        r.good,
                        None if r.form is None else r.form.ask,
                        ", ".join(r.queries),
                    )
                    for r in rows
                ),
                shown=0,
            ),
            Signatures(
                "I have read this report, completed what only a person can state, and know of no connected "
                "system that is missing from it.",
                ("Prepared by", "Reviewed by", "Approved by"),
            ),
        ),
        f"What the ledger can answer is filled in; {plural(forms, 'item')} "
        f"{'needs' if forms == 1 else 'need'} a person, and no answer is guessed for them.",
        new_page=True,
    )


def _check(row: ChecklistRow) -> Check:
    state = {True: "in order", False: "not in order", None: ""}[row.good]
    return Check(
        number=row.number,
        item=row.item,
        state=state,
        filled=row.filled,
        result=sentence(row.result),
        ask="" if row.form is None else sentence(row.form.ask),
        fields=() if row.form is None else row.form.fields,
        notes=row.queries,
    )


def method(facts: Facts) -> Section:
    """How the figures were made, and how to check them."""
    record = facts.integrity
    blocks: list[Block] = []
    if record.problems or not record.verified:
        what = "; ".join(legible(problem) for problem in record.problems) or "it was not checked"
        blocks.append(Warned(f"The ledger does not verify: {what}."))
    point = record.latest_checkpoint
    blocks.append(
        Terms(
            (
                ("Ledger", record.ledger),
                ("Software", record.software),
                ("Events up to the head", f"{count(record.events)}, the last is #{record.head_seq}"),
                ("Hash of the head (SHA-256)", record.head_hash),
                ("Every byte of the chain checked", "yes, it holds" if record.verified else "no"),
                ("Signed checkpoints", count(record.checkpoints)),
                *(
                    ()
                    if point is None
                    else (
                        ("Latest checkpoint", f"#{point.seq}, {instant(point.at)}"),
                        ("Its root", point.root),
                        ("Signed with the key (Ed25519)", point.public_key),
                    )
                ),
                ("This reconciliation", facts.run),
            )
        )
    )
    blocks.append(
        Prose(
            "The report holds if the ledger still gives these facts: run “dncsync reconcile --verify "
            "report.json” beside the ledger. The PDF carries the same report.json as an attachment.",
            record.query,
        )
    )
    blocks.append(
        Prose(
            "Durations are rounded up and shares are rounded down, so that no figure flatters. Instants are "
            f"UTC; days and weeks begin at midnight in {facts.period.zone}. Phone numbers are masked. A "
            "write is verified only by a value read after it. A superscript number beside a figure names "
            "the query that gives it, at the end of this report."
        )
    )
    settings = sorted(facts.policy.values.items())
    blocks.append(
        Table(
            "policy",
            f"Policy in force: {facts.policy.source}",
            (Column("Setting", Kind.CODE), Column("Value", Kind.CODE)),
            len(settings),
            lambda: settings,
            empty="No setting is stated.",
            shown=200,
        )
    )
    return Section("method", "Method and integrity", tuple(blocks), new_page=True)


def queries(facts: Facts) -> Section:
    """Every query, numbered as its footnotes are."""
    lead = 'Each runs as it stands, on the ledger that this report was made from: dncsync ledger query "…".'
    return Section("queries", "Queries", (Queries(),), lead if facts.queries else "")
