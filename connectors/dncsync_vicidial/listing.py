"""One list, downloaded whole before a row of it is believed (section 4.1).

The page has no order, no dates, no total and no paging, and it may die half-way, so it is first streamed to a
file (constant memory; the file has no name, and is gone with the process), checked, and then read in pages.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import IO

import httpx

from dncsync.connector import Failure, FailureKind, VendorError
from dncsync.http import failure_of
from dncsync_vicidial.answers import Login, login_refused
from dncsync_vicidial.client import VicidialClient
from dncsync_vicidial.settings import INTERNAL

FIRST_LINE = b"phone_number"
_IN_MEMORY = 1_000_000
"""Bytes; a longer list goes to disk."""
_LONGEST_PAGE_TEXT = 16_384


@dataclass(frozen=True, slots=True)
class Listing:
    """A complete list of one moment."""

    name: str
    rows: int
    digest: str
    """Of the whole body: two downloads with the same digest can share positions."""
    _file: IO[bytes]

    def read(self, position: int, most: int) -> tuple[list[str], int]:
        """Up to `most` rows from a byte position (0: the start), and the position after them."""
        self._file.seek(position)
        rows: list[str] = []
        while len(rows) < most and (line := self._file.readline()):
            rows.append(line.rstrip(b"\r\n").decode("utf-8", "replace"))
        return rows, self._file.tell()

    @property
    def end(self) -> int:
        """The position after the last row."""
        return self._file.seek(0, 2)

    def close(self) -> None:
        self._file.close()


def download(client: VicidialClient, name: str) -> Listing:
    """The list as VICIdial gives it now. Raises `VendorError` for all that is not a whole list."""
    with client.download(name) as response:
        is_list = response.headers.get("content-type", "").split(";")[0].strip() == "application/octet-stream"
        if not response.is_success or not is_list:
            _refuse_or_empty(client, name, response)
            return _spool(name, iter((FIRST_LINE + b"\r\n",)))
        client.guard.accepted()
        return _spool(name, response.iter_bytes(65_536))


def _spool(name: str, chunks: Iterator[bytes]) -> Listing:
    file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  (closed by the listing)
    try:
        digest, rows, head, last = hashlib.blake2b(digest_size=16), 0, b"", b""
        inside = False
        for chunk in chunks:
            if not inside:
                head += chunk
                line, found, chunk = head.partition(b"\n")
                if not found:
                    if len(head) > len(FIRST_LINE) + 2:
                        break
                    continue
                if line.rstrip(b"\r") != FIRST_LINE:
                    break
                inside, last = True, b"\n"
            digest.update(chunk)
            rows += chunk.count(b"\n")
            last = chunk[-1:] or last
            file.write(chunk)
        if not head:
            raise VendorError(
                Failure(
                    FailureKind.TRANSIENT,
                    f"empty answer instead of list {name}; a large list may have met PHP's memory_limit",
                    "empty",
                )
            )
        if not inside:
            raise VendorError(_no_list(name))
        if last != b"\n":
            raise VendorError(
                Failure(FailureKind.TRANSIENT, f"list {name} broke off in the middle of a row", "cut-off")
            )
        return Listing(name, rows, digest.hexdigest(), file)
    except BaseException:
        file.close()
        raise


def _refuse_or_empty(client: VicidialClient, name: str, response: httpx.Response) -> None:
    """Returns only for one of the two sentences that mean an empty list."""
    text = _start_of(response)
    if how := login_refused(text):
        raise VendorError(client.guard.refused(how))
    if response.status_code == 401:  # in other words, but a refused login all the same
        raise VendorError(client.guard.refused(Login.BAD))
    if not response.is_success:
        raise VendorError(failure_of(response))
    client.guard.accepted()
    line = text.strip()
    empty = (
        "There are no phone numbers in list: SYSTEM INTERNAL DNC"
        if name == INTERNAL
        else f"There are no leads in Campaign DNC list: {name}"
    )
    if line == empty:
        return
    for words, mend in DOWNLOAD_REFUSALS.items():
        if line.startswith(words):
            raise VendorError(Failure(FailureKind.UNAUTHORISED, f"list {name}: {mend}", "permission"))
    if not line:
        raise VendorError(Failure(FailureKind.TRANSIENT, f"empty answer instead of list {name}", "empty"))
    raise VendorError(_no_list(name))


DOWNLOAD_REFUSALS = {
    "Your session is expired.": "VICIdial wants a second factor; exempt the API user from two-factor login",
    "No list download permission:": "the API user needs 'Download Lists' = 1",
    "You are not allowed to view this report:": "the user group needs the report 'Download List'",
    "You are not allowed to download this list:": "unknown, or the user group is not allowed all campaigns",
}


def _no_list(name: str) -> Failure:
    return Failure(
        FailureKind.UNKNOWN,
        f"the answer is not list {name}: a changed page, an error, or a user whose language is not English",
        "unreadable",
    )


def _start_of(response: httpx.Response) -> str:
    text = b""
    for chunk in response.iter_bytes():
        text += chunk
        if len(text) >= _LONGEST_PAGE_TEXT:
            break
    return text[:_LONGEST_PAGE_TEXT].decode("utf-8", "replace")


def may_download(client: VicidialClient) -> Failure | None:
    """Whether the page is open to us, asked with a campaign that cannot exist, so that it lists nothing.

    The order of the page's checks is UNCONFIRMED (section 4.1 lists rights before campaigns).
    """
    nowhere = "-"
    try:
        download(client, nowhere).close()
    except VendorError as error:
        unknown_list = DOWNLOAD_REFUSALS["You are not allowed to download this list:"]
        if error.failure.message.endswith(unknown_list):
            return None
        return replace(error.failure, message=error.failure.message.removeprefix(f"list {nowhere}: "))
    return None
