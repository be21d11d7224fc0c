"""Facts made up for looking at reports: a quarter with its troubles, and a small one that went well."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from dncsync.reconcile import facts as f

HOUR = 3600
SECOND_US = 1_000_000
BOUNDS: Sequence[tuple[str, float | None]] = (
    ("up to 1 s", 1),
    ("1 to 5 s", 5),
    ("5 to 15 s", 15),
    ("15 to 60 s", 60),
    ("1 to 5 min", 300),
    ("5 to 15 min", 900),
    ("15 to 60 min", 3600),
    ("1 to 4 h", 14400),
    ("4 to 24 h", 86400),
    ("more than 24 h", None),
)
ITEMS = (
    ("Active registry subscription", "needs a person", "", "payment proof of the registry subscription"),
    ("Scrub logs cover every 31-day window", "automatically", "No gap in any area code.", ""),
    (
        "Sample 100 called numbers, none on the registry without EBR",
        "needs a person",
        "",
        "call logs of the quarter",
    ),
    ("Document violations", "automatically", "No contact after a block is on record.", ""),
    ("Export internal list and count", "automatically", "1,048,211 numbers were blocked at the end.", ""),
    ("List applied to all active campaigns", "in part", "Every list is bound.", "inventory of campaigns"),
    ("Processing time of recent requests", "automatically", "Median 41 s over all requests.", ""),
    (
        "List all platforms; verify sync",
        "in part",
        "5 connected, 4 read back.",
        "that no platform is missing here",
    ),
    ("Test: add on A, appears on B; time", "automatically", "52 canary runs, 51 arrived.", ""),
    ("Time to sync under 24 h", "automatically", "Slowest 3 h 12 min.", ""),
    (
        "STOP and UNSUBSCRIBE tests, nothing sent after",
        "needs a person",
        "",
        "result of the vendor's sandbox",
    ),
    ("Training, refresher within 12 months", "needs a person", "", "export of training records"),
    (
        "Policy current, accessible, reflects practice",
        "in part",
        "Policy unchanged since 2026-01-01.",
        "sign-off",
    ),
    (
        "Findings, remediation, sign-off",
        "in part",
        "3 findings are open; each has an owner.",
        "names, signatures",
    ),
    ("Demand-letter plan", "in part", "Freeze and export are one command each.", "root-cause text"),
)


def at(day: str, hour: float = 12.0) -> int:
    """Microseconds of an hour of a day, UTC."""
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() + hour * HOUR) * SECOND_US


def spread(count: int, median: float, slowest: float) -> f.Spread:
    if not count:
        return f.Spread(count=0, mean_seconds=None, median_seconds=None, p95_seconds=None, max_seconds=None)
    return f.Spread(
        count=count,
        mean_seconds=median * 1.4,
        median_seconds=median,
        p95_seconds=min(median * 6, slowest),
        max_seconds=slowest,
    )


def buckets(total: int, median: float) -> tuple[f.Bucket, ...]:
    weights = [
        1 / (1 + abs(place - (3 if median < 60 else 5)) ** 2 * 3.0) if place < 8 else 0.002
        for place in range(len(BOUNDS))
    ]
    counts = [int(total * weight / sum(weights)) for weight in weights]
    counts[3] += total - sum(counts)
    return tuple(
        f.Bucket(label=label, upto_seconds=upto, count=c)
        for (label, upto), c in zip(BOUNDS, counts, strict=True)
    )


def period(over: bool = True) -> f.Period:
    return f.Period(
        name="2026Q3",
        first_day="2026-07-01",
        last_day="2026-09-30",
        starts_at=at("2026-07-01", 4),
        ends_at=at("2026-10-01", 4),
        zone="America/New_York",
        as_of=at("2026-10-01", 9),
        over=over,
    )


def policy(reviewed: bool = False) -> f.Policy:
    return f.Policy(
        source="policy.toml",
        sha256="5f" * 32,
        effective_from="2026-01-01",
        reviewed_by="Ada Counsel" if reviewed else None,
        banner="" if reviewed else "This policy has not been reviewed by counsel.",
        values={
            "deadline.federal_days": "10 business days",
            "deadline.strict_days": "10 business days, no holidays left out",
            "goal.crm": "15 min",
            "goal.dialer": "60 s",
            "coverage.full_within_days": "3",
            "fuses.clears": "25 or 1 % in an hour",
        },
    )


def integrity(verified: bool = True) -> f.Integrity:
    return f.Integrity(
        ledger="7d1f1c1e-9a35-4a7e-8f56-0c9d1b6d3c11",
        software="dncsync 0.3.0",
        events=2_345_678,
        head_seq=2_345_678,
        head_hash="9b74c9897bac770ffc029102a200c5de" * 2,
        verified=verified,
        problems=() if verified else ("event 17: its hash is not that of its bytes",),
        checkpoints=92,
        latest_checkpoint=f.Checkpoint(
            seq=2_345_600, at=at("2026-10-01", 4), root="ab" * 32, public_key="cd" * 32
        ),
        query="integrity",
    )


def platform(
    name: str, vendor: str, role: str, wanted: int, seed: int, *, reads: bool = True, blind: str | None = None
) -> f.Platform:
    chance = random.Random(seed)
    missing, different, extra = (chance.randrange(0, 9) for _ in range(3)) if reads else (0, 0, 0)
    unread = wanted if not reads else 0
    present = 0 if not reads else wanted - missing - different
    cause = [
        f.Cause(tag="cleared there", holdings=missing, samples=("551234", "551240")),
        f.Cause(tag="not kept", holdings=different, samples=("003Qy00000abcDEIAY",)),
        f.Cause(tag="block nobody asked for", holdings=extra, samples=("+1•••••••0142",)),
        f.Cause(tag="nothing can be read", holdings=unread, samples=()),
    ]
    compared = f.Comparison(
        at=at("2026-09-30", 3),
        holdings=wanted + extra + 40_000 + 12,
        present=present,
        missing=missing,
        extra=extra,
        different=different,
        cannot_be_read=unread,
        quiet=40_000,
        ended=12,
        verified=present,
        accepted=unread,
        unconfirmed=missing + different,
        unreadable_numbers=chance.randrange(0, 4),
        causes=tuple(c for c in cause if c.holdings),
        samples={"missing": ("551234",)} if missing else {},
        event_seq=2_345_000 + seed,
        query="comparison",
    )
    never = blind is not None and seed % 2 == 1
    return f.Platform(
        system=name,
        vendor=vendor,
        account=f"{vendor}-{4_200_000 + seed}",
        role=role,
        unit="record" if role == "crm" else "number",
        channels=("voice", "sms") if role == "crm" else ("sms",) if role == "sms" else ("voice",),
        state="up" if blind is None else "unauthorised",
        state_since=at("2026-06-01") if blind is None else at("2026-09-12", 14.5),
        can_read=reads,
        can_list=reads,
        configured=True,
        comparison=None if never else compared,
        coverage=None
        if never
        else f.Coverage(
            within_days=3,
            holdings=compared.holdings,
            compared=compared.holdings if blind is None else 0,
            oldest_at=at("2026-09-28"),
            never=0,
            snapshot_at=at("2026-09-28"),
            at=at("2026-10-01"),
            kept=blind is None,
            statement="every holding compared within the last 3 days"
            if blind is None
            else f"not kept: {blind}",
            query="coverage",
        ),
        could_not_be_read=blind,
        last_full_comparison_at=None if never else at("2026-09-28"),
    )


def propagation(platforms: Sequence[f.Platform], writes: int) -> tuple[f.Propagation, ...]:
    made = []
    for place, p in enumerate(platforms):
        median = {"crm": 41.0, "dialer": 6.2, "sms": 3.1}.get(p.role, 20.0) + place
        open_ = 0 if p.could_not_be_read is None else writes // 20
        done = writes - open_
        made.append(
            f.Propagation(
                system=p.system,
                writes=writes,
                verified=done if p.can_read else 0,
                accepted=0 if p.can_read else done,
                unconfirmed=open_,
                spread=spread(done, median, 11_520.0 if place == 0 else 900.0 + place),
                proof="verified" if p.can_read else "accepted, cannot be read",
                buckets=buckets(done, median),
                over_goal=4_321 + place,
                query="propagation",
            )
        )
    return tuple(made)


def exposure(platforms: Sequence[f.Platform], seed: int, worst: float = 90.0) -> f.Exposure:
    chance = random.Random(seed)
    found: list[f.ExposureDay] = []
    total, most, worst_day = 0.0, -1.0, None
    for name in (None, *(p.system for p in platforms)):
        for step in range(92):
            day = date(2026, 7, 1) + timedelta(days=step)
            weekend = day.weekday() >= 5
            value = round(
                chance.random() * (4 if weekend else 18) + (worst if step in (73, 74, 75) else 0), 3
            )
            found.append(
                f.ExposureDay(
                    day=day.isoformat(),
                    system=name,
                    opened=int(value * 30),
                    open_at_end=int(value),
                    hours=value,
                )
            )
            if name is None:
                total += value
                if value > most:
                    most, worst_day = value, day.isoformat()
    return f.Exposure(days=tuple(found), worst_day=worst_day, total_hours=round(total, 3), query="exposure")


def sample(platforms: Sequence[f.Platform], size: int, population: int, seed: int) -> f.Sample:
    chance = random.Random(seed)
    picked = []
    for place in range(size):
        received = at("2026-07-01") + int(chance.random() * 91 * 86_400) * SECOND_US
        stamps = tuple(
            f.SampleStamps(
                system=p.system,
                key=f"{p.system[:2]}{chance.randrange(10**8)}",
                channel=p.channels[0],
                known_at=received,
                sent_at=received + 400_000,
                accepted_at=received + 900_000,
                verified_at=received + 2_000_000 if p.can_read else None,
                proof="verified" if p.can_read else "accepted, cannot be read",
                seconds=round(chance.random() * 60, 3),
            )
            for p in platforms[: 1 + place % 4]
        )
        picked.append(
            f.SampledRequest(
                id=f"req-{chance.getrandbits(48):012x}",
                number=f"+1•••••••{chance.randrange(100, 200):04d}",
                system=platforms[place % len(platforms)].system if place % 7 else None,
                source="keyword" if place % 3 else "field",
                channel="sms" if place % 3 else "voice",
                occurred_at=received - SECOND_US,
                received_at=received,
                recorded_at=received + 1000,
                deadline_strict=received + 14 * 86_400 * SECOND_US,
                deadline_federal=received + 15 * 86_400 * SECOND_US,
                stamps=stamps,
                seconds=max(s.seconds or 0.0 for s in stamps),
                verdict="in time",
                proof=min((s.proof for s in stamps), key=lambda proof: proof == "verified"),
            )
        )
    return f.Sample(
        seed=20263,
        size=size,
        population=population,
        rule="Requests of the period by the SHA-256 of seed and id, the 50 lowest.",
        requests=tuple(picked),
        query="sample",
    )


KINDS = (
    "field-renamed",
    "webhooks-quiet",
    "not-kept",
    "volume",
    "canary-missed",
    "credential-expiring",
    "unknown-key",
)


def findings(platforms: Sequence[f.Platform], many: int, seed: int, subject: str = "dnc_phone") -> f.Findings:
    chance = random.Random(seed)
    listed: list[f.Finding] = []
    weeks: dict[tuple[str, str], int] = {}
    for place in range(many):
        kind = KINDS[int(chance.random() ** 1.6 * len(KINDS))]
        system = platforms[place % len(platforms)].system
        opened = at("2026-07-01") + chance.randrange(90) * 86_400 * SECOND_US
        closed = None if place % 9 == 0 else opened + chance.randrange(1, 40) * HOUR * SECOND_US
        listed.append(
            f.Finding(
                id=f"{kind}/{system}/{subject}{place}",
                kind=kind,
                system=system,
                subject=f"{subject}{place}",
                severity=("page", "warning", "info")[place % 3],
                owner="" if place % 4 else "Grace Hopper",
                summary=f"the property {subject}{place} is gone; one of the same label is there",
                opened_at=opened,
                last_at=opened,
                count=1 + place % 5,
                closed_at=closed,
                closed_by=None if closed is None else "healed: the property is there again",
                history=(
                    f.FindingMoment(at=opened, what="opened", by="field contract", note=""),
                    f.FindingMoment(
                        at=opened + HOUR * SECOND_US, what="acknowledged", by="Grace Hopper", note="asked"
                    ),
                ),
                moments=2,
            )
        )
        day = datetime.fromtimestamp(opened // SECOND_US, UTC).date()
        week = (day - timedelta(days=day.weekday())).isoformat()
        weeks[week, kind] = weeks.get((week, kind), 0) + 1
    return f.Findings(
        total=many,
        open=sum(1 for one in listed if one.closed_at is None),
        opened=many,
        closed=sum(1 for one in listed if one.closed_at is not None),
        listed=tuple(listed[:500]),
        weeks=tuple(f.FindingsWeek(week=w, kind=k, opened=n) for (w, k), n in sorted(weeks.items())),
        query="findings",
        query_weeks="findings-by-week",
    )


def checklist() -> tuple[f.ChecklistRow, ...]:
    return tuple(
        f.ChecklistRow.model_validate(
            {
                "number": number,
                "item": item,
                "filled": filled,
                "result": result,
                "good": None if filled == "needs a person" else number != 14,
                "form": {"ask": f"State or attach: {ask}."} if ask else None,
                "queries": ("processing",) if result else (),
            }
        )
        for number, (item, filled, result, ask) in enumerate(ITEMS, 1)
    )


QUERIES = {
    "blocked": "SELECT count(DISTINCT number) AS numbers FROM blocks WHERE ended_seq IS NULL",
    "canary": "SELECT origin, system, count(*) AS runs FROM canary_runs GROUP BY origin, system",
    "comparison": "SELECT payload FROM events WHERE kind = 'reconcile.compared' ORDER BY seq",
    "coverage": "SELECT system, min(seen_at) AS oldest FROM holdings GROUP BY system",
    "exposure": "SELECT day, system, opened, hours FROM exposure WHERE day >= '2026-07-01' ORDER BY day",
    "findings": "SELECT id, kind, system, opened_at FROM findings WHERE opened_at < 1790841600000000",
    "findings-by-week": "SELECT week, kind, count(*) FROM findings GROUP BY week, kind ORDER BY week",
    "fuses": "SELECT * FROM fuses",
    "gaps": "SELECT system, since, until FROM gaps",
    "integrity": "SELECT seq, hex(hash) AS hash FROM events ORDER BY seq DESC LIMIT 1",
    "overrides": "SELECT * FROM overrides",
    "processing": "SELECT r.id, max(d.verified_at) - r.received_at AS took\nFROM requests r\n"
    "LEFT JOIN deliveries d ON d.request_id = r.id\n"
    "WHERE r.received_at >= 1782878400000000 AND r.received_at < 1790827200000000\n"
    "GROUP BY r.id ORDER BY took",
    "propagation": "SELECT system, verified_at - known_at AS took FROM deliveries ORDER BY system, took",
    "repairs": "SELECT * FROM deliveries WHERE cause IS NOT NULL",
    "repairs-by-system": "SELECT system, cause, count(*) FROM deliveries GROUP BY system, cause",
    "requests": "SELECT system, source, channel, count(*) FROM requests GROUP BY system, source, channel",
    "sample": "SELECT id FROM requests ORDER BY id",
}


def whole(
    platforms: Sequence[f.Platform],
    requests: int,
    *,
    still_open: int = 0,
    found: int = 24,
    sampled: int = 50,
    repaired: int = 60,
    worst: float = 90.0,
) -> f.Facts:
    """A report's facts over these systems."""
    accepted = requests // 5 if any(not p.can_read for p in platforms) else 0
    repairs = tuple(
        f.Repair(
            system=platforms[place % len(platforms)].system,
            key=f"55{place:05d}",
            channel="voice",
            cause="cleared there" if place % 3 else "record added later",
            request_id=f"req-{place:012x}",
            known_at=at("2026-08-01") + place * HOUR * SECOND_US,
            verified_at=None if place % 11 == 0 else at("2026-08-01") + (place * HOUR + 42) * SECOND_US,
            proof="not confirmed" if place % 11 == 0 else "verified",
        )
        for place in range(min(repaired, 200))
    )
    return f.Facts(
        run="rec-2026Q3-1",
        period=period(),
        policy=policy(),
        integrity=integrity(),
        headline=(
            "Genesys has not been readable since 2026-09-12; its 5 % newest writes are not confirmed.",
            "No request is legally late.",
            "Three findings are open, each with an owner.",
        ),
        platforms=tuple(platforms),
        requests=f.Requests(
            total=requests,
            rows=tuple(
                f.RequestsBySource(
                    system=p.system,
                    source="keyword" if p.role == "sms" else "field",
                    channel=p.channels[-1],
                    requests=requests // len(platforms),
                    provisional=place,
                    ended=2 * place,
                )
                for place, p in enumerate(platforms)
            ),
            blocked_at_start=948_733,
            blocked_at_end=1_048_211,
            reversals=522,
            query="requests",
            query_blocked="blocked",
        ),
        processing=f.Processing(
            requests=requests,
            done=spread(requests - still_open, 41.0, 11_520.0),
            open=still_open,
            confirmed=requests - still_open - accepted,
            accepted=accepted,
            nothing_to_write=requests // 50,
            over_24_hours=still_open,
            over_strict=0,
            over_federal=0,
            already_late=0,
            provisional=31,
            ended=522,
            query="processing",
        ),
        propagation=propagation(platforms, requests),
        exposure=exposure(platforms, 5, worst),
        sample=sample(platforms, sampled, requests, 11),
        repairs=f.Repairs(
            count=repaired,
            verified=sum(1 for r in repairs if r.verified_at is not None),
            by_system=tuple(
                f.RepairsBySystem(
                    system=p.system,
                    cause="cleared there",
                    count=12 + place,
                    verified=11 + place,
                    accepted=0,
                    open=1,
                    mean_seconds=42.0,
                    max_seconds=301.0,
                )
                for place, p in enumerate(platforms)
            ),
            listed=repairs,
            query="repairs",
            query_by_system="repairs-by-system",
        ),
        canary=f.Canary(
            configured=True,
            statement="52 runs, 51 arrived in every system that can be read",
            runs=52,
            pairs=tuple(
                f.CanaryPair(
                    origin=platforms[0].system,
                    system=p.system,
                    runs=13,
                    arrived=13 - (place == 1),
                    missed=int(place == 1),
                    pending=0,
                    median_seconds=7.0 + place,
                    max_seconds=65.0,
                    last_at=at("2026-09-29"),
                )
                for place, p in enumerate(platforms[1:])
            ),
            query="canary",
        ),
        gaps=f.Gaps(
            listed=tuple(
                f.Gap(
                    system=p.system,
                    kind=p.state if p.state != "up" else "down",
                    since=at("2026-09-12", 14.5),
                    until=None if p.could_not_be_read else at("2026-09-12", 16.25),
                    seconds=6300.0,
                    reason=p.could_not_be_read or "the vendor answered 503",
                )
                for p in platforms[-2:]
            ),
            query="gaps",
        ),
        findings=findings(platforms, found, 3),
        fuses=f.Fuses(
            available=True,
            statement="one fuse tripped, and its plan was rejected",
            tripped=(
                f.TrippedFuse(
                    id="fuse-1",
                    system=platforms[0].system,
                    direction="clears",
                    tripped_at=at("2026-08-19", 21),
                    changes=1204,
                    limit="25 or 1 % in an hour",
                    state="rejected",
                    decided_by=("Grace Hopper", "Ada Counsel"),
                    decided_at=at("2026-08-20", 14),
                    reason="a bulk edit in the CRM, not consent",
                ),
            ),
            query="fuses",
        ),
        overrides=f.Overrides(
            statement="one override was in force",
            listed=(
                f.Override(
                    id="ovr-1",
                    system=platforms[0].system,
                    key="551234",
                    attested_by="Ada Counsel",
                    document="written consent of 2026-05-04.pdf",
                    granted_at=at("2026-05-05"),
                    ends_at=at("2027-05-05"),
                ),
            ),
            query="overrides",
        ),
        checklist=checklist(),
        queries=QUERIES,
    )


def rich() -> f.Facts:
    """100,000 requests in five systems, one of which could not be read."""
    return whole(
        (
            platform("five9", "five9", "dialer", 612_404, 2, blind=None),
            platform(
                "genesys",
                "genesys",
                "dialer",
                88_012,
                4,
                blind="the token was refused (401) since 2026-09-12",
            ),
            platform("hubspot", "hubspot", "crm", 402_118, 6),
            platform("salesforce", "salesforce", "crm", 377_650, 8),
            platform("twilio", "twilio", "sms", 91_004, 10, reads=False),
        ),
        100_000,
        still_open=37,
    )


def calm() -> f.Facts:
    """A quarter in which all went well, small enough to look for every fact in the page."""
    one = platform("hubspot", "hubspot", "crm", 2_118, 6)
    assert one.comparison is not None
    kept = one.comparison.model_copy(
        update={
            "present": 2_118,
            "verified": 2_118,
            "missing": 0,
            "different": 0,
            "extra": 0,
            "unconfirmed": 0,
            "causes": (),
            "samples": {},
        }
    )
    made = whole(
        (one.model_copy(update={"comparison": kept}),), 12_345, found=4, sampled=3, repaired=3, worst=0.0
    )
    return made.model_copy(update={"policy": policy(reviewed=True)})
