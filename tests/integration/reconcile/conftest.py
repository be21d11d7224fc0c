"""A small ledger for each test, and report files without pictures where a test does not look at them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dncsync.reconcile import report
from dncsync.reconcile.facts import Facts, canonical
from integration.reconcile.small_ledger import SmallLedger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SmallLedger]:
    made = SmallLedger(tmp_path)
    yield made
    made.close()


@pytest.fixture
def plain_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the JSON and a page of one line: a PDF takes half a second."""

    def write(facts: Facts, folder: Path, **_: object) -> tuple[Path, ...]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = (folder / report.FACTS, folder / report.PAGE, folder / "overrides.csv")
        paths[2].write_text("the same in every report", encoding="utf-8")
        paths[0].write_bytes(canonical(facts))
        paths[1].write_text(f"<p>{facts.run}</p>", encoding="utf-8")
        return paths

    monkeypatch.setattr(report, "write", write)
