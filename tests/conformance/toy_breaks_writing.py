"""Mistakes in writes, in bad weather and with webhooks; one toy connector each."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx

from conformance.toy_vendor import ToyConnector
from dncsync.connector import (
    Capabilities,
    Change,
    Failure,
    FailureKind,
    Looked,
    VendorError,
    Webhook,
    WebhookRefused,
    WebhookRequest,
    Written,
)
from dncsync.http import failure_of
from dncsync.model import Channel, Flag, Holding
from dncsync.testing.conformance_bench import WEBHOOK_URL

NO = Failure(FailureKind.REJECTED, "no")


# --- writes --------------------------------------------------------------------------------------------


class WritesNothing(ToyConnector):
    def write_all(self, changes: Sequence[Change]) -> Iterable[Written]:
        return [Written(change.key) for change in changes]


class AlreadyThereFails(ToyConnector):
    def write_all(self, changes: Sequence[Change]) -> Iterable[Written]:
        rows = {row["key"]: row for row in self.rows_of([change.key for change in changes])}
        there = {c.key for c in changes if c.key in rows and self.holding(rows[c.key]).flags == c.wants}
        done = super().write_all([change for change in changes if change.key not in there])
        return [*done, *(Written(key, failure=NO) for key in there)]


class NeverClears(ToyConnector):
    def item(self, change: Change) -> dict[str, Any]:
        return {"key": change.key} | {c: True for c, flag in change.wants.items() if flag is Flag.SET}


class WritesEveryChannel(ToyConnector):
    def item(self, change: Change) -> dict[str, Any]:
        return {"key": change.key, **dict.fromkeys(Channel, Flag.SET in change.wants.values())}


class OneBadItemFailsAll(ToyConnector):
    def write_all(self, changes: Sequence[Change]) -> Iterable[Written]:
        answers = list(super().write_all(changes))
        failed = next((written.failure for written in answers if written.failure), None)
        return [Written(change.key, failure=failed) for change in changes]


class CutsWrites(ToyConnector):
    def write(self, changes: Sequence[Change]) -> Iterator[Written]:
        size = self.capabilities.write_batch
        yield from self.write_all(changes[:size])
        yield from (Written(change.key) for change in changes[size:])


class RemembersWhatItWrote(ToyConnector):
    remembered: dict[str, Mapping[Channel, Flag]]

    def write(self, changes: Sequence[Change]) -> Iterator[Written]:
        self.remembered = {change.key: change.wants for change in changes}
        yield from super().write(changes)

    def read(self, keys: Sequence[str]) -> Iterator[Looked]:
        for looked in super().read(keys):
            known = getattr(self, "remembered", {}).get(looked.key)
            yield Looked(looked.key, Holding(looked.key, known)) if known else looked


# --- bad weather ---------------------------------------------------------------------------------------


def taking(code: str, as_kind: FailureKind | None) -> type[ToyConnector]:
    """A connector that takes write failures of one code (`network`, `timeout`, `500`, `unreadable`) for
    something else: None is success."""

    class Taking(ToyConnector):
        def unreadable(self, answer: httpx.Response) -> VendorError:
            return VendorError(Failure(FailureKind.UNKNOWN, "unreadable", "unreadable"))

        def write_all(self, changes: Sequence[Change]) -> Iterable[Written]:
            for written in super().write_all(changes):
                if written.failure is None or written.failure.code != code:
                    yield written
                elif as_kind is None:
                    yield Written(written.key)
                else:
                    yield Written(written.key, failure=Failure(as_kind, written.failure.message, code))

    return Taking


class RetriesWrites(ToyConnector):
    def post(self, items: Sequence[Mapping[str, Any]]) -> httpx.Response:
        for _ in range(3):
            try:
                return super().post(items)
            except VendorError as error:
                last = error
        raise last


class CallsAgainAtOnce(ToyConnector):
    hold_on_429 = False

    def post(self, items: Sequence[Mapping[str, Any]]) -> httpx.Response:
        answer = self.send("POST", "/write", json={"items": items})
        return super().post(items) if answer.status_code == 429 else answer


class LosesTheTime(ToyConnector):
    def failure_of(self, answer: httpx.Response) -> Failure:
        return replace(failure_of(answer), retry_after=None)


class HammersOn429(ToyConnector):
    hold_on_429 = False

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        for _ in range(30):
            try:
                return super().call(method, path, **options)
            except VendorError as error:
                last = error
                if error.failure.kind is not FailureKind.RATE_LIMITED:
                    break
        raise last


class LoginStorm(ToyConnector):
    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        for _ in range(30):
            try:
                return super().call(method, path, **options)
            except VendorError as error:
                last = error
                if error.failure.kind is not FailureKind.UNAUTHORISED:
                    break
        raise last


class LostPermissionIsAWhim(ToyConnector):
    def failure_of(self, answer: httpx.Response) -> Failure:
        failure = failure_of(answer)
        return replace(failure, kind=FailureKind.TRANSIENT) if answer.status_code == 403 else failure


class MissingIsClear(ToyConnector):
    def flag(self, row: Mapping[str, Any], channel: Channel) -> Flag:
        return Flag.SET if row.get(channel) else Flag.CLEAR


class AnyTypeWillDo(ToyConnector):
    def retyped(self, found: Mapping[str, Any]) -> bool:
        return False


class ReadOnlyWillDo(ToyConnector):
    def read_only(self, found: Mapping[str, Any]) -> bool:
        return False


class RepeatsTheVendor(ToyConnector):
    def failure_of(self, answer: httpx.Response) -> Failure:
        return failure_of(answer, message=answer.text)


# --- webhooks ------------------------------------------------------------------------------------------


class HearsNothing(ToyConnector):
    def events(self, body: bytes) -> list[dict[str, Any]]:
        return []


class VoiceOnly(ToyConnector):
    def declare(self) -> Capabilities:
        return replace(super().declare(), channels=frozenset({Channel.VOICE}))


class NoProof(ToyConnector):
    def look_at_proof(self, request: WebhookRequest, stamp: str) -> None:
        if "x-toy-signature" not in request.headers:
            raise WebhookRefused(401, "no signature")


class ProofByPrefix(ToyConnector):
    def same(self, proof: str, given: str) -> bool:
        return bool(given) and proof.startswith(given[:8])


class ProofRaises(ToyConnector):
    def same(self, proof: str, given: str) -> bool:
        import hmac

        return hmac.compare_digest(proof, given)  # TypeError for text that is no ASCII


class OwnIdeaOfTheUrl(ToyConnector):
    def url_of(self, request: WebhookRequest) -> str:
        return WEBHOOK_URL


class AgelessWebhooks(ToyConnector):
    def look_at_age(self, request: WebhookRequest, stamp: str) -> None:
        pass


class NonceByChance(ToyConnector):
    def nonce(self, request: WebhookRequest) -> str:
        return uuid.uuid4().hex


class OneNonceForAll(ToyConnector):
    def nonce(self, request: WebhookRequest) -> str:
        return "nonce"


class TrustsBodies(ToyConnector):
    def events(self, body: bytes) -> list[dict[str, Any]]:
        return list(json.loads(body)["events"])


class AnswersFiveHundred(ToyConnector):
    def parse_webhook(self, request: WebhookRequest) -> Webhook:
        try:
            return super().parse_webhook(request)
        except WebhookRefused as refused:
            raise WebhookRefused(500, refused.reason) from None
