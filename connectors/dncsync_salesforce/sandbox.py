"""A Salesforce org that speaks the REST API's wire protocol, with its quirks (sheet 15)."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from werkzeug.http import http_date
from werkzeug.wrappers import Request, Response

from dncsync.clock import Clock
from dncsync.model import Channel, Flag
from dncsync.testing.faults import FaultKind
from dncsync.testing.sandbox import Sandbox, Truth
from dncsync_salesforce.sandbox_answers import answer, error
from dncsync_salesforce.sandbox_bulk import BulkQueries
from dncsync_salesforce.sandbox_login import Sessions
from dncsync_salesforce.sandbox_people import People
from dncsync_salesforce.sandbox_query import Reading
from dncsync_salesforce.sandbox_schema import SandboxSchema
from dncsync_salesforce.sandbox_seed import Seeding, Shares
from dncsync_salesforce.sandbox_store import Store, guard
from dncsync_salesforce.sandbox_write import Writing

OLDEST, NEWEST = 31, 68
"""API versions that still answer (sheet 1.2)."""
LONGEST_URI = 16_384
DAY = 86_400.0


class SalesforceSandbox(Sandbox):
    """One org with one integration user.

    Options (all optional): what is UNCONFIRMED in the sheet is switchable here.

    - `lead_share` 0.1, `person_share` 0.1 (with `person_accounts=True`), `opted_out_share` 0.02,
      `shared_share` 0.01, `junk_share`, `extension_share` 0.005: the records to begin with
    - `sms_field`: API name of an SMS opt-out checkbox on contacts and leads, e.g. `SMSOptOut__c`
    - `reason_field`: API name of a text field on contacts and leads, e.g. `DNC_Reason__c`
    - `auth`: `client-credentials` or `jwt`, what `settings()` gives; the org takes both
    - `visibility_delay` seconds, or (least, most): how late a change shows up in SystemModstamp queries
    - `search_lag` 900 s, `sosl_match` `digits` or `words`
    - `page_size` 2000, `bulk_page_size`, `bulk_seconds` 1.0, `bulk` True, `bulk_counts` True,
      `bulk_charset` True
    - `daily_limit` 100,000; `per_app_usage` True: the usage header has its second part
    - `unknown_field_fails` `request` or `record`; `failed_ids` `absent`, `null` or `given`;
      `duplicate_result` True; `hidden_contact_writable` False
    - `history` True; `field_permissions` True; `tooling` True; `limits_readable` True
    - `instance_url`: another instance host than My Domain; `session_seconds` 7200; `warning`: a header's text
    """

    vendor = "salesforce"
    domain = "acme.my"
    client_id = "3MVG9sandboxConsumerKey"
    username = "dncsync@acme.example"

    def __init__(
        self, *, seed: int = 0, contacts: int = 0, clock: Clock | None = None, **options: Any
    ) -> None:
        super().__init__(seed=seed, contacts=contacts, clock=clock, **options)
        self.client_secret = f"consumer-secret-{seed}"
        self.org_id = _id("00D5g000000Acme")
        self.our_user = _id("0055g00000Dncsy")
        self.daily_limit = int(options.get("daily_limit", 100_000))
        self.locked: dict[str, int] = {}
        """Key -> how many more updates find the row locked."""
        self.validation_rule: set[str] = set()
        self.trigger_throws: set[str] = set()
        self.duplicate_rule: dict[str, bool] = {}
        """Key -> whether the rule may be overridden by allowSave."""
        self.resetting_trigger = False
        """Automation un-ticks the box again in the same transaction."""
        self.failing_jobs = 0
        """How many Bulk jobs will fail."""
        persons = bool(options.get("person_accounts", False))
        self.schema = SandboxSchema(
            self.faults,
            persons=persons,
            sms_field=str(options.get("sms_field", "")),
            reason_field=str(options.get("reason_field", "")),
            history=bool(options.get("history", True)),
        )
        shares = Shares(
            lead=float(options.get("lead_share", 0.1)),
            person=float(options.get("person_share", 0.1)) if persons else 0.0,
            opted_out=float(options.get("opted_out_share", 0.02)),
            shared=float(options.get("shared_share", 0.01)),
            junk=float(options.get("junk_share", 0.005)),
            extension=float(options.get("extension_share", 0.005)),
        )
        self.store = Store(self.schema, Seeding(seed, contacts, shares, self.clock.now()), self.clock.now)
        chance = random.Random(seed)  # noqa: S311 (a simulation, repeatable)
        late = options.get("visibility_delay", 0.0)
        least, most = late if isinstance(late, tuple | list) else (late, late)
        self.store.visibility_delay = lambda: chance.uniform(least, most)
        self.store.index_delay = float(options.get("search_lag", 900.0))
        self.people = People(self.store, self.schema)
        self.sessions = Sessions(self)
        self.reading = Reading(self)
        self.writing = Writing(self)
        self.bulk = BulkQueries(self)
        self.route("/services/data", self._versions)
        self._spent: deque[tuple[float, int]] = deque()
        self._key: rsa.RSAPrivateKey | None = None

    # --- what the kit asks ------------------------------------------------------------------------------

    def settings(self, url: str) -> tuple[dict[str, Any], dict[str, str]]:
        """As the kit says; option `auth` chooses the flow."""
        config: dict[str, Any] = {
            "vendor": "salesforce",
            "base_url": url,
            "domain": self.domain,
            "client_id": self.client_id,
        }
        if self.schema.sms_field:
            sms = {"sms": {"field": self.schema.sms_field}}
            config["flags"] = {"Contact": sms, "Lead": sms}
        if reason := self.schema.reason_field:
            config["reasons"] = {"Contact": reason, "Lead": reason}
        if self.options.get("auth") == "jwt":
            config["username"] = self.username
            return config, {"private_key": self.private_key()}
        return config, {"client_secret": self.client_secret}

    def truth(self, number: str) -> list[Truth]:
        """Over live records; converted leads and hidden contacts cannot be contacted, and are left out."""
        with self.lock:
            return [
                Truth(f"{sobject}/{row['Id']}", channel, Flag.SET if row[name] else Flag.CLEAR)
                for sobject, row in self.store.carriers(number)
                for channel, name in zip(
                    (Channel.VOICE, Channel.SMS), self.schema.flags(sobject), strict=False
                )
            ]

    def opt_out(self, number: str, **how: Any) -> str:
        """A user (`by`) ticks the box of `channel` on the first record with that number, or on a new
        contact. Our key of it."""
        with self.lock:
            return self.people.opt_out(number, **how)

    def undo(self, number: str, **how: Any) -> str:
        """A user (`by`) un-ticks the box of `channel` on the first record that has it ticked, and writes the
        `reason` in the same save (option `reason_field`). Our key."""
        with self.lock:
            return self.people.undo(number, **how)

    def add_contact(self, numbers: Iterable[str], **fields: Any) -> str:
        """A contact, or another `object`; values go to its phone fields in order. Our key of it."""
        with self.lock:
            return self.people.add(list(numbers), **fields)

    # --- what happens in the org ----------------------------------------------------------------------------

    def convert_lead(self, key: str, contact: str | None = None, **how: Any) -> str:
        """See `People.convert_lead`."""
        with self.lock:
            return self.people.convert_lead(key, contact, **how)

    def merge(self, winner: str, loser: str, **how: Any) -> None:
        """See `People.merge`."""
        with self.lock:
            self.people.merge(winner, loser, **how)

    def delete(self, key: str, **how: Any) -> None:
        """See `People.delete`."""
        with self.lock:
            self.people.delete(key, **how)

    def mass_update(self, sobject: str, count: int, **how: Any) -> str:
        """See `People.mass_update`."""
        with self.lock:
            return self.people.mass_update(sobject, count, **how)

    def record(self, key: str) -> dict[str, Any]:
        """The stored row behind one of our keys. Raises `KeyError`."""
        sobject, _, record_id = key.partition("/")
        with self.lock:
            row = self.store.get(sobject, record_id)
        if row is None:
            raise KeyError(key)
        return row

    def calls_of_a_day(self) -> int:
        """API calls of the last 24 hours, as the usage header counts them."""
        now = self.clock.monotonic()
        while self._spent and now - self._spent[0][0] > DAY:
            self._spent.popleft()
        return sum(calls for _, calls in self._spent)

    def spend(self, calls: int) -> None:
        """Another integration of the org makes so many calls."""
        self._spent.append((self.clock.monotonic(), calls))

    def private_key(self) -> str:
        """The PEM key whose certificate the app has (made when first asked for)."""
        return (
            self._signing()
            .private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            .decode()
        )

    def public_key(self) -> rsa.RSAPublicKey:
        """The certificate's key."""
        return self._signing().public_key()

    def _signing(self) -> rsa.RSAPrivateKey:
        if self._key is None:
            self._key = rsa.generate_private_key(65_537, 2_048)
        return self._key

    # --- every call ---------------------------------------------------------------------------------------

    def before(self, request: Request) -> Response | None:
        """Length, version, session, allocation: in the order in which the vendor looks at them."""
        path = request.path.rstrip("/")
        query = request.environ.get("QUERY_STRING", "")
        if len(request.path) + len(query) + 1 > LONGEST_URI:
            return Response("URI Too Long", 414, content_type="text/plain")
        if not path.startswith("/services/data/v"):
            return None
        version = path.removeprefix("/services/data/v").partition("/")[0]
        number = float(version) if version.replace(".", "", 1).isdigit() else 0.0
        if number < OLDEST:
            return error(410, "UNSUPPORTED_API_VERSION", "The requested resource is no longer available")
        if number > NEWEST:
            return self.not_found(request)
        refusal = self.sessions.check(request)
        if refusal is not None:
            return refusal
        if self.faults.take(FaultKind.LOST_PERMISSION, request.method, request.path):
            return error(403, "API_DISABLED_FOR_ORG", "API is not enabled for this Organization or Partner")
        if self.calls_of_a_day() >= self.daily_limit:
            return error(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        minute = self.clock.monotonic() // 60 * 60
        if self._spent and self._spent[-1][0] == minute:
            self._spent[-1] = (minute, self._spent[-1][1] + 1)
        else:
            self._spent.append((minute, 1))
        return None

    def after(self, request: Request, response: Response) -> Response:
        """Headers of every answer."""
        response.headers["Date"] = http_date(self.clock.now())
        if request.path.startswith("/services/data/v") and response.status_code not in (401, 410, 414):
            used = f"api-usage={self.calls_of_a_day()}/{self.daily_limit}"
            if self.options.get("per_app_usage", True):
                used += "; per-app-api-usage=17/250(appName=dncsync)"
            response.headers["Sforce-Limit-Info"] = used
            if warning := self.options.get("warning"):
                response.headers["Warning"] = f'299 - "{warning}"'
        return response

    def not_found(self, request: Request) -> Response:
        """As the API says it."""
        return error(404, "NOT_FOUND", "The requested resource does not exist")

    def _versions(self, request: Request) -> Response:
        fault = self.faults.take(FaultKind.UNLISTED_VERSION, request.method, request.path)
        unlisted = str(fault.params.get("version", "66.0")) if fault is not None else ""
        return answer(
            [
                {"label": f"Release {n}", "url": f"/services/data/v{n}.0", "version": f"{n}.0"}
                for n in range(OLDEST, NEWEST + 1)
                if f"{n}.0" != unlisted
            ]
        )

    def _act(self, request: Request) -> Response:
        """Besides the kit's: `convert_lead`, `merge`, `delete`, `mass_update`, `expire_sessions`."""
        how: Mapping[str, Any] = json.loads(request.get_data())
        act, given = how.get("act"), {name: value for name, value in how.items() if name != "act"}
        if act == "expire_sessions":
            self.sessions.expire()
            return answer({"id": None})
        if act in ("convert_lead", "merge", "delete", "mass_update"):
            return answer({"id": getattr(self, act)(**given)})
        return super()._act(request)


def _id(body: str) -> str:
    return body + guard(body)
