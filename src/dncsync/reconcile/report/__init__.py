"""The reconciliation report as files: one HTML page, a PDF, canonical JSON, and a CSV for each table.

    facts ─▶ contents.document ─▶ layout.laid_out ─▶ page.html, paper.pdf
                              └─▶ tables.write_csv

The same facts give the same bytes: nothing here has a clock, a random number or a font of the machine.
"""

from __future__ import annotations

from pathlib import Path

from dncsync.reconcile.facts import Facts, canonical
from dncsync.reconcile.report.contents import document
from dncsync.reconcile.report.folder import whole
from dncsync.reconcile.report.layout import laid_out
from dncsync.reconcile.report.page import html
from dncsync.reconcile.report.paper import Paper, pdf
from dncsync.reconcile.report.tables import write_csv

__all__ = ["FACTS", "PAGE", "PDF", "write"]

FACTS = "report.json"
"""Exactly `facts.canonical(facts)`: what is hashed into the ledger and verified."""
PAGE = "report.html"
PDF = "report.pdf"


def write(facts: Facts, folder: Path, *, paper: Paper = "us-letter") -> tuple[Path, ...]:
    """Writes the report into `folder` (made if it is not there) and returns the paths, report.json first.

    All or nothing: a report that cannot be made leaves the folder as it was, and a folder with a report.json
    holds one whole report. Other files in the folder stay. Raises `OSError` (no room, no permission) and
    `typst.TypstError` (the PDF cannot be set).
    """
    report = document(facts)
    layout = laid_out(report)
    text = canonical(facts)
    with whole(folder, last=FACTS) as stage:
        stage.file(PAGE, html(layout))
        stage.file(PDF, pdf(layout, text, facts.period.as_of, paper))
        for table in report.tables():
            with stage.text(f"{table.name}.csv") as file:
                write_csv(table, file)
        stage.file(FACTS, text)
    return (folder / FACTS, *(folder / name for name in stage.names if name != FACTS))
