"""One Twilio account: write and listen, never read back (vendor sheet section 1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dncsync.connector import (
    Capabilities,
    Change,
    Context,
    Failure,
    FailureKind,
    FieldCheck,
    FieldStatus,
    Looked,
    Page,
    Probe,
    Unit,
    VendorError,
    Webhook,
    WebhookRequest,
    Written,
)
from dncsync.model import Channel, Role
from dncsync_twilio import consents, doctor, inbound
from dncsync_twilio.client import LIMITS, TwilioClient
from dncsync_twilio.fields import Consent, consent_of, key_of
from dncsync_twilio.messages import MessageLog
from dncsync_twilio.senders import check_senders, read_senders
from dncsync_twilio.settings import TwilioSettings

NOT_READABLE = Failure(
    FailureKind.REJECTED,
    "Twilio has no way to read or list consents; they are accepted, not verified",
    "no-read",
)
DISABLED = Failure(
    FailureKind.UNAUTHORISED,
    'Consent API not enabled (consent_api = "disabled"): ask Twilio Support or sales for access to the '
    "Consent Management API; until then only the person's own STOP blocks here",
    consents.NOT_ENABLED,
)


class TwilioConnector:
    """See `dncsync.connector.Connector`. Keys are `SCOPE/+1...`, one per configured sender scope."""

    def __init__(self, settings: TwilioSettings, context: Context) -> None:
        self._settings = settings
        self._client = TwilioClient(settings, context)
        self._clock = context.clock
        self._log = MessageLog(self._client, settings)
        self.capabilities = Capabilities(
            unit=Unit.NUMBER,
            role=Role.SMS,
            channels=frozenset({Channel.SMS}),
            can_clear=settings.allow_opt_in,
            can_read=False,
            can_list=False,
            can_poll=settings.poll,
            has_webhooks=True,
            write_batch=consents.BATCH,
            read_batch=consents.BATCH,
            poll_every=settings.poll_every,
            limits=LIMITS,
        )

    def keys_for(self, number: str) -> tuple[str, ...]:
        """One key per scope: Twilio knows no account-wide opt-out (sheet section 4)."""
        return tuple(key_of(scope, number) for scope in self._settings.scopes)

    def changes(self, cursor: str | None) -> Iterator[Page]:
        """Statements from the message log; never holdings. With `poll = false` one empty page."""
        if not self._settings.poll:
            return iter((Page((), cursor or "", more=False),))
        return self._log.changes(cursor or None)

    def snapshot(self, cursor: str | None) -> Iterator[Page]:
        """Raises `VendorError`: there is no list. An empty one would look as if nobody were blocked."""
        raise VendorError(NOT_READABLE)

    def read(self, keys: Sequence[str]) -> Iterator[Looked]:
        """A failure for each key: there is no check of a single number either."""
        return (Looked(key, failure=NOT_READABLE) for key in keys)

    def find(self, number: str) -> Iterator[Looked]:
        """Nothing: Twilio holds no records."""
        return iter(())

    def write(self, changes: Sequence[Change]) -> Iterator[Written]:
        """Upserts consents. Accepted is all that can be said of them; an unknown outcome is mended by writing
        again, which is idempotent. Failures are values, one per change; nothing is raised."""
        if self._settings.consent_api == "disabled":
            yield from (Written(change.key, DISABLED) for change in changes)
            return
        now, scopes = self._clock.now(), self._settings.scopes
        opt_in = self._settings.allow_opt_in
        wanted = [consent_of(change, now, scopes, allow_opt_in=opt_in) for change in changes]
        outcomes = iter(consents.deliver(self._client, [w for w in wanted if isinstance(w, Consent)]))
        for change, want in zip(changes, wanted, strict=True):
            if isinstance(want, Failure):
                yield Written(change.key, want)
            else:
                outcome = next(outcomes)
                yield Written(change.key, outcome.failure, outcome.ref)

    def parse_webhook(self, request: WebhookRequest) -> Webhook:
        """An inbound message, a sender's status callback with 21610, or an Event Streams batch."""
        return inbound.parse_webhook(self._settings, request)

    def describe(self) -> tuple[FieldCheck, ...]:
        """Scopes against the account's senders, and what answers have held beyond the field contract."""
        checks = list(check_senders(self._settings, read_senders(self._client)))
        # Counted anew from here: what is not seen again was mended.
        odd = sorted(self._client.drift.items())
        self._client.drift.clear()
        for what, times in odd:
            checks.append(
                FieldCheck(
                    f"answers: {what}",
                    FieldStatus.CHANGED,
                    "answers as documented on 2026-11-21",
                    f"seen {times} time(s)",
                    "Compare Twilio's changelog with connectors/dncsync_twilio/fields.py",
                )
            )
        return tuple(checks)

    def probe(self) -> Probe:
        """Credentials, clock, permissions, and whether the Consent API answers; nothing is written."""
        return doctor.probe(self._settings, self._client)

    def close(self) -> None:
        """Lets go of connections."""
        self._client.close()
