"""Facts at the edges, for reports: an empty ledger, and everything at its worst."""

from __future__ import annotations

from dncsync.reconcile import facts as f
from integration.reconcile.report_samples import (
    QUERIES,
    calm,
    findings,
    integrity,
    period,
    platform,
    policy,
    spread,
    whole,
)


def empty() -> f.Facts:
    """A ledger without events, before any system was connected."""
    made = calm()
    nothing = spread(0, 0, 0)
    return made.model_copy(
        update={
            "period": period(over=False),
            "policy": policy(),
            "headline": (),
            "platforms": (),
            "integrity": made.integrity.model_copy(
                update={"events": 0, "head_seq": 0, "head_hash": "0" * 64, "latest_checkpoint": None}
            ),
            "requests": f.Requests(
                total=0,
                rows=(),
                blocked_at_start=0,
                blocked_at_end=0,
                reversals=0,
                query="requests",
                query_blocked="",
            ),
            "processing": f.Processing(
                requests=0,
                done=nothing,
                open=0,
                confirmed=0,
                accepted=0,
                nothing_to_write=0,
                over_24_hours=0,
                over_strict=0,
                over_federal=0,
                already_late=0,
                provisional=0,
                ended=0,
                query="processing",
            ),
            "propagation": (),
            "exposure": f.Exposure(days=(), worst_day=None, total_hours=0.0, query=""),
            "sample": f.Sample(
                seed=1, size=50, population=0, rule="The 50 lowest by hash.", requests=(), query="sample"
            ),
            "repairs": f.Repairs(
                count=0,
                verified=0,
                by_system=(),
                listed=(),
                query="repairs",
                query_by_system="repairs-by-system",
            ),
            "canary": f.Canary(
                configured=False, statement="no canary is configured", runs=0, pairs=(), query=""
            ),
            "gaps": f.Gaps(listed=(), query="gaps"),
            "findings": f.Findings(
                total=0, open=0, opened=0, closed=0, listed=(), weeks=(), query="findings", query_weeks=""
            ),
            "fuses": f.Fuses(available=False, statement="this ledger keeps no fuses", tripped=(), query=""),
            "overrides": f.Overrides(statement="", listed=(), query="overrides"),
            "queries": {},
        }
    )


NASTY = (
    '<script>alert("x")</script>',
    '#panic(1) *bold* _it_ $x$ `raw` #image("/etc/passwd") \\ @label <tag>',
    '=HYPERLINK("http://evil.example","x")',
    "Jürgen Ωmega Жанна שלום 山田太郎 🐙",
    "evil\u202etxt.exe\x07\u200b",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "]]></svg><img src=x onerror=alert(1)>",
    "'; DROP TABLE blocks; --",
)


def extreme() -> f.Facts:
    """40 systems with hostile and foreign names, 3,000 findings, and numbers without measure."""
    made = [
        platform(
            f"{place:02d} {NASTY[place % len(NASTY)]}",
            NASTY[(place + 3) % len(NASTY)],
            ("crm", "dialer", "sms")[place % 3],
            10**12 + place,
            place,
            reads=place % 5 != 4,
            blind=NASTY[place % len(NASTY)] * 6 if place % 6 == 3 else None,
        )
        for place in range(40)
    ]
    facts = whole(made, 9_876_543_210, still_open=123_456_789, found=3000, worst=1e9, repaired=4000)
    hostile = findings(made, 3000, 7, NASTY[0] + NASTY[1])
    return facts.model_copy(
        update={
            "findings": hostile,
            "integrity": integrity(verified=False),
            "headline": NASTY,
            "queries": {**QUERIES, "findings": "SELECT '" + NASTY[0] + NASTY[1] + "' " * 40},
        }
    )
