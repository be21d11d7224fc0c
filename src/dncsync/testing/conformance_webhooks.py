"""Checks of webhooks: the vendor's own are taken; forged, stale and hostile ones are refused, calmly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

from dncsync.connector import Look, Statement, Webhook, WebhookRefused, WebhookRequest
from dncsync.model import Channel
from dncsync.testing.conformance_bench import WEBHOOK_URL, Bench, national
from dncsync.testing.conformance_check import Check, check
from dncsync.testing.conformance_facts import Broken, NotApplicable

FLIPS = 60
"""Bytes of each part that are flipped, spread evenly."""
HOSTILE: tuple[tuple[str, bytes], ...] = (
    ("empty", b""),
    ("a megabyte", b"A" * 1_000_000),
    ("not UTF-8", b"\xff\xfe\x00\x80" * 50),
    ("deep JSON", b"[" * 100_000 + b"]" * 100_000),
    ("a JSON string", b'"hello"'),
    ("a JSON number", b"1e999"),
    ("JSON null", b"null"),
    ("an empty object", b"{}"),
    ("an array of wrong types", b'[1, null, "x", [], {"objectId": {"a": []}, "subscriptionType": 7}]'),
    ("a lone surrogate", b'[{"objectId": "\\ud800", "From": "\\ud800"}]'),
    ("NaN", b'[{"objectId": NaN, "occurredAt": -1}]'),
    ("a form of wrong types", b"From=&From=&MessageSid=%00&Body=%ff%fe&OptOutType=MAYBE"),
)


def _sent(bench: Bench) -> tuple[str, WebhookRequest]:
    """An opted-out number and the webhook that the sandbox sends about it."""
    bench.sandbox.webhook_url = WEBHOOK_URL
    number = bench.pick(1, opted_out=False)[0]
    bench.sandbox.opt_out(number)
    caught = bench.webhooks()
    if not caught:
        raise Broken("the sandbox sends no webhook about an opt-out, though the connector declares webhooks")
    return number, caught[0]


def _parse(bench: Bench, request: WebhookRequest, how: str) -> Webhook | None:
    """The webhook, or None when it was refused in the proper way."""
    try:
        return bench.connector.parse_webhook(request)
    except WebhookRefused as refused:
        bench.said.append(f"refused {refused.status} {refused.reason}")
        if not 400 <= refused.status < 500:
            raise Broken(f"{how}: refused with {refused.status}, not a 4xx") from None
        if not refused.reason or "\n" in refused.reason or len(refused.reason) > 200:
            raise Broken(f"{how}: the refusal is not one clear line: {refused.reason!r}") from None
        return None
    except Exception as error:
        raise Broken(f"{how}: parse_webhook raised {type(error).__name__}: {error}") from error


def _must_be_refused(bench: Bench, request: WebhookRequest, how: str) -> None:
    if _parse(bench, request, how) is not None:
        raise Broken(f"{how}: taken as authentic")


@check("has_webhooks")
def its_own_webhooks_are_taken(bench: Bench) -> None:
    """Webhooks of the sandbox are authentic, tell of the number or its key, and cost no vendor call."""
    number, request = _sent(bench)
    before = len(bench.transport.sent)
    keys = {key for key, _ in bench.set_in_truth(number)}
    told = False
    for one in [request, *bench.webhooks()]:
        webhook = _parse(bench, one, "the sandbox's own webhook")
        if webhook is None:
            raise Broken(f"the sandbox's own webhook is refused: {bench.said[-1]}")
        for signal in webhook.signals:
            told = told or (isinstance(signal, Look) and signal.key in keys)
            told = told or (isinstance(signal, Statement) and national(signal.number) == national(number))
            if isinstance(signal, Statement) and (signal.at.tzinfo is None or not signal.ref):
                raise Broken("a statement without the vendor's id or without a time zone")
    if not told:
        raise Broken("no webhook tells of the number that was opted out, nor of its key")
    if len(bench.transport.sent) != before:
        raise Broken("parse_webhook called the vendor; a webhook must be committed before anything is asked")


@check("has_webhooks")
def statements_name_a_declared_channel(bench: Bench) -> None:
    """What a webhook says was said, was said on a channel that the connector declares."""
    _, request = _sent(bench)
    webhook = _parse(bench, request, "the sandbox's own webhook")
    said: set[Channel] = {s.channel for s in (webhook.signals if webhook else ()) if isinstance(s, Statement)}
    if not said <= bench.capabilities.channels:
        raise Broken(f"a statement on {said}, declared are {sorted(bench.capabilities.channels)}")


def _spread(length: int) -> Iterator[int]:
    step = max(1, length // FLIPS)
    yield from range(0, length, step)


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@check("has_webhooks")
def a_forged_body_is_refused(bench: Bench) -> None:
    """Any flipped byte of the body is noticed, as is a body cut short or grown."""
    _, request = _sent(bench)
    if "body" not in bench.facts.covered_by_signature or not request.body:
        raise NotApplicable("the vendor does not sign bodies")
    for at in _spread(len(request.body)):
        forged = replace(request, body=_flipped(request.body, at))
        _must_be_refused(bench, forged, f"byte {at} of the body flipped")
    _must_be_refused(bench, replace(request, body=request.body[:-1]), "body cut short")
    _must_be_refused(bench, replace(request, body=request.body + b"&x=1"), "body grown")


@check("has_webhooks")
def a_forged_signature_is_refused(bench: Bench) -> None:
    """Any flipped byte of what authenticates a webhook is refused, as are its absence and odd text."""
    _, request = _sent(bench)
    proofs = [name for name in request.headers if _is_proof(bench, request, name)]
    hidden = [s for s in bench.secrets.values() if s in request.url]
    if not proofs and not hidden:
        raise Broken("nothing in the webhook's headers or URL authenticates it")
    for name in proofs:
        value = request.headers[name].encode("latin-1")
        for at in _spread(len(value)):
            headers = {**request.headers, name: _flipped(value, at).decode("latin-1")}
            _must_be_refused(bench, replace(request, headers=headers), f"byte {at} of header {name} flipped")
        for odd in ("", "é" * 8, "\x00", value.decode("latin-1") + "=", "9" * 400):
            headers = {**request.headers, name: odd}
            _must_be_refused(bench, replace(request, headers=headers), f"header {name} of odd text")
    for secret in hidden:
        for at in _spread(len(secret)):
            url = request.url.replace(secret, _flipped(secret.encode(), at).decode())
            _must_be_refused(bench, replace(request, url=url), f"byte {at} of the URL's secret flipped")
        for odd in ("", "%00", "%C3%A9"):
            _must_be_refused(bench, replace(request, url=request.url.replace(secret, odd)), "odd secret")


def _is_proof(bench: Bench, request: WebhookRequest, name: str) -> bool:
    """Whether a webhook without this header is refused."""
    headers = {n: v for n, v in request.headers.items() if n != name}
    return _parse(bench, replace(request, headers=headers), f"without header {name}") is None


@check("has_webhooks")
def a_forged_url_is_refused(bench: Bench) -> None:
    """A webhook signed for one URL is not taken at another."""
    _, request = _sent(bench)
    if "url" not in bench.facts.covered_by_signature:
        raise NotApplicable("the vendor does not sign URLs")
    start = request.url.index(urlsplit(request.url).path)
    for at in _spread(len(request.url) - start):
        url = _flipped(request.url.encode(), start + at).decode()
        _must_be_refused(bench, replace(request, url=url), f"byte {start + at} of the URL flipped")
    _must_be_refused(
        bench, replace(request, url=request.url.replace("https://", "https://not-")), "other host"
    )


@check("has_webhooks")
def a_stale_webhook_is_refused(bench: Bench) -> None:
    """Where the vendor signs a time, a webhook from an hour ago, or an hour ahead, is refused."""
    _, request = _sent(bench)
    signs = bench.facts.signs_time
    if signs is None:
        signs = any("timestamp" in name for name in request.headers)
    if not signs:
        raise NotApplicable("the vendor signs no time")
    for away in (timedelta(hours=1), timedelta(hours=-1)):
        aged = replace(request, received_at=request.received_at + away)
        _must_be_refused(bench, aged, f"received {away} after it was signed")


@check("has_webhooks")
def a_replay_has_the_same_nonce(bench: Bench) -> None:
    """The same webhook gives the same nonce, so that it is taken once; another one gives another."""
    number, request = _sent(bench)
    first = _parse(bench, request, "a webhook")
    again = _parse(bench, request, "the same webhook")
    if first is None or again is None:
        raise Broken("the sandbox's own webhook is refused")
    if not first.nonce or first.nonce != again.nonce:
        raise Broken(f"a replayed webhook has the nonces {first.nonce!r} and {again.nonce!r}")
    bench.clock.advance(5)
    bench.webhooks()
    bench.sandbox.opt_out(next(n for n in bench.pick(2, opted_out=False) if n != number))
    for other in bench.webhooks():
        webhook = _parse(bench, other, "another webhook")
        if webhook is not None and webhook.nonce == first.nonce:
            raise Broken("two different webhooks share a nonce; the second would be dropped")


@check("has_webhooks")
def hostile_bodies_are_refused(bench: Bench) -> None:
    """Empty, huge, deep, ill-typed or undecodable bodies, unsigned or signed: a 4xx or nothing to say."""
    _, request = _sent(bench)
    sign = bench.facts.sign
    for name, body in HOSTILE:
        unsigned = replace(request, body=body)
        if "body" in bench.facts.covered_by_signature:
            _must_be_refused(bench, unsigned, f"{name}, with another body's signature")
        else:
            _parse(bench, unsigned, name)
        _must_be_refused(bench, replace(unsigned, headers={}, url=WEBHOOK_URL), f"{name}, without headers")
        if sign is not None:
            headers = {
                k.lower(): v for k, v in sign(bench.sandbox, request.method, request.url, body).items()
            }
            signed = replace(unsigned, headers={**request.headers, **headers})
            webhook = _parse(bench, signed, f"{name}, well signed")
            if webhook is not None and webhook.signals and name in ("empty", "a megabyte", "not UTF-8"):
                raise Broken(f"{name}, well signed: signals were made of nothing: {webhook.signals}")


CHECKS: tuple[Check, ...] = (
    its_own_webhooks_are_taken,
    statements_name_a_declared_channel,
    a_forged_body_is_refused,
    a_forged_signature_is_refused,
    a_forged_url_is_refused,
    a_stale_webhook_is_refused,
    a_replay_has_the_same_nonce,
    hostile_bodies_are_refused,
)
