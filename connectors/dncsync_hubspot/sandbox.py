"""A HubSpot portal to test against: contacts, properties, search and webhooks as the vendor sheet has them.

Options (all keyword arguments; what the sheet marks UNCONFIRMED can be had either way):

* contacts: `opted_out_share`, `shared_every`, `junk_every`, `extension_every` (every so-manyth seeded contact
  shares a number, has junk or an extension in `mobilephone`; 0: none), `sms_property`, `companions`
* index: `index_lag` and `index_jitter` (seconds), `unknown_filter` (`400` or `empty`)
* limits: `burst` (calls in 10 s), `search_rate` (a second), `daily`, `limits` (False: none),
  `retry_after` (whether 429 carries Retry-After)
* answers: `empty_properties` (`null` or `omitted`), `echo_written` (does batch/update show what it wrote),
  `all_missing_status` (207 or 404), `partial_update` (whether trace ids make a batch/update fail by item),
  `merged_update` (`drop` or `error`: a merged-away id in a batch/update), `history_depth`, `noop_bumps`,
  `merge_makes_new_id`, `merge_fills_empty`, `api_source` (history's sourceType of API writes), `token_info`
  (whether a token's scopes can be asked)
* webhooks: `signatures` (`both`, `v3` or `v1`), `event_key` (`subscriptionType` or `eventType`),
  `webhook_family` (`contact` or `object`), `creation_fires_change`
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterable, Mapping
from email.utils import format_datetime
from typing import Any

import orjson
from werkzeug.wrappers import Request, Response

from dncsync.clock import Clock
from dncsync.model import Channel, Flag
from dncsync.testing.faults import FaultKind
from dncsync.testing.sandbox import Sandbox, Truth
from dncsync_hubspot import sandbox_answers as answers
from dncsync_hubspot.sandbox_batches import Batches
from dncsync_hubspot.sandbox_contacts import ContactCalls
from dncsync_hubspot.sandbox_portal import FIRST_ID, Contact, Portal, Source, e164
from dncsync_hubspot.sandbox_schema import COMPANIONS, REASON, Schema, checkbox, definition
from dncsync_hubspot.sandbox_webhooks import Announcer

READ, WRITE = "crm.objects.contacts.read", "crm.objects.contacts.write"
SCHEMA_READ, SCHEMA_WRITE = "crm.schemas.contacts.read", "crm.schemas.contacts.write"
NEEDED_SCOPES = (READ, WRITE, SCHEMA_READ)
CONTACTS = ("/crm/v3/objects/contacts", "/crm/objects/2026-03/contacts")
PROPERTIES = ("/crm/v3/properties/contacts", "/crm/properties/2026-03/contacts")


class HubSpotSandbox(Sandbox):
    """One portal with its contacts, limits, lags and quirks."""

    vendor = "hubspot"

    def __init__(
        self, *, seed: int = 0, contacts: int = 0, clock: Clock | None = None, **options: Any
    ) -> None:
        super().__init__(seed=seed, contacts=contacts, clock=clock, **options)
        self.portal_id = 62_515 + seed
        self.app_id = 1_160_452
        self.token = f"pat-na1-{uuid.UUID(int=0xD0C5_0000 + seed)}"
        self.client_secret = str(uuid.UUID(int=0x5EC2_0000 + seed))
        self.scopes = set(options.get("scopes", NEEDED_SCOPES))
        self.flag_property = "do_not_call"
        self.schema = Schema(lambda: self.faults, self.flag_property)
        self.sms_property: str | None = options.get("sms_property")
        if self.sms_property:
            self.schema.add(checkbox(self.sms_property))
        if options.get("companions"):
            for one in COMPANIONS.values():
                self.schema.add(definition(*one))
        self.portal = Portal(seed, contacts, self.clock, self.flag_property, options)
        self.announcer = Announcer(self, options)
        self.batches = Batches(self, options)
        self.contact_calls = ContactCalls(self, self.batches)
        self.limited = bool(options.get("limits", True))
        self.burst = int(options.get("burst", 190))
        self.search_rate = int(options.get("search_rate", 5))
        self.daily = int(options.get("daily", 625_000))
        self.api_source = Source(str(options.get("api_source", "INTEGRATION")), str(self.app_id))
        self._burst_calls: deque[float] = deque()
        self._search_calls: deque[float] = deque()
        self._day = ""
        self._spent = 0
        self._correlation = 0
        for base in CONTACTS:
            self.route(base, self.contact_calls.list_or_create, ("GET", "POST"))
            self.route(f"{base}/search", self.contact_calls.search, ("POST",))
            self.route(f"{base}/merge", self.contact_calls.merge, ("POST",))
            self.route(f"{base}/gdpr-delete", self.contact_calls.gdpr_delete, ("POST",))
            self.route(f"{base}/batch/read", self.batches.read, ("POST",))
            self.route(f"{base}/batch/update", self.batches.update, ("POST",))
            self.route(f"{base}/batch/create", self.batches.create, ("POST",))
            self.route(f"{base}/batch/archive", self.batches.archive, ("POST",))
            self.route(f"{base}/<contact_id>", self.contact_calls.one, ("GET", "PATCH", "DELETE"))
        for base in PROPERTIES:
            self.route(base, self._properties, ("GET", "POST"))
            self.route(f"{base}/<name>", self._property, ("GET", "PATCH", "DELETE"))
        for version in ("v3", "2026-03"):
            self.route(f"/account-info/{version}/details", self._account)
        self.route("/oauth/v2/private-apps/get/access-token-info", self._token_info, ("POST",))

    # --- the kit --------------------------------------------------------------------------------------

    def settings(self, url: str) -> tuple[dict[str, Any], dict[str, str]]:
        """A system that reads and writes the voice flag (and sms, where there is a property for it)."""
        flags = {"voice": {"property": self.flag_property}}
        if self.sms_property:
            flags["sms"] = {"property": self.sms_property}
        config: dict[str, Any] = {
            "vendor": self.vendor,
            "base_url": url,
            "app_id": str(self.app_id),
            "portal_id": str(self.portal_id),
            "flags": flags,
            "burst_limit": self.burst,
            "search_limit": self.search_rate,
            "empty_properties": self.batches.empty,
        }
        if self.options.get("companions"):
            config["companions"] = {option: name for option, (name, *_) in COMPANIONS.items()}
        return config, {"access_token": self.token, "client_secret": self.client_secret}

    def channels(self) -> dict[Channel, str]:
        """Channel -> stored property."""
        found = {Channel.VOICE: self.flag_property}
        if self.sms_property:
            found[Channel.SMS] = self.sms_property
        return found

    def truth(self, number: str) -> list[Truth]:
        """The stored flags of all living contacts that hold the number."""
        found: list[Truth] = []
        with self.lock:
            for one in self.portal.holders(number):
                contact = self.living(one)
                for channel, name in self.channels().items():
                    is_set = contact.properties.get(name) == "true"
                    found.append(Truth(str(one), channel, Flag.SET if is_set else Flag.CLEAR))
        return found

    def opt_out(self, number: str, **how: Any) -> str:
        """Somebody ticks the box in HubSpot's own screens. `by`: `userId:123`; `channel`; `key`: which
        contact, where several hold the number."""
        return self._tick(number, "true", **how)

    def undo(self, number: str, **how: Any) -> str:
        """Somebody takes the tick out; `reason`: what they write in the same save (option `companions`)."""
        return self._tick(number, "false", **how)

    def add_contact(self, numbers: Iterable[str], **fields: Any) -> str:
        """A contact typed into HubSpot: the first number is its phone, the second its mobile phone."""
        phones = dict(zip(("phone", "mobilephone"), numbers, strict=False))
        with self.lock:
            values = {name: str(value) for name, value in {**phones, **fields}.items()}
            return str(self.create(values, Source.by("userId:28604240")).id)

    # --- what people and other programs do there ----------------------------------------------------------

    def create(self, properties: Mapping[str, str], source: Source) -> Contact:
        """A new contact, with its webhooks."""
        contact, changed = self.portal.create(properties, source)
        self.announcer.created(contact, changed, source)
        return contact

    def change(self, contact: Contact, properties: Mapping[str, str], source: Source) -> None:
        """Writes stored properties, with webhooks."""
        self.announcer.changed(self.portal.change(contact, properties, source))

    def merge(self, primary: str, loser: str) -> str:
        """Merges two contacts in HubSpot's screens. The id of what is left."""
        with self.lock:
            return self.merge_contacts(self.living(int(primary)), self.living(int(loser)))

    def archive(self, key: str) -> str:
        """Into the recycle bin."""
        with self.lock:
            contact = self.living(int(key))
            self.portal.archive(contact)
            self.announcer.one("deletion", contact)
            return key

    def restore(self, key: str) -> str:
        """Out of the recycle bin."""
        with self.lock:
            contact = self.portal.get(int(key))
            assert contact is not None
            self.portal.restore(contact)
            self.announcer.one("restore", contact)
            return key

    def gdpr_delete(self, key: str) -> str:
        """Deleted for good."""
        with self.lock:
            contact = self.portal.get(int(key))
            assert contact is not None
            self.portal.purge(contact)
            self.announcer.one("privacyDeletion", contact)
            self.announcer.one("deletion", contact)
            return key

    def touch(self, count: int, start: int = 0) -> str:
        """A bulk job writes an unrelated property of `count` seeded contacts: all get one identical
        timestamp, and no webhooks are sent."""
        with self.lock:
            at = self.portal.now()
            for one in range(start, start + count):
                contact = self.living(FIRST_ID + one)
                self.portal.change(contact, {"jobtitle": f"bulk {at}"}, Source("BATCH_UPDATE"), at)
            return str(at)

    def rename_property(self, old: str, new: str) -> str:
        """As an admin "renames": the old property is archived, a new one holds what is entered later."""
        with self.lock:
            gone = self.schema.definitions.pop(old)
            self.schema.archived[old] = {**gone, "archived": True}
            self.schema.add({**gone, "name": new, "archived": False})
            return new

    def _act(self, request: Request) -> Response:
        how = orjson.loads(request.get_data())
        act = how.pop("act", "")
        if act not in ("merge", "archive", "restore", "gdpr_delete", "touch", "rename_property"):
            return super()._act(request)
        return answers.json({"id": getattr(self, act)(**how)})

    def _tick(self, number: str, value: str, **how: Any) -> str:
        source = Source.by(str(how.get("by", "userId:28604240")))
        values = {self.channels()[Channel(how.get("channel", "voice"))]: value}
        if "reason" in how:
            values[REASON] = str(how["reason"])
        with self.lock:
            holders = [int(how["key"])] if "key" in how else self.portal.holders(e164(number) or number)
            if not holders:
                return str(self.create({"phone": number, **values}, source).id)
            contact = self.living(holders[0])
            self.change(contact, values, source)
            return str(contact.id)

    def living(self, contact_id: int) -> Contact:
        contact = self.portal.survivor(contact_id)
        assert contact is not None
        assert contact.alive, f"contact {contact_id} is not there any more"
        return contact

    def merge_contacts(self, primary: Contact, loser: Contact) -> str:
        winner = self.portal.merge(primary, loser, Source.by("userId:28604240"))
        self.announcer.merged(primary, loser, winner)
        return str(winner.id)

    # --- before and after every call ------------------------------------------------------------------------

    def before(self, request: Request) -> Response | None:
        """Token, scopes, limits."""
        where = (request.method, request.path)
        if self.faults.take(FaultKind.EXPIRED_TOKEN, *where):
            return answers.unauthorised(self.next_correlation(), expired=True)
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return answers.unauthorised(self.next_correlation())
        limited = self._limit(request.path.endswith("/search")) if self.limited else None
        if limited is not None:
            return limited
        needed = _scopes(request)
        lost: set[str] = set()
        if (fault := self.faults.active(FaultKind.LOST_PERMISSION)) is not None:
            scopes = {str(fault.params.get("scope", WRITE))}
            if needed and needed <= scopes and self.faults.take(FaultKind.LOST_PERMISSION, *where):
                lost = scopes
        if needed and not needed & (self.scopes - lost):
            return answers.missing_scopes(self.next_correlation(), needed)
        stale = self.faults.active(FaultKind.STALE_INDEX)
        self.portal.index.stale = float(stale.params.get("seconds", 60.0)) if stale is not None else 0.0
        return None

    def after(self, request: Request, response: Response) -> Response:
        """The headers of sheet section 5.4; search answers carry no rate-limit headers (section 7)."""
        headers = response.headers
        headers["Date"] = format_datetime(self.clock.now(), usegmt=True)
        headers["Server"] = "cloudflare"
        headers["X-HubSpot-Correlation-Id"] = self.next_correlation()
        if not request.path.endswith("/search"):
            headers["X-HubSpot-RateLimit-Max"] = str(self.burst)
            headers["X-HubSpot-RateLimit-Remaining"] = str(max(0, self.burst - len(self._burst_calls)))
            headers["X-HubSpot-RateLimit-Interval-Milliseconds"] = "10000"
            headers["X-HubSpot-RateLimit-Daily"] = str(self.daily)
            headers["X-HubSpot-RateLimit-Daily-Remaining"] = str(max(0, self.daily - self._spent))
        return response

    def not_found(self, request: Request) -> Response:
        """A path that is not there, or not any more."""
        return Response("<html><body>404 Not Found</body></html>", 404, mimetype="text/html")

    def next_correlation(self) -> str:
        """A correlation id, the same for the same seed and call."""
        self._correlation += 1
        return str(uuid.UUID(int=(self.seed + 1) << 64 | self._correlation))

    def _limit(self, is_search: bool) -> Response | None:
        now = self.clock.monotonic()
        day = self.clock.now().date().isoformat()
        if day != self._day:
            self._day, self._spent = day, 0
        with_hint = bool(self.options.get("retry_after", False))
        if self._spent >= self.daily:
            return answers.limited("DAILY", self.next_correlation(), with_hint)
        calls, most, seconds = (
            (self._search_calls, self.search_rate, 1.0)
            if is_search
            else (self._burst_calls, self.burst, 10.0)
        )
        while calls and calls[0] <= now - seconds:
            calls.popleft()
        if len(calls) >= most:
            policy = "SECONDLY" if is_search else "TEN_SECONDLY_ROLLING"
            return answers.limited(policy, self.next_correlation(), with_hint)
        calls.append(now)
        self._spent += 1
        return None

    # --- schema and account ---------------------------------------------------------------------------------

    def _properties(self, request: Request) -> Response:
        if request.method == "POST":
            made = answers.body(request)
            if made["name"] in self.schema.definitions:
                return answers.conflict(self.next_correlation(), "A property with this name already exists")
            options = [(o["value"], o["label"]) for o in made.get("options") or []]
            one = definition(made["name"], made["type"], made["fieldType"], made["label"], options=options)
            self.schema.add(one)
            return answers.json(one, 201)
        if answers.is_true(request, "archived"):
            return answers.json({"results": list(self.schema.archived.values())})
        level = request.args.get("dataSensitivity", "non_sensitive")
        return answers.json({"results": [_public(one) for one in self.schema.visible(level).values()]})

    def _property(self, request: Request, name: str) -> Response:
        level = request.args.get("dataSensitivity", "non_sensitive")
        view = self.schema.visible(level)
        if answers.is_true(request, "archived"):
            view = dict(self.schema.archived)
        one = view.get(name)
        if one is None:
            return answers.no_such_property(self.next_correlation(), name)
        stored = one.get("internal", name)
        if request.method == "DELETE":
            self.schema.archived[stored] = {**self.schema.definitions.pop(stored), "archived": True}
            return Response(status=204)
        if request.method == "PATCH":
            self.schema.definitions[stored] |= answers.body(request)
            return answers.json(self.schema.definitions[stored])
        return answers.json(_public(one))

    def _token_info(self, request: Request) -> Response:
        """Whose token, and its scopes; option `token_info` False: as for tokens that have no such answer."""
        if not self.options.get("token_info", True):
            return self.not_found(request)
        more: set[str] = set()
        if (fault := self.faults.take(FaultKind.EXTRA_PERMISSION, request.method, request.path)) is not None:
            more = {str(fault.params.get("scope", SCHEMA_WRITE))}
        return answers.json(
            {
                "userId": 28_604_240,
                "hubId": self.portal_id,
                "appId": self.app_id,
                "scopes": sorted({"oauth", *self.scopes, *more}),
            }
        )

    def _account(self, request: Request) -> Response:
        return answers.json(
            {
                "portalId": self.portal_id,
                "accountType": "STANDARD",
                "timeZone": "US/Eastern",
                "companyCurrency": "USD",
                "additionalCurrencies": [],
                "utcOffset": "-05:00",
                "utcOffsetMilliseconds": -18_000_000,
                "uiDomain": "app.hubspot.com",
                "dataHostingLocation": "na1",
            }
        )


def _scopes(request: Request) -> set[str]:
    """Any one of them suffices (sheet 1.4); empty: none is needed."""
    path, method = request.path, request.method
    if path.startswith(("/account-info", "/oauth/")):
        return set()
    if "/properties/" in path:
        return {SCHEMA_WRITE} if method != "GET" else {SCHEMA_READ, READ, WRITE}
    reads = method == "GET" or path.endswith(("/search", "/batch/read"))
    return {READ} if reads else {WRITE}


def _public(one: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in one.items() if key not in ("internal", "yes_no")}
