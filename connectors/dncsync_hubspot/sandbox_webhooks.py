"""The sandbox portal's webhooks: events in arrays of at most 100, signed as HubSpot signs them (sheet 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from dncsync.testing.sandbox import OutgoingWebhook
from dncsync_hubspot.sandbox_portal import Changed, Contact, Source
from dncsync_hubspot.sandbox_schema import REASON
from dncsync_hubspot.webhooks import signature_v1, signature_v3

if TYPE_CHECKING:
    from dncsync_hubspot.sandbox import HubSpotSandbox

MOST_EVENTS = 100


class Announcer:
    """Turns changes into webhooks for the subscriptions that the connector's README asks for."""

    def __init__(self, sandbox: HubSpotSandbox, options: Mapping[str, Any]) -> None:
        self._sandbox = sandbox
        self._signatures = str(options.get("signatures", "both"))
        self._type_key = str(options.get("event_key", "subscriptionType"))
        self._family = str(options.get("webhook_family", "contact"))
        self._creation_fires = bool(options.get("creation_fires_change", True))
        self._event = 0

    def changed(self, changes: Sequence[Changed]) -> None:
        """`propertyChange` for each subscribed property: it carries the new value and no old one."""
        subscribed = {*self._sandbox.channels().values(), "phone", "mobilephone", REASON}
        self.send(
            [
                self._made("propertyChange", one.contact, one.at, one.source)
                | {"propertyName": one.property, "propertyValue": one.value}
                for one in changes
                if one.property in subscribed
            ]
        )

    def created(self, contact: Contact, changes: Sequence[Changed], source: Source) -> None:
        """`creation`; whether `propertyChange` fires as well is UNCONFIRMED."""
        self.send([self._made("creation", contact.id, contact.created, source) | {"changeFlag": "NEW"}])
        if self._creation_fires:
            self.changed(changes)

    def one(self, what: str, contact: Contact) -> None:
        """`deletion`, `restore` or `privacyDeletion`."""
        source = Source.by("userId:28604240")
        self.send([self._made(what, contact.id, self._sandbox.portal.now(), source)])

    def merged(self, primary: Contact, loser: Contact, winner: Contact) -> None:
        """`merge`, with all ids that took part."""
        source = Source.by("userId:28604240")
        event = self._made("merge", winner.id, self._sandbox.portal.now(), source)
        event |= {
            "primaryObjectId": primary.id,
            "mergedObjectIds": [loser.id],
            "newObjectId": winner.id,
            "numberOfPropertiesMoved": len(winner.properties),
        }
        self.send([event])

    def send(self, events: Sequence[Mapping[str, Any]]) -> None:
        """In batches of 100, each one POST."""
        for start in range(0, len(events), MOST_EVENTS):
            self._sandbox.send_webhook(self.signed(orjson.dumps(events[start : start + MOST_EVENTS])))

    def signed(self, body: bytes) -> OutgoingWebhook:
        """A webhook with this body, signed for our listener's public URL."""
        sandbox = self._sandbox
        headers = {"Content-Type": "application/json", "User-Agent": "HubSpot Connect 2.0"}
        if self._signatures in ("both", "v3"):
            timestamp = str(sandbox.portal.now())
            headers["X-HubSpot-Request-Timestamp"] = timestamp
            headers["X-HubSpot-Signature-v3"] = signature_v3(
                sandbox.client_secret, "POST", sandbox.webhook_url, body, timestamp
            )
        if self._signatures in ("both", "v1"):
            headers["X-HubSpot-Signature-Version"] = "v1"
            headers["X-HubSpot-Signature"] = signature_v1(sandbox.client_secret, body)
        return OutgoingWebhook("POST", sandbox.webhook_url, headers, body)

    def _made(self, what: str, contact: int, at: int, source: Source) -> dict[str, Any]:
        self._event += 1
        event: dict[str, Any] = {
            "eventId": self._event,
            "subscriptionId": 25,
            "portalId": self._sandbox.portal_id,
            "appId": self._sandbox.app_id,
            "occurredAt": at,
            self._type_key: f"{self._family}.{what}",
            "attemptNumber": 0,
            "objectId": contact,
            "changeSource": source.type,
            "sourceId": source.id,
        }
        if self._family == "object":
            event |= {"objectTypeId": "0-1", "isSensitive": False}
        return event
