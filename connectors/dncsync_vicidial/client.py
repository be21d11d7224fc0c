"""The wire: form POSTs to `non_agent_api.php`, and the report page that lists a DNC (sections 2, 4.1)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import httpx

from dncsync.connector import Context, Failure, FailureKind, Limit, VendorError
from dncsync.http import HttpDoor, failure_of
from dncsync.shapes import Answers
from dncsync_vicidial.answers import (
    DATABASE_DOWN,
    Answer,
    Version,
    login_refused,
    read_answer,
    read_campaigns,
    read_version,
    refusal,
    unreadable,
)
from dncsync_vicidial.login_guard import LoginGuard
from dncsync_vicidial.settings import INTERNAL, VicidialSettings

LIMIT = "calls"
"""Name of our own throttle in the call budget; VICIdial itself has none (section 1)."""

_CHANGES = frozenset({"add_dnc_phone", "delete_dnc_phone", "update_lead"})
"""Functions that change something: an answer that got lost leaves their outcome unknown."""


class VicidialClient:
    """One VICIdial. Thread-safe; every method may raise `VendorError`."""

    def __init__(self, settings: VicidialSettings, context: Context) -> None:
        self.oddities: Counter[str] = Counter()
        """What was seen in answers that should not be there; `probe` tells of it."""
        self.guard = LoginGuard(context.clock)
        self._settings = settings
        self._odd_lock = threading.Lock()
        self.door: HttpDoor = context.open_door(
            allowed=(urlsplit(settings.base_url).hostname or "",),
            limits=(Limit(LIMIT, settings.calls_per_second, 1.0),),
            answers=Answers(_function_of),
        )

    def ask(self, function: str, **fields: str) -> Answer:
        """Calls a function and reads its answer, whatever it says. Raises where nothing readable came."""
        answer = read_answer(self._text(function, fields))
        if answer is None:
            raise VendorError(unreadable(function))
        if answer.stray:
            self.note("text before an answer (PHP warnings?)")
        return answer

    def campaigns(self) -> dict[str, bool]:
        """Campaign id -> active, of all campaigns that the API user may see (section 5.4)."""
        body = self._text("campaigns_list", {"stage": "pipe", "header": "YES"})
        campaigns = read_campaigns(body)
        if campaigns is not None:
            return campaigns
        answer = read_answer(body)
        if answer is not None and answer.says("NO VIEWABLE CAMPAIGNS"):
            return {}
        raise VendorError(refusal(answer, "campaigns_list") if answer else unreadable("campaigns_list"))

    def version(self) -> Version:
        """Works without a login, and so also where the login is refused."""
        answer = read_answer(self._post({"function": "version"}, "version"))
        version = read_version(answer.line) if answer else None
        if version is None:
            raise VendorError(
                Failure(FailureKind.REJECTED, "no VICIdial API answers at base_url", "not-vicidial")
            )
        return version

    @contextmanager
    def download(self, name: str) -> Iterator[httpx.Response]:
        """The report page of one list, as a stream whose body is not yet read."""
        which = (
            {"download_type": "systemdnc"} if name == INTERNAL else {"download_type": "dnc", "group_id": name}
        )
        login = (self._settings.user, self._settings.password.get_secret_value())
        with (
            self.guard.turn(),
            self.door.stream(
                "GET", f"{self._settings.api}/list_download.php", params=which, auth=login
            ) as response,
        ):
            yield response

    def note(self, oddity: str) -> None:
        """Remembers that something odd was seen."""
        with self._odd_lock:
            self.oddities[oddity] += 1

    def take_oddities(self) -> list[tuple[str, int]]:
        """What was noted since the last time, and how often."""
        with self._odd_lock:
            taken = sorted(self.oddities.items())
            self.oddities.clear()
        return taken

    def _text(self, function: str, fields: dict[str, str]) -> str:
        login = {
            "source": self._settings.source,
            "user": self._settings.user,
            "pass": self._settings.password.get_secret_value(),
            "function": function,
        }
        with self.guard.turn():
            body = self._post(login | fields, function)
            if how := login_refused(body):
                raise VendorError(self.guard.refused(how))
            self.guard.accepted()
        return body

    def _post(self, data: dict[str, str], function: str) -> str:
        # POST for reads too: with GET the password would stand in the web server's log (section 2).
        harmless = function not in _CHANGES
        try:
            response = self.door.request("POST", f"{self._settings.api}/non_agent_api.php", data=data)
        except VendorError as error:
            raise VendorError(_of_read(error.failure) if harmless else error.failure) from None
        if not response.is_success:
            failure = _http_failure(response)
            raise VendorError(_of_read(failure) if harmless else failure)
        body = response.content.decode("utf-8", "replace")
        if body.lstrip().startswith(DATABASE_DOWN):
            raise VendorError(Failure(FailureKind.TRANSIENT, "VICIdial's database is down", "database"))
        if not body.strip():
            failure = Failure(FailureKind.UNKNOWN, f"empty answer to {function}", "empty")
            raise VendorError(_of_read(failure) if harmless else failure)
        return body


def _function_of(request: httpx.Request) -> str:
    """One page answers every function."""
    if request.method != "POST":
        return ""
    return "".join(parse_qs(request.content.decode("utf-8", "replace")).get("function", []))


def _http_failure(response: httpx.Response) -> Failure:
    if response.is_redirect:
        return failure_of(response, f"HTTP {response.status_code}: base_url redirects; set where it leads")
    if response.status_code == 404:
        return failure_of(response, "HTTP 404: no VICIdial API at base_url")
    return failure_of(response)


def _of_read(failure: Failure) -> Failure:
    """A lost answer to a question changed nothing, though it was asked by POST."""
    if failure.kind is not FailureKind.UNKNOWN:
        return failure
    return Failure(FailureKind.TRANSIENT, failure.message, failure.code, failure.retry_after)
