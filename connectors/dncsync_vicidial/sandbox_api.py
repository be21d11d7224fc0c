"""`non_agent_api.php` of the sandbox: the functions that the connector uses, word for word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from zoneinfo import ZoneInfo

from dncsync.clock import Clock
from dncsync.testing.faults import FaultKind, Faults
from dncsync_vicidial.sandbox_login import Refused, User, Users
from dncsync_vicidial.sandbox_options import Options
from dncsync_vicidial.sandbox_store import CAMPAIGN_COLUMN, Store

INTERNAL = "SYSTEM_INTERNAL"
PATH = "/vicidial/non_agent_api.php"
_EAST = ZoneInfo("America/New_York")
_PHP_WARNING = "<br />\n<b>Warning</b>:  Undefined variable $x in <b>/srv/www/htdocs/vicidial</b>\n"
_CAMPAIGN_COLUMNS = (
    "campaign_id|campaign_name|active|user_group|dial_method|dial_level|lead_order|dial_statuses|dial_timeout|"
    "dial_prefix|manual_dial_prefix|three_way_dial_prefix"
)

Fields = Mapping[str, str]


class NonAgentApi:
    """Answers as (status, body). The sandbox holds its lock around every call."""

    def __init__(
        self,
        clock: Clock,
        options: Options,
        users: Users,
        store: Store,
        faults: Callable[[], Faults],
        calls: Counter[str],
    ) -> None:
        self._clock = clock
        self._options = options
        self._users = users
        self._store = store
        self._faults = faults
        self._calls = calls
        self._functions: dict[str, Callable[[Fields, str, User], str]] = {
            "add_dnc_phone": self._add,
            "delete_dnc_phone": self._delete,
            "check_phone_number": self._check,
            "lead_search": self._lead_search,
            "update_lead": self._update_lead,
            "campaigns_list": self._campaigns_list,
        }
        self._since = {"add_dnc_phone": "191113-1758", "delete_dnc_phone": "240302-0804"}

    def answer(self, fields: Fields, address: str) -> tuple[int, str]:
        """In the order of checks of section 2.1."""
        function = fields.get("function", "")
        self._calls[f"function {function}"] += 1
        if self._options.mysql_down:
            return 200, "MySQL connect ERROR: Can't connect to local server through socket (2)"
        if function == "version":
            return 200, self._version()
        if function == "coffee":
            return 418, "I'm a teapot\n"
        warning = _PHP_WARNING if self._options.php_warnings else ""
        return 200, warning + self._with_login(function, fields, address) + "\n"

    def _with_login(self, function: str, fields: Fields, address: str) -> str:
        user = self._users.log_in(fields.get("user", ""), fields.get("pass", ""), address)
        name = self._users.stripped(fields.get("user", ""))
        if isinstance(user, Refused):
            return f"ERROR: {user.text}"
        if len(re.sub(r"[^0-9A-Za-z]", "", fields.get("source", ""))) < 2:
            return "ERROR: Invalid Source - \nERROR: Invalid Source: ||"
        granted = self._options.allowed_functions
        if self._faults().take(FaultKind.EXTRA_PERMISSION, "POST", f"{PATH}/{function}") is not None:
            granted = ("ALL_FUNCTIONS",)
        if "ALL_FUNCTIONS" not in granted and function not in granted:
            return f"ERROR: auth {name} DOES NOT HAVE PERMISSION TO USE THIS FUNCTION: |{name}|{function}|"
        work = self._functions.get(function)
        if work is None or self._options.build < self._since.get(function, ""):
            return "ERROR: NO FUNCTION SPECIFIED"
        return work(fields, name, user)

    def _version(self) -> str:
        now = self._clock.now()
        local = now.astimezone(_EAST)
        shift = (local.utcoffset() or local - local).total_seconds() / 3600
        return (
            f"VERSION: {self._options.version}|BUILD: {self._options.build}|DATE: {local:%Y-%m-%d %H:%M:%S}|"
            f"EPOCH: {int(now.timestamp())}|DST: {int(bool(local.dst()))}|TZ: -5.00|TZNOW: {shift:g}|\n"
        )

    # --- DNC --------------------------------------------------

    def _add(self, fields: Fields, name: str, user: User) -> str:
        phone, campaign = _phone(fields), _campaign(fields)
        said = f"{name}|{phone}|{campaign}"
        if user.level < 8 or "modify_lists" not in user.rights or self._lost("add_dnc_phone"):
            words = "USER DOES NOT HAVE PERMISSION TO ADD DNC NUMBERS"
            return f"ERROR: add_dnc_phone {words}{self._sep}{name}|0"
        if len(phone) < 6 or not campaign:
            return f"ERROR: add_dnc_phone YOU MUST USE ALL REQUIRED FIELDS{self._sep}{said}"
        if self._store.has(campaign, phone):
            return f"ERROR: add_dnc_phone DNC NUMBER ALREADY EXISTS{self._sep}{said}"
        if not self._dropped("add_dnc_phone", campaign):
            self._store.add(campaign, phone)
            self._store.log(phone, _in_log(campaign), "add", name)
        return f"SUCCESS: add_dnc_phone DNC NUMBER HAS BEEN ADDED - {said}"

    def _delete(self, fields: Fields, name: str, user: User) -> str:
        phone, campaign = _phone(fields), _campaign(fields)
        said = f"{name}|{phone}|{campaign}"
        needed = {"modify_lists", "delete_from_dnc"}
        if user.level < 8 or not needed <= user.rights or self._lost("delete_dnc_phone"):
            return f"ERROR: delete_dnc_phone USER DOES NOT HAVE PERMISSION TO DELETE DNC NUMBERS: |{name}|0"
        if len(phone) < 6 or not campaign:
            return f"ERROR: delete_dnc_phone YOU MUST USE ALL REQUIRED FIELDS: |{said}"
        if not self._store.has(campaign, phone):
            return f"ERROR: delete_dnc_phone DNC NUMBER DOES NOT EXIST: |{said}"
        if not self._dropped("delete_dnc_phone", campaign):
            self._store.remove(campaign, phone)
            self._store.log(phone, _in_log(campaign), "delete", name)
        return f"SUCCESS: delete_dnc_phone DNC NUMBER HAS BEEN DELETED - {said}"

    def _check(self, fields: Fields, name: str, user: User) -> str:
        phone, campaign = _phone(fields), _campaign(fields)
        if not self._agent_api(user) or self._lost("check_phone_number"):
            words = "USER DOES NOT HAVE PERMISSION TO CHECK PHONE NUMBERS"
            return f"ERROR: check_phone_number {words}: |{name}||"
        call_time = fields.get("local_call_time", "")
        if call_time not in self._options.call_times:
            return f"ERROR: check_phone_number THIS IS NOT A VALID CALL TIME: |{name}|{call_time}|"
        if not 6 <= len(phone) <= 16:
            return f"ERROR: check_phone_number INVALID PHONE NUMBER LENGTH - {phone}|{name}"
        if self._blocked(fields.get("dnc_check", ""), INTERNAL, phone):
            return f"ERROR: check_phone_number PHONE NUMBER IN DNC - {phone}|{name}"
        counted = self._options.other_campaign_dnc.get(campaign, campaign)
        if self._blocked(fields.get("campaign_dnc_check", ""), counted, phone):
            return f"ERROR: check_phone_number PHONE NUMBER IN CAMPAIGN DNC - {phone}|{campaign}|{name}"
        return f"AREACODE: 1|-5.00#PHONE: {phone}|1||||"

    def _blocked(self, check: str, counted: str, phone: str) -> bool:
        if check not in ("Y", "AREACODE"):
            return False  # anything else is no check, and looks clean
        wildcard = f"{phone[:3]}XXXXXXX"
        return self._store.has(counted, phone) or (check == "AREACODE" and self._store.has(counted, wildcard))

    # --- leads and campaigns --------------------------------------------------

    def _lead_search(self, fields: Fields, name: str, user: User) -> str:
        if not self._agent_api(user) or "modify_leads" not in user.rights or self._lost("lead_search"):
            return f"ERROR: lead_search USER DOES NOT HAVE PERMISSION TO SEARCH LEADS: |{name}|0"
        wanted = _phone(fields)
        left = int(fields.get("records") or 1000)
        if self._options.most_records:
            left = min(left, self._options.most_records)
        lines = ["search_key|records_found|lead_ids"] if fields.get("header") == "YES" else []
        none = True
        for phone in wanted.split(","):
            found = self._store.leads(phone)[:left]  # the cap is over the whole search, and a cut is silent
            left -= len(found)
            none = none and not found
            if found or self._options.zero_rows:
                lines.append(f"{phone}|{len(found)}|{'-'.join(str(lead.lead_id) for lead in found)}")
        if none and not self._options.zero_rows:
            return f"ERROR: lead_search NO MATCHES FOUND IN THE SYSTEM: |{name}|||{wanted}"
        return "\n".join(lines)

    def _update_lead(self, fields: Fields, name: str, user: User) -> str:
        if not self._agent_api(user) or "modify_leads" not in user.rights or self._lost("update_lead"):
            return f"ERROR: update_lead USER DOES NOT HAVE PERMISSION TO UPDATE LEADS: |{name}|0"
        look_only = fields.get("no_update") == "Y"
        lead = self._store.lead(int(fields.get("lead_id") or 0))
        if lead is None:
            word = "NOTICE" if look_only else "ERROR"
            return (
                f"{word}: update_lead NO MATCHES FOUND IN THE SYSTEM: |{name}|{fields.get('lead_id', '')}||"
            )
        if look_only:
            return f"NOTICE: update_lead LEADS FOUND IN THE SYSTEM: |{name}|{lead.lead_id}||{lead.phone}"
        lines = [f"SUCCESS: update_lead LEAD HAS BEEN UPDATED - {name}|{lead.phone}|{lead.lead_id}"]
        if status := fields.get("status", ""):
            self._store.set_status(lead.lead_id, status)  # marks the lead, and puts no number on any list
        if fields.get("remove_from_hopper") == "Y":
            loaded = self._store.hopper_status(lead.lead_id)
            about = f"{lead.phone}|{lead.lead_id}"
            if loaded is None:
                words = "NOT REMOVED FROM HOPPER, LEAD IS NOT IN THE HOPPER"
                lines.append(f"NOTICE: update_lead {words} - {about}|{name}")
            elif loaded in ("INCALL", "DONE", "HOLD", "DNC"):
                lines.append(f"NOTICE: update_lead NOT REMOVED FROM HOPPER - {about}|{loaded}|{name}")
            else:
                self._store.unload(lead.lead_id)
                lines.append(f"NOTICE: update_lead REMOVED FROM HOPPER - {about}|{loaded}|{name}")
        return "\n".join(lines)

    def _campaigns_list(self, fields: Fields, name: str, user: User) -> str:
        if not self._agent_api(user) or "view_reports" not in user.rights or self._lost("campaigns_list"):
            return f"ERROR: campaigns_list USER DOES NOT HAVE PERMISSION TO GET CAMPAIGN INFO: |{name}|0"
        hidden = self._faults().active(FaultKind.HIDDEN_FIELD)
        renamed = self._faults().active(FaultKind.RENAMED_FIELD)
        deleted = self._faults().active(FaultKind.DELETED_FIELD)
        gone = {str(f.params.get("name", "")) for f in (hidden, renamed, deleted) if f is not None}
        shown = [c for c in self._options.campaigns if c not in gone and "" not in gone]
        if renamed is not None:
            shown.append(str(renamed.params.get("to", "RENAMED1")))
        if not shown:
            return f"ERROR: campaigns_list THIS USER HAS NO VIEWABLE CAMPAIGNS: {name}|"
        lines = [_CAMPAIGN_COLUMNS] if fields.get("header") == "YES" else []
        lines += [f"{c}|{c.title()} campaign|Y|---ALL---|RATIO|1|DOWN|NEW|26|9||" for c in shown]
        return "\n".join(lines)

    # --- rights and faults --------------------------------------------------

    @property
    def _sep(self) -> str:
        return " - " if self._options.separators == "document" else ": |"

    def _agent_api(self, user: User) -> bool:
        return user.level >= 8 and "vdc_agent_api_access" in user.rights

    def _lost(self, function: str) -> bool:
        return self._faults().take(FaultKind.LOST_PERMISSION, "POST", f"{PATH}/{function}") is not None

    def _dropped(self, function: str, campaign: str) -> bool:
        """SUCCESS without effect: the program never looks at the result of its insert."""
        too_long = len(campaign) > CAMPAIGN_COLUMN and campaign != INTERNAL and self._options.strict_mysql
        read_only = self._faults().active(FaultKind.READ_ONLY_FIELD) is not None
        return (
            too_long
            or read_only
            or self._faults().take(FaultKind.DROPPED_WRITE, "POST", f"{PATH}/{function}") is not None
        )


def _phone(fields: Fields) -> str:
    return re.sub(r"[^0-9,]", "", fields.get("phone_number", ""))


def _campaign(fields: Fields) -> str:
    return re.sub(r"[^-_0-9A-Za-z]", "", fields.get("campaign_id", ""))


def _in_log(campaign: str) -> str:
    return "-SYSINT-" if campaign == INTERNAL else campaign[:CAMPAIGN_COLUMN]
