"""A sample of requests that anybody can pick again from the seed, in any language."""

from __future__ import annotations

import hashlib
import heapq
from typing import Any

from dncsync.model import ProofLevel
from dncsync.numbers import mask, mask_text
from dncsync.reconcile.about_requests import ASKED, DONE, TIMES
from dncsync.reconcile.asking import Asking, json_list
from dncsync.reconcile.facts import Sample, SampledRequest, SampleStamps

SIZE = 50
"""Checklist of seed 002: a sample of 50 recent requests."""

RULE = (
    "Write the seed in decimal, a colon and the request's id; take the SHA-256 of that text. The sample is "
    "the {size} requests received in the period whose hashes, read as hexadecimal text, sort first."
)

_POPULATION = f"WITH {ASKED} SELECT id FROM asked ORDER BY id"  # noqa: S608

_PICKED = f"""WITH {TIMES}
SELECT t.id, t.number, t.origin_system AS system, t.source, t.channel, t.occurred_at, t.received_at,
  t.recorded_at, t.deadline_strict, t.deadline_federal, t.done_at,
  d.system AS written_system, d.key, d.channel AS written_channel, d.known_at, d.sent_at, d.accepted_at,
  CASE WHEN d.verified_at <= :as_of THEN d.verified_at END AS verified_at, {DONE} AS written_at
FROM times t LEFT JOIN deliveries d ON d.request_id = t.id AND d.want = 'set'
  AND d.state NOT IN ('superseded', 'moot') AND d.event_seq <= :head
WHERE t.id IN (SELECT value FROM json_each(:picked))
ORDER BY t.id, d.id"""  # noqa: S608


def sample(ask: Asking, seed: int, by_number: frozenset[str], size: int = SIZE) -> Sample:
    """`size` requests of the period with their stamps. `by_number`: systems whose keys are phone numbers."""
    population = [row["id"] for row in ask.rows("population", _POPULATION)]
    picked = heapq.nsmallest(size, population, key=lambda request: (_place(seed, request), request))
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in ask.rows("sample", _PICKED, picked=json_list(sorted(picked))):
        rows.setdefault(row["id"], []).append(row)
    return Sample(
        seed=seed,
        size=size,
        population=len(population),
        rule=RULE.format(size=size),
        requests=tuple(_request(rows[request], ask.value("as_of"), by_number) for request in picked),
        query="sample",
    )


def _place(seed: int, request: str) -> str:
    return hashlib.sha256(f"{seed}:{request}".encode()).hexdigest()


def _request(rows: list[dict[str, Any]], as_of: int, by_number: frozenset[str]) -> SampledRequest:
    first = rows[0]
    stamps = tuple(_stamps(row, by_number) for row in rows if row["written_system"] is not None)
    done, received = first["done_at"], first["received_at"]
    seconds = None if done is None else round(max(done - received, 0) / 1e6, 3)
    proofs = {stamp.proof for stamp in stamps}
    order = (ProofLevel.UNCONFIRMED, ProofLevel.ACCEPTED, ProofLevel.VERIFIED)
    names = (
        "id", "system", "source", "channel", "occurred_at", "received_at", "recorded_at", "deadline_strict",
        "deadline_federal",
    )  # fmt: skip
    return SampledRequest(
        number=None if first["number"] is None else mask(first["number"]),
        stamps=stamps,
        seconds=seconds,
        verdict=_verdict(first, as_of),
        proof=str(next((level for level in order if level in proofs), ProofLevel.VERIFIED)),
        **{name: first[name] for name in names},
    )


def _verdict(row: dict[str, Any], as_of: int) -> Any:
    done = row["done_at"]
    when = as_of if done is None else done
    if when > row["deadline_federal"]:
        return "legally late"
    if when > row["deadline_strict"]:
        return "past the strict deadline"
    if done is None:
        return "open"
    return "over 24 hours" if done - row["received_at"] > 86_400_000_000 else "in time"


def _stamps(row: dict[str, Any], by_number: frozenset[str]) -> SampleStamps:
    done = row["written_at"]
    proof = ProofLevel.VERIFIED if row["verified_at"] is not None else ProofLevel.ACCEPTED
    return SampleStamps(
        system=row["written_system"],
        key=mask_text(row["key"]) if row["written_system"] in by_number else row["key"],
        channel=row["written_channel"],
        known_at=row["known_at"],
        sent_at=row["sent_at"],
        accepted_at=row["accepted_at"],
        verified_at=row["verified_at"],
        proof=str(ProofLevel.UNCONFIRMED if done is None else proof),
        seconds=None if done is None else round(max(done - row["received_at"], 0) / 1e6, 3),
    )
