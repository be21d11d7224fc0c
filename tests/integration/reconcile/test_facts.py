"""Each figure of the facts, on ledgers whose answers were worked out by hand."""

from __future__ import annotations

from datetime import date

import pytest

from dncsync.reconcile import period
from integration.reconcile.small_ledger import DAY, HOUR, JULY, SECOND, SYSTEMS, SmallLedger, utc

pytestmark = pytest.mark.usefixtures("plain_files")

ANN, BOB, CLEO, DAN = "+12125550142", "+13125550177", "+14155550161", "+17135550119"


def one_quarter(ledger: SmallLedger) -> None:
    """Four requests of the quarter, one canary, one of the quarter before."""
    ledger.system("crm", utc(2026, 6, 1), snapshot=utc(2026, 10, 1))
    ledger.system("dialer", utc(2026, 6, 1), snapshot=utc(2026, 10, 1))
    ledger.system("texts", utc(2026, 6, 1))
    ledger.request("OLD", DAN, utc(2026, 6, 30))
    ledger.delivery("dialer", f"D/{DAN}", utc(2026, 6, 30), request="OLD", accepted=1, verified=2)
    # Ann: 2 s in the dialer, 10 s in the CRM; texts accept and show nothing.
    ledger.request("ANN", ANN, JULY, source="sms-inbound", channel="sms", system="texts")
    ledger.delivery("dialer", f"D/{ANN}", JULY, request="ANN", number=ANN, accepted=1, verified=2)
    ledger.delivery("crm", "c/1", JULY, request="ANN", number=ANN, accepted=1, verified=10)
    # Bob: 30 hours in the CRM.
    ledger.request("BOB", BOB, JULY + DAY, received=JULY + DAY - 5 * SECOND)
    ledger.delivery("crm", "c/2", JULY + DAY, request="BOB", number=BOB, accepted=1, verified=30 * 3600)
    # Cleo: accepted and cannot be read, 4 s; her record came to the CRM three days later and took a minute.
    ledger.request("CLEO", CLEO, JULY + 2 * DAY, provisional=True)
    ledger.delivery(
        "texts",
        f"T/{CLEO}",
        JULY + 2 * DAY,
        request="CLEO",
        number=CLEO,
        accepted=4,
        final=True,
        channel="sms",
    )
    ledger.delivery(
        "crm", "c/3", JULY + 5 * DAY, request="CLEO", number=CLEO, accepted=1, verified=60, goal=900
    )
    # Dan, on a record: never written to the dialer; past both deadlines by the time of the report.
    ledger.request("DAN", None, JULY + 3 * DAY, at_vendor=("crm", "c/4"), system="crm", source="CRM_UI")
    ledger.delivery("dialer", f"D/{DAN}2", JULY + 3 * DAY, request="DAN")
    # Eve needs nothing written. A canary is nobody's wish.
    ledger.request("EVE", "+12125550199", JULY + 4 * DAY)
    ledger.request("CANARY", "+12125550100", JULY + 4 * DAY, source="canary")
    ledger.delivery("crm", "c/9", JULY + 4 * DAY, request="CANARY", number="+12125550100")


def test_processing_is_over_all_requests(ledger: SmallLedger) -> None:
    one_quarter(ledger)
    times = ledger.facts().processing
    # Done: EVE 0 s, CLEO 4 s, ANN 10 s, BOB 30 h and 5 s. Open: DAN.
    assert (times.requests, times.done.count, times.open) == (5, 4, 1)
    assert times.done.median_seconds == 7.0
    assert times.done.p95_seconds == times.done.max_seconds == 108_005.0
    assert times.done.mean_seconds == round((0 + 4 + 10 + 108_005) / 4, 3)
    assert (times.confirmed, times.accepted, times.nothing_to_write) == (3, 1, 1)
    assert (times.over_24_hours, times.over_strict, times.over_federal) == (2, 1, 1)
    assert (times.provisional, times.ended, times.already_late) == (1, 0, 0)


def test_history_that_was_late_before_we_came_is_told_apart(ledger: SmallLedger) -> None:
    """A box that somebody ticked in spring, found at the first reading: late by law, and not through us."""
    ledger.request("A", ANN, JULY, system="crm", strict=-40 * DAY, federal=-38 * DAY)
    ledger.delivery("dialer", f"D/{ANN}", JULY, request="A", number=ANN, accepted=1, verified=2)
    found = ledger.facts()
    assert (found.processing.over_federal, found.processing.already_late) == (1, 1)
    assert "1 request was past its federal deadline when this ledger first knew." in found.headline
    assert not any("passed the federal deadline" in sentence for sentence in found.headline)


def test_propagation_per_system(ledger: SmallLedger) -> None:
    one_quarter(ledger)
    crm, dialer, texts = ledger.facts().propagation
    assert (crm.system, crm.writes, crm.verified, crm.unconfirmed, crm.over_goal) == ("crm", 3, 3, 0, 1)
    assert (crm.spread.median_seconds, crm.spread.max_seconds) == (60.0, 108_000.0)
    bars = {bucket.label: bucket.count for bucket in crm.buckets if bucket.count}
    assert bars == {"5 to 15 s": 1, "15 to 60 s": 1, "more than 24 h": 1}
    assert (dialer.writes, dialer.verified, dialer.unconfirmed, dialer.over_goal) == (2, 1, 1, 1)
    assert (texts.accepted, texts.verified, texts.proof) == (1, 0, "accepted, cannot be read")
    assert texts.spread.count == 1
    assert texts.spread.mean_seconds == 4.0


def test_requests_by_source_and_the_internal_list(ledger: SmallLedger) -> None:
    one_quarter(ledger)
    over = {"id": "V0", "channels": ["sms", "voice"], "reason": "r", "basis": "signed"}
    over |= {"evidence_name": "e", "evidence_sha256": "0", "evidence_date": "2026-06-02"}
    ledger.request("SPRING", "+12125550107", utc(2026, 5, 1))
    ledger.record("reversal.recorded", utc(2026, 6, 2), over, number="+12125550107", actor="a")
    payload = {"id": "V1", "channels": ["sms", "voice"], "reason": "r", "basis": "signed"}
    payload |= {"evidence_name": "e", "evidence_sha256": "0", "evidence_date": "2026-08-01"}
    ledger.record("reversal.recorded", utc(2026, 8, 1), payload, number=BOB, actor="a")
    found = ledger.facts()
    rows = {(row.system, row.source, row.channel): row.requests for row in found.requests.rows}
    assert rows == {
        (None, "admin", "voice"): 3,
        ("texts", "sms-inbound", "sms"): 1,
        ("crm", "CRM_UI", "voice"): 1,
    }
    assert found.requests.total == 5
    # DAN before; then ANN, CLEO, EVE and the canary's number; BOB came and went.
    assert (found.requests.blocked_at_start, found.requests.blocked_at_end) == (1, 5)
    assert (found.requests.reversals, found.processing.ended) == (1, 1)


def test_exposure_by_day(ledger: SmallLedger) -> None:
    one_quarter(ledger)
    exposure = ledger.facts().exposure
    days = {(line.system, line.day): line for line in exposure.days}
    assert len({line.day for line in exposure.days}) == 92
    # Bob's: 11 July 08:00 New York time, for 30 hours.
    bob = days["crm", "2026-07-11"], days["crm", "2026-07-12"]
    assert (bob[0].opened, bob[0].open_at_end, bob[0].hours) == (1, 1, 16.0)
    assert (bob[1].opened, bob[1].open_at_end, bob[1].hours) == (0, 0, 14.0)
    # Dan's has lasted since 13 July.
    assert days["dialer", "2026-09-30"].open_at_end == 1
    assert days["dialer", "2026-09-30"].hours == 24.0
    ann = days[None, "2026-07-10"]
    assert (ann.opened, ann.open_at_end) == (1, 0), "two systems, one number"
    assert days["crm", "2026-07-14"].opened == 0, "the canary is nobody's exposure"
    assert exposure.worst_day == "2026-07-15"  # Dan, and a minute of Cleo
    assert exposure.total_hours == pytest.approx(30 + (80 * 24 - 8) - 24 + 24 + 70 / 3600, abs=0.01)


def test_an_exposure_from_before_is_open_and_not_opened(ledger: SmallLedger) -> None:
    ledger.request("OLD", ANN, utc(2026, 5, 1))
    ledger.delivery("dialer", f"D/{ANN}", utc(2026, 5, 1), request="OLD", number=ANN)
    first = ledger.facts().exposure.days[0]
    assert (first.day, first.opened, first.open_at_end, first.hours) == ("2026-07-01", 0, 1, 24.0)


def test_a_day_of_25_hours_exposes_for_25(ledger: SmallLedger) -> None:
    ledger.request("A", ANN, utc(2026, 10, 30))
    ledger.delivery("dialer", f"D/{ANN}", utc(2026, 10, 30), request="A", number=ANN)
    ledger.clock.advance(90 * 86_400)
    exposure = ledger.facts(span=period.quarter("2026Q4", "America/New_York")).exposure
    assert {d.day: d.hours for d in exposure.days if d.system}["2026-11-01"] == 25.0


def test_the_day_of_a_request_is_that_of_the_zone(ledger: SmallLedger) -> None:
    """03:30 UTC on 1 October is still the third quarter in New York, and not in UTC."""
    ledger.request("A", ANN, utc(2026, 10, 1, 3, 30))
    ledger.request("B", BOB, utc(2026, 10, 1, 4))
    assert ledger.facts().requests.total == 1
    assert ledger.facts(span=period.quarter("2026Q3", "UTC")).requests.total == 0


def test_what_came_after_the_period_is_in_no_figure_but_its_outcome(ledger: SmallLedger) -> None:
    """A request of the last minute, verified in the next quarter, is done."""
    last = utc(2026, 10, 1, 3, 59)
    ledger.request("A", ANN, last)
    ledger.delivery("dialer", f"D/{ANN}", last, request="A", number=ANN, accepted=1, verified=120)
    found = ledger.facts()
    assert (found.processing.open, found.processing.done.max_seconds) == (0, 120.0)
    assert found.exposure.days[91].open_at_end == 1


def test_repairs_with_their_causes(ledger: SmallLedger) -> None:
    one_quarter(ledger)
    key, later = f"D/{ANN}", JULY + 9 * DAY
    finding = {"id": f"cleared-there/dialer/{key}", "kind": "cleared-there", "subject": key, "due_at": later}
    finding |= {"severity": "warning", "owner": "compliance", "summary": "cleared", "detail": {}}
    ledger.record("finding.opened", later, finding, system="dialer")
    ledger.delivery("dialer", key, later, number=ANN, accepted=1, verified=6)
    ledger.delivery("crm", "c/1", later, number=ANN, accepted=1)
    kept = ledger.delivery("crm", "c/7", later, number=BOB, accepted=1)
    lost = {"contradicted": [{"id": kept, "due_at": later, "error": "read back: clear"}]}
    ledger.record("deliveries.contradicted", later + 2 * SECOND, lost, system="crm")
    repairs = ledger.facts().repairs
    assert [(r.system, r.cause, r.count, r.verified, r.open) for r in repairs.by_system] == [
        ("crm", "not kept", 1, 0, 1),
        ("crm", "record added later", 1, 1, 0),
        ("crm", "written again", 1, 0, 1),
        ("dialer", "cleared there", 1, 1, 0),
    ]
    assert repairs.count == 4
    assert repairs.by_system[3].mean_seconds == 6.0
    assert repairs.by_system[3].system == "dialer"
    listed = {repair.cause: repair for repair in repairs.listed}
    assert ANN not in listed["cleared there"].key, "a list entry's key is a phone number"
    assert listed["written again"].proof == "not confirmed"


def test_gaps_are_outages_and_coverage_not_kept(ledger: SmallLedger) -> None:
    ledger.system("crm", utc(2026, 6, 1), snapshot=utc(2026, 6, 2))
    ledger.system("crm", JULY, "down", "no answer")
    ledger.system("crm", JULY + HOUR)
    ledger.system("dialer", utc(2026, 6, 1), "unauthorised", "401")
    ledger.holding("crm", "c/1", ANN, voice="clear", sms="clear", seen=utc(2026, 6, 2, 1))
    found = ledger.facts().gaps.listed
    assert [(g.system, g.kind, g.seconds, g.reason) for g in found[:2]] == [
        ("dialer", "unauthorised", (utc(2026, 10, 1, 4) - utc(2026, 6, 1)) / SECOND, "401"),
        ("crm", "down", 3600.0, "no answer"),
    ]
    assert (found[2].system, found[2].kind) == ("crm", "not compared")
    assert "1 of 1 holdings not compared within the last 3 days" in found[2].reason


def test_findings_have_their_history_and_weeks(ledger: SmallLedger) -> None:
    one_quarter(ledger)
    finding = {"id": "late/crm/crm", "kind": "late", "subject": "crm", "severity": "page", "due_at": JULY}
    finding |= {"owner": "compliance", "summary": f"{ANN} is late", "detail": {}}
    sunday = utc(2026, 7, 13, 3)  # 12 July, 23:00 in New York
    ledger.record("finding.opened", sunday, finding, system="crm")
    ledger.record("finding.opened", sunday + 2 * HOUR, {**finding, "returned": "soon"}, system="crm")
    ledger.record("finding.closed", sunday + DAY, {"id": "late/crm/crm", "by": "in time again"}, system="crm")
    old = {**finding, "id": "late/dialer/dialer", "subject": "dialer"}
    ledger.record("finding.opened", utc(2026, 5, 1), old, system="dialer")
    findings = ledger.facts().findings
    assert (findings.total, findings.open, findings.opened, findings.closed) == (2, 1, 2, 1)
    assert [(w.week, w.opened) for w in findings.weeks] == [("2026-07-06", 1), ("2026-07-13", 1)]
    mine = next(f for f in findings.listed if f.system == "crm")
    assert [moment.what for moment in mine.history] == ["opened", "came back", "closed"]
    assert (mine.closed_by, mine.count, mine.moments) == ("in time again", 2, 3)
    assert ANN not in mine.summary


def test_every_system_has_its_line(ledger: SmallLedger) -> None:
    """Also one that was never connected, one that is down, and one that is not configured any more."""
    ledger.system("crm", JULY, "down", "no answer")
    ledger.system("gone", JULY)
    platforms = {platform.system: platform for platform in ledger.facts().platforms}
    assert set(platforms) == {"crm", "dialer", "gone", "texts"}
    assert platforms["dialer"].could_not_be_read == "it was never connected"
    assert platforms["dialer"].comparison is None
    assert str(platforms["crm"].could_not_be_read).startswith(
        "down since 2026-07-10T12:00:00+00:00: no answer"
    )
    assert platforms["crm"].comparison is not None, "compared as last read"
    assert (platforms["gone"].configured, platforms["gone"].vendor) == (False, "other")


def test_a_canary_is_a_line_even_where_there_is_none(ledger: SmallLedger) -> None:
    assert ledger.facts().canary.statement == "no canary is configured"
    begun = {"id": "K1", "key": "c/5", "channel": "voice", "hook_expected": False, "seen_within": 0}
    begun["legs"] = [
        {"system": "dialer", "expects": "verified", "why": "", "within": SECOND},
        {"system": "texts", "expects": "verified", "why": "", "within": SECOND},
    ]
    ledger.record("canary.begun", JULY, begun, system="crm", number=ANN, actor="schedule")
    ledger.record("canary.written", JULY + SECOND, {"id": "K1"}, system="crm")
    ledger.record("canary.leg", JULY + 5 * SECOND, {"id": "K1", "set_at": JULY + 4 * SECOND}, system="dialer")
    ledger.record("canary.leg", JULY + 9 * SECOND, {"id": "K1", "set_lost": 1}, system="texts")
    canary = ledger.facts(canary=True).canary
    assert [(p.origin, p.system, p.arrived, p.missed, p.max_seconds) for p in canary.pairs] == [
        ("crm", "dialer", 1, 0, 3.0),
        ("crm", "texts", 0, 1, None),
    ]
    assert canary.statement == "1 run; 1 arrivals missed"


def test_an_empty_ledger_has_a_report_too(ledger: SmallLedger) -> None:
    found = ledger.facts(systems={})
    assert (found.processing.requests, found.processing.done.count) == (0, 0)
    assert found.processing.done.mean_seconds is None
    assert (found.platforms, found.propagation, found.sample.requests) == ((), (), ())
    assert found.exposure.total_hours == 0.0
    assert len(found.exposure.days) == 92
    assert found.integrity.verified
    assert len(found.checklist) == 15


def test_every_query_gives_its_figures_by_hand(ledger: SmallLedger) -> None:
    """An auditor runs them with `dncsync ledger query`."""
    one_quarter(ledger)
    found = ledger.facts()
    for name, sql in found.queries.items():
        ledger.answer(sql)
        assert ":" not in sql.replace("://", ""), name
    (processing,) = ledger.answer(found.queries["processing"])
    assert processing[:3] == (5, 4, 1)
    (blocked,) = ledger.answer(found.queries["blocked"])
    assert blocked == (1, found.requests.blocked_at_end, 0)
    used = {row for check in found.checklist for row in check.queries}
    assert used <= set(found.queries)


def test_the_checklist_asks_people_only_for_what_it_cannot_know(ledger: SmallLedger) -> None:
    one_quarter(ledger)
    rows = ledger.facts().checklist
    assert [row.number for row in rows] == list(range(1, 16))
    for row in rows:
        assert (row.form is None) == (row.filled == "automatically")
    late = next(row for row in rows if row.item.startswith("Sample of 50"))
    assert late.good is False
    assert "1 past the strict and 1 past the federal deadline" in late.result


def test_the_sample_is_the_same_for_everybody(ledger: SmallLedger) -> None:
    import hashlib

    ids = [f"R{i:03}" for i in range(80)]
    for i, name in enumerate(ids):
        ledger.request(name, ANN, JULY + i * SECOND)
    sample = ledger.facts(seed=11).sample
    # As the rule says, by hand:
    by_hand = sorted(ids, key=lambda name: hashlib.sha256(f"11:{name}".encode()).hexdigest())[:50]
    assert [one.id for one in sample.requests] == by_hand
    assert (sample.population, len(sample.requests)) == (80, 50)
    assert [one.id for one in ledger.facts(seed=11).sample.requests] == by_hand
    assert [one.id for one in ledger.facts(seed=12).sample.requests] != by_hand


def test_a_sampled_request_shows_its_stamps(ledger: SmallLedger) -> None:
    one_quarter(ledger)
    sampled = {one.id: one for one in ledger.facts().sample.requests}
    assert set(sampled) == {"ANN", "BOB", "CLEO", "DAN", "EVE"}
    assert [one.verdict for one in (sampled["ANN"], sampled["BOB"], sampled["DAN"])] == [
        "in time",
        "over 24 hours",
        "legally late",
    ]
    ann = {stamp.system: stamp for stamp in sampled["ANN"].stamps}
    assert (ann["dialer"].seconds, ann["crm"].seconds, ann["dialer"].proof) == (2.0, 10.0, "verified")
    assert sampled["CLEO"].proof == "accepted, cannot be read"
    assert sampled["EVE"].proof == "verified"
    assert ANN not in str(sampled["ANN"])


def test_a_period_that_is_not_over_says_so(ledger: SmallLedger) -> None:
    ledger.system("dialer", JULY)
    ledger.clock.advance(-1)
    found = ledger.facts(span=period.days(date(2026, 10, 1), date(2026, 10, 31), "UTC"), systems=SYSTEMS)
    assert not found.period.over
    assert len(found.exposure.days) == 2
