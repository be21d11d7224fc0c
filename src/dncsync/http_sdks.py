"""SDKs through the HTTP door: an adapter under `requests`, and a stand-in for urllib3's pool manager.

Neither opens a connection of its own. Answers are read whole; a call without one raises the door's
`VendorError` through the SDK.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
import requests
import urllib3
from requests.adapters import BaseAdapter

from dncsync.http import DEFAULT_TIMEOUT

if TYPE_CHECKING:
    from dncsync.http import HttpDoor


def requests_session(door: HttpDoor) -> requests.Session:
    """A `requests.Session` whose calls, redirects included, all go through `door`."""
    session = requests.Session()
    session.trust_env = False
    adapter = _RequestsAdapter(door)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


class _RequestsAdapter(BaseAdapter):
    """Sends a prepared `requests` request through the door."""

    def __init__(self, door: HttpDoor) -> None:
        super().__init__()
        self._door = door

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        assert request.url is not None
        assert request.method is not None
        body = request.body
        headers = dict(request.headers)
        if body is not None and not isinstance(body, bytes | str):
            body = b"".join(p if isinstance(p, bytes) else p.encode() for p in body)
            headers.pop("Transfer-Encoding", None)  # it is whole now, and httpx says how long
        sent = self._door.request(
            request.method,
            request.url,
            headers=headers,
            content=body,
            timeout=_seconds(timeout),
        )
        answer = requests.Response()
        answer.status_code = sent.status_code
        answer.headers = requests.structures.CaseInsensitiveDict(_decoded_headers(sent))
        answer.encoding = requests.utils.get_encoding_from_headers(answer.headers)
        answer.raw = io.BytesIO(sent.content)
        answer.reason = sent.reason_phrase
        answer.url = request.url
        answer.request = request
        return answer

    def close(self) -> None:
        """The door outlives its sessions."""


class UrllibPool:
    """Has the one method of `urllib3.PoolManager` that generated REST clients call."""

    def __init__(self, door: HttpDoor) -> None:
        self._door = door

    def request(
        self,
        method: str,
        url: str,
        body: Any = None,
        fields: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: Any = None,
        preload_content: bool = True,
        encode_multipart: bool = True,
        **_: Any,
    ) -> urllib3.HTTPResponse:
        """As `urllib3.PoolManager.request`; the body is always read whole."""
        headers = dict(headers or {})
        if fields and method in ("GET", "HEAD", "DELETE"):
            url = f"{url}{'&' if '?' in url else '?'}{urlencode(fields)}"
        elif fields:
            if encode_multipart:
                body, kind = urllib3.encode_multipart_formdata(fields)
            else:
                body, kind = urlencode(fields), "application/x-www-form-urlencoded"
            if "content-type" not in map(str.lower, headers):
                headers["Content-Type"] = kind
        sent = self._door.request(method, url, headers=headers, content=body, timeout=_seconds(timeout))
        return urllib3.HTTPResponse(
            body=io.BytesIO(sent.content),
            headers=_decoded_headers(sent),
            status=sent.status_code,
            reason=sent.reason_phrase,
            preload_content=preload_content,
            request_method=method,
            request_url=url,
        )


def _decoded_headers(response: httpx.Response) -> dict[str, str]:
    """httpx has already undone the content encoding; saying so again would undo it twice."""
    skip = {"content-encoding", "transfer-encoding", "content-length"}
    return {name: value for name, value in response.headers.items() if name.lower() not in skip}


def _seconds(timeout: Any) -> httpx.Timeout | None:
    if timeout is None:
        return None
    if isinstance(timeout, urllib3.Timeout):
        given = (timeout.connect_timeout, timeout._read, timeout.total)
        connect, read, total = (t if isinstance(t, int | float) else None for t in given)
        timeout = (connect, read or total)
    elif not isinstance(timeout, tuple):
        timeout = (min(5.0, float(timeout)), float(timeout))
    connect, read = timeout
    return httpx.Timeout(read or DEFAULT_TIMEOUT.read, connect=connect or DEFAULT_TIMEOUT.connect)
