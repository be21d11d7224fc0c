"""The sandbox's log-in and session check: OAuth client credentials and JWT bearer (sheet 2)."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import jwt
from werkzeug.wrappers import Request, Response

from dncsync.testing.faults import FaultKind
from dncsync_salesforce.sandbox_answers import answer, error

if TYPE_CHECKING:
    from dncsync_salesforce.sandbox import SalesforceSandbox

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
NEVER_VALID = "This session is not valid for use with the REST API"


class Sessions:
    """Hands out tokens and checks them."""

    def __init__(self, sandbox: SalesforceSandbox) -> None:
        self._sandbox = sandbox
        self._used_at: dict[str, float] = {}
        self.refuse_all = ""
        """`new-too`: every session is refused as expired; `rest`: as not valid for the REST API; `html`."""
        self.app_problem: tuple[str, str] | None = None
        """(error, description) that every log-in gets."""
        self.made = 0
        sandbox.route("/services/oauth2/token", self.token, methods=("POST",))

    def expire(self) -> None:
        """Every session ends."""
        self._used_at.clear()

    def token(self, request: Request) -> Response:
        """`POST /services/oauth2/token`; 400 with an OAuth object, not an array, when it says no."""
        sandbox = self._sandbox
        self.made += 1
        if self.app_problem is not None:
            return _no(*self.app_problem)
        grant = request.form.get("grant_type", "")
        if grant == "client_credentials":
            refusal = self._check_secret(request)
        elif grant == JWT_GRANT:
            refusal = self._check_assertion(request.form.get("assertion", ""))
        else:
            refusal = _no("unsupported_grant_type", "grant type not supported")
        if refusal is not None:
            return refusal
        token = f"{sandbox.org_id[:15]}!AQ.{sandbox.seed}.{self.made}"
        self._used_at[token] = sandbox.clock.monotonic()
        body = {
            "access_token": token,
            "instance_url": sandbox.options.get("instance_url", f"https://{sandbox.domain}.salesforce.com"),
            "id": f"https://login.salesforce.com/id/{sandbox.org_id}/{sandbox.our_user}",
            "token_type": "Bearer",
        }
        if grant == "client_credentials":
            body |= {"signature": "c2ln", "token_format": "opaque", "issued_at": "1795284030123"}
        return answer(body)

    def check(self, request: Request) -> Response | None:
        """401 unless the bearer token is good."""
        sandbox = self._sandbox
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        now = sandbox.clock.monotonic()
        idle = float(sandbox.options.get("session_seconds", 7_200.0))
        if sandbox.faults.take(FaultKind.EXPIRED_TOKEN, request.method, request.path):
            self._used_at.pop(token, None)
        if self.refuse_all == "html":
            return Response("<html><body>Unauthorized</body></html>", 401, content_type="text/html")
        if self.refuse_all == "rest":
            return error(401, "INVALID_SESSION_ID", NEVER_VALID)
        if self.refuse_all or now - self._used_at.get(token, float("-inf")) > idle:
            return error(401, "INVALID_SESSION_ID", "Session expired or invalid")
        self._used_at[token] = now
        return None

    def _check_secret(self, request: Request) -> Response | None:
        sandbox = self._sandbox
        given = (request.form.get("client_id", ""), request.form.get("client_secret", ""))
        basic = request.headers.get("Authorization", "")
        if basic.startswith("Basic "):
            try:
                key, _, secret = base64.b64decode(basic[6:]).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return _no("invalid_client", "invalid client credentials")
            given = (key, secret)
        if given[0] != sandbox.client_id:
            return _no("invalid_client_id", "client identifier invalid")
        if given[1] != sandbox.client_secret:
            return _no("invalid_client", "invalid client credentials")
        return None

    def _check_assertion(self, assertion: str) -> Response | None:
        """Signature, issuer, user, audience; not the expiry, which the SDK takes from the machine's clock."""
        sandbox = self._sandbox
        try:
            claims = jwt.decode(
                assertion,
                sandbox.public_key(),
                algorithms=["RS256"],
                audience=["https://login.salesforce.com", "https://test.salesforce.com"],
                options={"verify_exp": False},
            )
        except jwt.PyJWTError:
            return _no("invalid_grant", "invalid assertion")
        if claims.get("iss") != sandbox.client_id:
            return _no("invalid_client_id", "client identifier invalid")
        if claims.get("sub") != sandbox.username:
            return _no("invalid_grant", "user hasn't approved this consumer")
        return None


def _no(code: str, description: str) -> Response:
    return answer({"error": code, "error_description": description}, 400)
