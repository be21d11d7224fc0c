"""A VICIdial on one machine: its Non-Agent API, the list download page, and agents who disposition calls."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields as fields_of
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from werkzeug.wrappers import Request, Response

from dncsync.clock import Clock
from dncsync.model import Channel, Flag
from dncsync.testing.faults import FaultKind
from dncsync.testing.sandbox import OutgoingWebhook, Sandbox, Truth
from dncsync_vicidial.sandbox_api import INTERNAL, PATH, NonAgentApi
from dncsync_vicidial.sandbox_login import Refused, Users
from dncsync_vicidial.sandbox_options import Options
from dncsync_vicidial.sandbox_store import Store

DNC_STATUSES = ("DNC", "DNCL", "DNCC")
"""Stock statuses with `dnc=Y` (section 6)."""

_EMPTY = {
    "en": ("There are no phone numbers in list: ", "There are no leads in Campaign DNC list: "),
    "es": ("No hay números de teléfono en la lista: ", "No hay clientes en la lista DNC de la campaña: "),
}


class VicidialSandbox(Sandbox):
    """Options are those of `sandbox_options.Options`; as `site` they may be changed while it runs."""

    vendor = "vicidial"

    def __init__(
        self, *, seed: int = 0, contacts: int = 0, clock: Clock | None = None, **options: Any
    ) -> None:
        super().__init__(seed=seed, contacts=contacts, clock=clock, **options)
        known = {field.name for field in fields_of(Options)}
        if unknown := sorted(set(options) - known):
            raise TypeError(f"unknown options {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        self.site = Options(**options)
        self.store = Store(self.clock)
        self.users = Users(self.clock, self.site)
        self.api = NonAgentApi(self.clock, self.site, self.users, self.store, lambda: self.faults, self.calls)
        self.secrets_in_urls = 0
        """Calls that had the password in their URL, where the web server would log it."""
        self._calls_made = 0
        self.url_log: list[str] = []
        """`vicidial_url_log`: Dispo Call URLs that were called."""
        self.store.seed(
            seed,
            contacts,
            lists=self.site.lists,
            campaign=self.site.campaigns[0] if self.site.campaigns else "",
            opted_out_share=self.site.opted_out_share,
            shared_share=self.site.shared_share,
            country_code_share=self.site.country_code_share,
            wildcards=self.site.wildcards,
            prefix="1" if self.site.lead_form == "international" else "",
        )
        self.route(PATH, self._non_agent_api, methods=("GET", "POST"))
        self.route("/vicidial/list_download.php", self._list_download)

    def settings(self, url: str) -> tuple[dict[str, Any], dict[str, str]]:
        config = {
            "vendor": self.vendor,
            "base_url": url.rstrip("/"),
            "user": self.site.user,
            "lists": list(self.site.lists),
            "number_form": self.site.lead_form,
            "purge_hopper": self.site.purge_hopper,
            "parallel": self.site.parallel,
            "calls_per_second": self.site.calls_per_second,
        }
        return config, {"password": self.site.password, "webhook_token": self.site.webhook_token}

    # --- the world beside the API --------------------------------------------------

    def stored(self, number: str) -> str:
        """How leads and lists of this site write an E.164 number."""
        if self.site.lead_form == "ten-digits" and number.startswith("+1"):
            return number[2:]
        return number.lstrip("+")

    def truth(self, number: str) -> list[Truth]:
        """The configured lists, set or clear, and whatever other list holds the number in any form."""
        digits = self.stored(number)
        with self.lock:
            forms = {digits, number.lstrip("+")}
            there = {(name, form) for form in forms for name in self.store.lists_with(form)}
        asked = {(name, digits) for name in self.site.lists}
        return [
            Truth(f"{name}/{form}", Channel.VOICE, Flag.SET if (name, form) in there else Flag.CLEAR)
            for name, form in sorted(there | asked)
        ]

    def in_hopper(self, number: str) -> int:
        """How many leads of a number may still be dialled."""
        with self.lock:
            leads = self.store.leads(self.stored(number))
            return sum(self.store.hopper_status(lead.lead_id) is not None for lead in leads)

    def opt_out(self, number: str, **how: Any) -> str:
        """An agent sets `dispo` (default DNC) after a call for `campaign`: list entries as the campaign's
        settings say, then the Dispo Call URL. Any status may be given; only DNC ones list the number.

        `by`: `agent`, or one that fires no URL: `menu` (opt-out menu), `admin` (DNC page), `lead-page` and
        `sql` (these two leave no row in the DNC log). Returns the lead id, or the key for those without lead.
        """
        by, dispo = str(how.get("by", "agent")), str(how.get("dispo", "DNC"))
        campaign = str(how.get("campaign", self._usual_campaign()))
        phone = self.stored(number)
        with self.lock:
            if by == "agent":
                return self._disposition(phone, campaign, dispo)
            self.store.add(INTERNAL, phone)
            if by in ("menu", "admin"):
                self.store.log(phone, "-SYSINT-", "add", "OUTAGI" if by == "menu" else "6666")
        return f"{INTERNAL}/{phone}"

    def _disposition(self, phone: str, campaign: str, dispo: str) -> str:
        leads = self.store.leads(phone)
        lead = leads[0].lead_id if leads else self.store.add_lead(phone, "", "NEW", campaign)
        self.store.set_status(lead, dispo)
        self.store.unload(lead)
        if dispo in DNC_STATUSES:
            for name in self._lists_of(campaign):
                self.store.add(name, phone)
                # Logged even where the number was there already (section 4.3).
                self.store.log(phone, "-SYSINT-" if name == INTERNAL else name, "add", "1001")
        if not self.site.dispo_url_statuses or dispo in self.site.dispo_url_statuses:
            self._call_dispo_url(phone, campaign, dispo, lead)
        return str(lead)

    def _usual_campaign(self) -> str:
        own = [name for name in self.site.lists if name in self.site.campaigns]
        return next(iter(own or self.site.campaigns), "SALES")

    def _lists_of(self, campaign: str) -> list[str]:
        """`use_internal_dnc` is on everywhere; `use_campaign_dnc` for campaigns that are synced."""
        own = campaign in self.site.lists
        return [INTERNAL, *([self.site.other_campaign_dnc.get(campaign, campaign)] if own else [])]

    def undo(self, number: str, **how: Any) -> str:
        """Somebody deletes the entry on the DNC page, from `list` or from all. Returns the first key."""
        phone = self.stored(number)
        with self.lock:
            names = [str(how["list"])] if "list" in how else self.store.lists_with(phone)
            for name in names:
                if self.store.remove(name, phone):
                    self.store.log(phone, "-SYSINT-" if name == INTERNAL else name, "delete", "6666")
        return f"{next(iter(names), INTERNAL)}/{phone}"

    def add_contact(self, numbers: Iterable[str], **fields: Any) -> str:
        """A lead: the first number is its phone, the second its alternate one. `status`, `campaign`;
        `hopper`: the status in the hopper, where it is loaded. Returns the lead id."""
        first, second, *_ = [*(self.stored(n) for n in numbers), "", ""]
        with self.lock:
            campaign = str(fields.get("campaign", self._usual_campaign()))
            lead = self.store.add_lead(first, second, str(fields.get("status", "NEW")), campaign)
            if "hopper" in fields:
                self.store.load(lead, str(fields["hopper"]))
        return str(lead)

    # --- Dispo Call URL --------------------------------------------------

    def dispo_url(self) -> str:
        """The template that an admin would enter for `webhook_url`."""
        url, token = self.webhook_url, self.site.webhook_token
        if "--A--" in url:
            return url
        has_token = urlsplit(url).path.rstrip("/").endswith(f"/{token}")
        path = url if has_token else f"{url.rstrip('/')}/{token}"
        return (
            f"VAR{path}?phone=--A--phone_number--B--&dispo=--A--dispo--B--&camp=--A--campaign--B--"
            "&lead=--A--lead_id--B--&call=--A--call_id--B--"
        )

    def _call_dispo_url(self, phone: str, campaign: str, dispo: str, lead: int) -> None:
        if not self.webhook_url:
            return
        url = self.dispo_url()
        if url.startswith("VAR"):
            url = url[3:]
            self._calls_made += 1
            values = {
                "phone_number": phone,
                "dispo": dispo,
                "campaign": campaign,
                "lead_id": str(lead),
                "call_id": f"V{self.clock.now():%m%d%H%M%S}{self._calls_made:010d}",
            }
            for name, value in values.items():
                url = url.replace(f"--A--{name}--B--", quote(value, safe=""))
        self.url_log.append(url)
        self.send_webhook(OutgoingWebhook("GET", url, {"User-Agent": "PHP/8.2"}, b""))

    def deliver_webhooks(self, client: httpx.Client, *, limit: int = 1000) -> int:
        """Each due call once: a Dispo Call URL that fails is not repeated (section 6)."""
        if self.site.dispo_url_retries:
            return super().deliver_webhooks(client, limit=limit)
        taken = 0
        for _ in range(min(limit, len(self.outbox))):
            hook = self.outbox.popleft()
            if hook.not_before > self.clock.monotonic():
                self.outbox.append(hook)
                continue
            try:
                answer = client.request(hook.method, hook.url, headers=dict(hook.headers))
            except httpx.HTTPError:
                self.calls["webhook lost"] += 1
                continue
            taken += answer.is_success
            self.calls[f"webhook {answer.status_code}"] += 1
        return taken

    # --- pages --------------------------------------------------

    def _non_agent_api(self, request: Request) -> Response:
        if "pass" in request.args:
            self.secrets_in_urls += 1
        status, body = self.api.answer(request.values.to_dict(), request.remote_addr or "")
        response = Response(body, status, content_type="text/html; charset=utf-8")
        response.headers["Cache-Control"] = "no-store, no-cache, must-revalidate"
        response.headers["Pragma"] = "no-cache"
        return response

    def _list_download(self, request: Request) -> Response:
        login = request.authorization
        name = (login.username if login else "") or ""
        user = self.users.log_in(name, (login.password if login else "") or "", request.remote_addr or "")
        if isinstance(user, Refused):
            return _login_page(user, name)
        group = self._group(request)
        lost = self.faults.take(FaultKind.LOST_PERMISSION, "GET", request.path)
        unknown = group != INTERNAL and group not in self.site.campaigns
        checks = [
            (
                user.level < 8 or "download_lists" not in user.rights or lost is not None,
                f"No list download permission: |{name}|",
            ),
            (not user.reports, f"You are not allowed to view this report: |{name}|Download List|"),
            (
                unknown or (group == INTERNAL and not user.all_campaigns),
                f"You are not allowed to download this list: {'' if group == INTERNAL else group}",
            ),
        ]
        ordered = checks if self.site.rights_before_campaigns else reversed(checks)
        refusal = next((text for applies, text in ordered if applies), None)
        return self._list(group) if refusal is None else _page(refusal)

    def _group(self, request: Request) -> str:
        internal = request.args.get("download_type") == "systemdnc"
        return INTERNAL if internal else request.args.get("group_id", "")

    def _list(self, group: str) -> Response:
        stale = self.faults.take(FaultKind.STALE_INDEX, "GET", "/vicidial/list_download.php")
        lag = self.site.replica_lag + (float(stale.params.get("seconds", 60.0)) if stale else 0.0)
        rows = self.store.rows(group, lag=lag)
        if self.site.memory_limit and len(rows) >= self.site.memory_limit:
            return Response("", 500 if self.site.memory_answer == "500" else 200, content_type="text/html")
        if not rows:
            internal, campaign = _EMPTY[self.site.language]
            return _page(f"{internal}SYSTEM INTERNAL DNC" if group == INTERNAL else f"{campaign}{group}")
        if short := self.faults.take(FaultKind.SHORT_LIST, "GET", "/vicidial/list_download.php"):
            rows = rows[: int(len(rows) * float(short.params.get("share", 0.5)))]
        body = "\r\n".join(["phone_number", *rows, ""]).encode()
        if self.site.php_warnings:
            body = b"<br />\n<b>Warning</b>:  Undefined array key 0\n" + body
        stem = "SYSTEM_DNC" if group == INTERNAL else f"DNC_{group}"
        response = Response(body, 200, content_type="application/octet-stream")
        when = f"{self.clock.now():%Y%m%d-%H%M%S}"
        response.headers["Content-Disposition"] = f'attachment; filename="{stem}_{when}.txt"'
        return response


def _page(text: str) -> Response:
    return Response(f"{text}\n", 200, content_type="text/html; charset=utf-8")


def _login_page(refused: Refused, name: str) -> Response:
    if refused.code == "2FA":
        return _page('Your session is expired. <a href="admin.php">Click here to log in</a>')
    if refused.code == "BAD":
        headers = {"WWW-Authenticate": 'Basic realm="CONTACT-CENTER-ADMIN"'}
        return Response(f"{refused.text}\n", 401, headers, content_type="text/html; charset=utf-8")
    # The page names the user where the API leaves the field empty.
    return _page(refused.text.replace("||IPBLOCK|", f"|{name}|IPBLOCK|"))
