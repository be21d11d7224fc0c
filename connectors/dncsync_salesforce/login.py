"""One shared log-in per org: serialised, never a storm, and honest when the org keeps refusing it."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import jwt
import requests
from simple_salesforce.exceptions import SalesforceAuthenticationFailed
from simple_salesforce.login import SalesforceLogin

from dncsync.clock import Clock
from dncsync.connector import Failure, FailureKind, VendorError
from dncsync_salesforce.failures import safe
from dncsync_salesforce.settings import SalesforceSettings

FIRST_PAUSE = 60.0
LONGEST_PAUSE = 900.0
MENDS = {
    "invalid_client": "check client_secret against the app's consumer secret",
    "invalid_client_id": "check client_id against the app's consumer key",
    "invalid_grant": "choose a Run As user in the app's policies; for JWT pre-authorise the user",
    "invalid_app_access": "assign the app to the integration user's profile or permission set",
    "app_not_found": "install the External Client App in this org",
    "inactive_user": "activate the integration user",
}


@dataclass(frozen=True, slots=True)
class Session:
    """What a log-in gave."""

    token: str
    host: str


class Login:
    """Holds the session that all calls of one system share. Thread-safe.

    A refused session is renewed once, by whichever thread comes first. When the *new* session is refused
    too, or the log-in itself is, no further log-in is tried for a minute, then two, up to 15: an org that
    refuses us for ever costs four log-ins an hour, not thousands (sheet 0.3).
    """

    def __init__(self, fetch: Callable[[], Session], clock: Clock) -> None:
        """`fetch` makes one log-in call; it raises `VendorError`."""
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._strikes = 0
        self._pause = FIRST_PAUSE
        self._refusal: VendorError | None = None
        self._not_before = 0.0

    def session(self) -> Session:
        """The present session, logging in where there is none. Raises `VendorError`."""
        with self._lock:
            return self._session or self._log_in()

    def renewed(self, refused: Session) -> Session:
        """Another session than the one that was refused with 401. Raises `VendorError`."""
        with self._lock:
            if self._session is not None and self._session != refused:
                return self._session  # another thread has renewed it already
            self._session = None
            self._strikes += 1
            if self._strikes > 1:
                raise self._back_off(
                    Failure(
                        FailureKind.UNAUTHORISED,
                        "a new session was refused at once: check the session policies of the app and user",
                        "INVALID_SESSION_ID",
                    )
                )
            return self._log_in()

    def worked(self) -> None:
        """A call with the present session was let in."""
        if self._strikes or self._refusal is not None:
            with self._lock:
                self._strikes, self._pause, self._refusal = 0, FIRST_PAUSE, None

    def _log_in(self) -> Session:
        if self._refusal is not None and self._clock.monotonic() < self._not_before:
            raise VendorError(self._refusal.failure)
        try:
            self._session = self._fetch()
        except VendorError as error:
            if error.failure.kind is FailureKind.UNAUTHORISED:
                raise self._back_off(error.failure) from None
            raise
        return self._session

    def _back_off(self, failure: Failure) -> VendorError:
        self._refusal = VendorError(failure)
        self._not_before = self._clock.monotonic() + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        return self._refusal


def fetch_session(settings: SalesforceSettings, http: requests.Session) -> Session:
    """One OAuth log-in (sheet 2.2). Raises `VendorError`; whatever happened, nothing was changed there."""
    secret, key = settings.client_secret, settings.private_key
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice of the SDK for browser log-ins
            if secret is not None:
                token, host = SalesforceLogin(
                    session=http,
                    consumer_key=settings.client_id,
                    consumer_secret=secret.get_secret_value(),
                    domain=settings.domain,
                )
            else:
                assert key is not None
                token, host = SalesforceLogin(
                    session=http,
                    consumer_key=settings.client_id,
                    username=settings.username,
                    privatekey=key.get_secret_value(),
                    domain=settings.audience,
                    instance_url=settings.domain,
                )
    except SalesforceAuthenticationFailed as error:
        raise VendorError(_refused(error)) from None
    except VendorError as error:
        if error.failure.kind is FailureKind.UNKNOWN:
            raise VendorError(Failure(FailureKind.TRANSIENT, f"log-in: {error.failure.message}")) from None
        raise
    except (jwt.PyJWTError, ValueError) as error:
        if isinstance(error, requests.exceptions.JSONDecodeError):
            raise VendorError(Failure(FailureKind.TRANSIENT, "log-in: the answer is not JSON")) from None
        words = f"private_key cannot sign the log-in: {type(error).__name__}"
        raise VendorError(Failure(FailureKind.UNAUTHORISED, words)) from None
    except (AttributeError, TypeError, KeyError, RecursionError):
        raise VendorError(
            Failure(FailureKind.TRANSIENT, "log-in: the answer has not the known shape")
        ) from None
    if not isinstance(token, str) or not token or "/" in host:
        raise VendorError(Failure(FailureKind.TRANSIENT, "log-in: the answer has not the known shape"))
    if settings.base_url is not None:
        host = f"{settings.domain}.salesforce.com"  # whatever host it names, calls stay on base_url
    return Session(token, host)


def _refused(error: SalesforceAuthenticationFailed) -> Failure:
    if isinstance(error.code, int):  # not JSON: an edge or maintenance page
        kind = FailureKind.RATE_LIMITED if error.code == 429 else FailureKind.TRANSIENT
        return Failure(
            kind, f"log-in: HTTP {error.code} with a body that is no OAuth answer", str(error.code)
        )
    code = str(error.code or "")
    mend = MENDS.get(code)
    words = f"log-in refused: {code}: {safe(error.auth_message)}"
    return Failure(FailureKind.UNAUTHORISED, f"{words} ({mend})" if mend else words, code)
