"""Comparing a system with the ledger: each class and cause by example, and the ledger's will by chance."""

from __future__ import annotations

import random

from dncsync.ledger.sqlite import reading
from dncsync.model import Channel, Flag
from dncsync.reconcile.compare import Compared, Side, compare, keys_that_disagree
from dncsync.reconcile.slices import covered
from dncsync.sync.topology import SystemFacts
from dncsync.sync.will import desired
from integration.reconcile.small_ledger import DAY, JULY, SmallLedger
from integration.sync.vendors import crm, dialer

ANN, BOB, CLEO, DAN = "+12125550142", "+13125550177", "+14155550161", "+17135550119"
VOICE, SMS = Channel.VOICE, Channel.SMS
CRM = Side("crm", by_number=False, can_read=True, channels=frozenset({VOICE, SMS}))
DIALER = Side("dialer", by_number=True, can_read=True, channels=frozenset({VOICE}))
TEXTS = Side("texts", by_number=True, can_read=False, channels=frozenset({SMS}))


def compared(ledger: SmallLedger, side: Side) -> Compared:
    with reading(ledger.path) as conn:
        return compare(conn, side)


def causes(found: Compared) -> dict[str, int]:
    return {cause.tag: cause.holdings for cause in found.causes}


def test_every_class_of_a_record(ledger: SmallLedger) -> None:
    ledger.request("ANN", ANN, JULY)
    ledger.request("REC", None, JULY, at_vendor=("crm", "c/by-record"), channels=("voice",))
    ledger.holding("crm", "c/present", ANN, voice="set", sms="set")
    ledger.holding("crm", "c/missing", ANN, voice="clear", sms="clear")
    ledger.holding("crm", "c/different", ANN, voice="set", sms="clear")
    ledger.holding("crm", "c/no-sms-field", ANN, voice="set", sms="absent")
    ledger.holding("crm", "c/half-read", ANN, voice="clear")
    ledger.holding("crm", "c/no-field", ANN, voice="absent", sms="absent")
    ledger.holding("crm", "c/unread", ANN)
    ledger.holding("crm", "c/extra", BOB, voice="set", sms="clear")
    ledger.holding("crm", "c/quiet", BOB, voice="clear", sms="clear")
    ledger.holding("crm", "c/ended", ANN, voice="clear", sms="clear", gone=True)
    ledger.holding("crm", "c/by-record", BOB, voice="set", sms="clear")
    found = compared(ledger, CRM)
    assert found.counts == {
        "present": 3,
        "missing": 1,
        "extra": 1,
        "different": 3,
        "cannot_be_read": 1,
        "quiet": 1,
        "ended": 1,
    }
    assert found.holdings == 11
    assert found.samples["missing"] == ("c/missing",)
    assert found.samples["different"] == ("c/different", "c/half-read", "c/no-field")
    assert causes(found) == {
        "never delivered": 3,
        "field absent": 1,
        "not read yet": 1,
        "block nobody asked for": 1,
    }
    with reading(ledger.path) as conn:
        assert dict(keys_that_disagree(conn, CRM))["cannot_be_read"] == "c/unread"


def test_a_request_follows_its_record_to_the_survivor(ledger: SmallLedger) -> None:
    ledger.request("REC", None, JULY, at_vendor=("crm", "c/1"), channels=("voice",))
    ledger.holding("crm", "c/1", voice="set", sms="clear", gone=True, became="c/2")
    ledger.holding("crm", "c/2", gone=True, became="c/3", voice="clear", sms="clear")
    ledger.holding("crm", "c/3", voice="clear", sms="clear")
    assert compared(ledger, CRM).samples["missing"] == ("c/3",)


def test_causes_that_the_deliveries_tell(ledger: SmallLedger) -> None:
    ledger.request("ANN", ANN, JULY)
    for key in ("c/due", "c/later", "c/cleared", "c/kept"):
        ledger.holding("crm", key, ANN, voice="clear", sms="clear")
    ledger.delivery("crm", "c/due", JULY, request="ANN", number=ANN)
    ledger.delivery("crm", "c/later", JULY + DAY, request="ANN", number=ANN)
    ledger.delivery("crm", "c/cleared", JULY, request="ANN", accepted=1, verified=2)
    kept = ledger.delivery("crm", "c/kept", JULY, request="ANN", accepted=1)
    lost = {"contradicted": [{"id": kept, "due_at": JULY, "error": "read back: clear"}]}
    ledger.record("deliveries.contradicted", JULY + DAY, lost, system="crm")
    assert causes(compared(ledger, CRM)) == {
        "cleared there": 1,
        "not kept": 1,
        "delivery open": 1,
        "record added later": 1,
    }


def test_extra_ones_that_have_a_reason(ledger: SmallLedger) -> None:
    ledger.request("ANN", ANN, JULY)
    payload = {"id": "V", "channels": ["sms", "voice"], "reason": "r", "basis": "signed"}
    payload |= {"evidence_name": "e", "evidence_sha256": "0", "evidence_date": "2026-08-01"}
    ledger.record("reversal.recorded", JULY + DAY, payload, number=ANN, actor="a")
    ledger.holding("dialer", f"D/{ANN}", ANN, voice="set")
    found = compared(ledger, DIALER)
    assert causes(found) == {"reversed here": 1}
    assert ANN not in str(found)


def test_what_cannot_be_read_is_told_from_what_was_not_accepted(ledger: SmallLedger) -> None:
    ledger.request("ANN", ANN, JULY)
    ledger.request("BOB", BOB, JULY)
    ledger.holding("texts", f"MG1/{ANN}", ANN, told_sms="set")
    ledger.holding("texts", f"MG1/{BOB}", BOB)
    found = compared(ledger, TEXTS)
    assert (found.counts["cannot_be_read"], found.accepted) == (2, 1)
    assert causes(found) == {"nothing can be read": 2}


def test_a_restored_programme_is_not_wanted_and_another_is(ledger: SmallLedger) -> None:
    ledger.request("ANN", ANN, JULY)
    ledger.record("programme.restored", JULY + DAY, {"scope": "MG1"}, system="texts", number=ANN)
    ledger.holding("texts", f"MG1/{ANN}", ANN, sms="clear")
    ledger.holding("texts", f"MG1/sub/{ANN}", ANN, sms="clear")
    ledger.holding("texts", f"MG2/{ANN}", ANN, sms="clear")
    found = compared(ledger, Side("texts", by_number=True, can_read=True, channels=frozenset({SMS})))
    assert (found.counts["quiet"], found.counts["missing"]) == (1, 2)


def test_unreadable_numbers_are_counted_beside(ledger: SmallLedger) -> None:
    ledger.holding("crm", "c/1", voice="clear", sms="clear")
    ledger.cache("INSERT INTO quarantine VALUES ('crm', 'c/1', 'x12', 'not-a-number', 0)")
    found = compared(ledger, CRM)
    assert (found.unreadable_numbers, causes(found)) == (1, {"unreadable number": 1})
    assert found.counts["quiet"] == 1


def test_it_wants_what_the_engine_wants(ledger: SmallLedger) -> None:
    """Two hundred worlds' worth of holdings against `sync.will.desired`, the engine's own opinion."""
    chance = random.Random(5)
    people = [f"+1212555{i:04}" for i in range(12)]
    for i, number in enumerate(people[:8]):
        channels = chance.choice([("voice",), ("sms",), ("sms", "voice")])
        ledger.request(f"N{i}", number, JULY, channels=channels)
    for i in range(6):
        channels = chance.choice([("voice",), ("sms", "voice")])
        ledger.request(f"R{i}", None, JULY, at_vendor=("crm", f"c/{i * 7}"), channels=channels)
    for scope in ("L1", "L2"):
        ledger.record("programme.restored", JULY, {"scope": scope}, system="dialer", number=people[2])
    for i in range(80):
        mine = chance.sample(people, chance.randint(0, 3))
        became = f"c/{i + 1}" if chance.random() < 0.2 else None
        flags = {c: chance.choice(["set", "clear"]) for c in ("voice", "sms")}
        ledger.holding("crm", f"c/{i}", *mine, became=became, **flags)
    for scope in ("L1", "L2", "L3"):
        for number in people:
            flags = {c: chance.choice(["set", "clear"]) for c in ("voice", "sms")}
            ledger.holding("dialer", f"{scope}/{number}", number, **flags)
    both = frozenset({VOICE, SMS})
    for name, made, by_number in (("crm", crm, False), ("dialer", dialer, True)):
        can = made(name, ledger.clock).capabilities
        facts = SystemFacts(name, name, "US", can)
        side = Side(name, by_number, True, both)
        with reading(ledger.path) as conn:
            disagree = {key: what for what, key in keys_that_disagree(conn, side)}
            rows = conn.execute("SELECT key, base_voice, base_sms FROM holdings WHERE system = ?", (name,))
            for key, *flags in rows.fetchall():
                wants = [desired(conn, facts, key, c) is Flag.SET for c in (VOICE, SMS)]  # type: ignore[arg-type]
                shows = [flag == "set" for flag in flags]
                assert disagree.get(key) == expected(wants, shows), (name, key)
        assert set(disagree.values()) == {"missing", "extra", "different"}


def expected(wants: list[bool], shows: list[bool]) -> str | None:
    if not any(wants):
        return "extra" if any(shows) else None
    got = [show for want, show in zip(wants, shows, strict=True) if want]
    return None if all(got) else "different" if any(got) else "missing"


def test_coverage_counts_what_a_listing_left_out(ledger: SmallLedger) -> None:
    """A number that is on no list is known not to be there once the list was read in full."""
    now = JULY + 10 * DAY
    ledger.system("dialer", JULY, snapshot=now - DAY)
    ledger.holding("dialer", f"D/{ANN}", ANN, voice="set", seen=now - DAY)
    ledger.holding("dialer", f"D/{BOB}", BOB, voice="clear", seen=JULY)
    ledger.holding("dialer", f"D/{DAN}", DAN, seen=JULY)
    place_for_a_write = now - DAY // 2  # made after that reading
    ledger.holding("dialer", f"D/{CLEO}", CLEO, seen=place_for_a_write)
    with reading(ledger.path) as conn:
        able = {"by_number": True, "can_read": True, "can_list": True, "within": 3}
        said = covered(conn, now, "dialer", **able)  # type: ignore[arg-type]
        by_key = covered(conn, now, "dialer", **{**able, "can_list": False})  # type: ignore[arg-type]
    assert (said.compared, said.never, said.kept) == (3, 1, False)
    assert said.statement == "1 of 4 holdings not compared within the last 3 days, 1 of them never"
    assert by_key.compared == 1, "without a listing, only a reading of the key itself counts"
