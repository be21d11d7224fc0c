"""Mistakes before use, in listings, reads and change feeds; one toy connector each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx

from conformance.toy_vendor import ToyConnector, ToySettings
from dncsync.connector import (
    Context,
    Failure,
    FailureKind,
    FieldCheck,
    Looked,
    Page,
    Probe,
    ProbeCheck,
    VendorError,
)
from dncsync.model import Channel, Flag

NO = Failure(FailureKind.REJECTED, "no")


class PlainSecret(ToySettings):
    secret: str  # type: ignore[assignment]


class PlainSecretConnector(ToyConnector):
    def secret_text(self, name: str) -> str:
        value = getattr(self.settings, name)
        return value if isinstance(value, str) else str(value.get_secret_value())


# --- before use ----------------------------------------------------------------------------------------


class CallsOnConnect(ToyConnector):
    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__(settings, context)
        self.probe()


class NoBudget(ToyConnector):
    limits = ()


class OneKeyForAll(ToyConnector):
    def keys_for(self, number: str) -> tuple[str, ...]:
        return ("main/+12015550100",)


class SickProbe(ToyConnector):
    def probe(self) -> Probe:
        return Probe("toy-1", (ProbeCheck("permission write", False, "False", "grant it"),))


class EmptyContract(ToyConnector):
    def describe(self) -> tuple[FieldCheck, ...]:
        return ()


# --- listings ------------------------------------------------------------------------------------------


class DropsOnePerPage(ToyConnector):
    def page(self, rows: Sequence[Mapping[str, Any]], cursor: str, more: bool) -> Page:
        return super().page(rows[1:], cursor, more)


class PlaceInMemory(ToyConnector):
    place: str | None = None

    def snapshot(self, cursor: str | None) -> Iterator[Page]:
        for page in super().snapshot(self.place):
            self.place = page.cursor
            yield replace(page, cursor="in memory")


class ListsAllFirst(ToyConnector):
    def snapshot(self, cursor: str | None) -> Iterator[Page]:
        yield from list(super().snapshot(cursor))


class ErrorIsTheEnd(ToyConnector):
    def snapshot(self, cursor: str | None) -> Iterator[Page]:
        try:
            yield from super().snapshot(cursor)
        except VendorError:
            yield Page((), cursor or "0|", more=False)


class BelievesShortLists(ToyConnector):
    def look_at_total(self, seen: int, total: int) -> None:
        pass


class BelievesRepeatedPages(ToyConnector):
    def look_at_order(self, rows: Sequence[Mapping[str, Any]], after: str) -> None:
        pass


# --- reads ---------------------------------------------------------------------------------------------


class BlindOnOneChannel(ToyConnector):
    def flag(self, row: Mapping[str, Any], channel: Channel) -> Flag:
        return Flag.CLEAR if channel is Channel.SMS else super().flag(row, channel)


class UnknownKeyFails(ToyConnector):
    def looked(self, key: str, row: Mapping[str, Any] | None) -> Looked:
        return Looked(key, failure=NO) if row is None else super().looked(key, row)


class OneBadKeyFailsAll(ToyConnector):
    def rows_of(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        if any(" " in key for key in keys):
            raise VendorError(NO)
        return super().rows_of(keys)


class CutsReads(ToyConnector):
    def read(self, keys: Sequence[str]) -> Iterator[Looked]:
        return super().read(keys[: self.capabilities.read_batch])


class ReadsTheIndex(ToyConnector):
    def rows_of(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        body = {"keys": keys, "indexed": True}
        rows: list[dict[str, Any]] = self.body_of(self.call("POST", "/read", json=body))["rows"]
        return rows


class UnreadableIsEmpty(ToyConnector):
    def body_of(self, answer: httpx.Response) -> Any:
        try:
            return super().body_of(answer)
        except VendorError:
            return {"rows": [], "token": ""}


class FindsAnybody(ToyConnector):
    def find(self, number: str) -> Iterator[Looked]:
        page = next(self.snapshot(None))
        yield from (Looked(holding.key, holding) for holding in page.holdings)


# --- changes -------------------------------------------------------------------------------------------


class SeesNoChange(ToyConnector):
    def feed(self, at: int, key: str) -> list[dict[str, Any]]:
        return []


class StartsLate(ToyConnector):
    def changes(self, cursor: str | None) -> Iterator[Page]:
        pages = super().changes(cursor)
        for page in pages:
            if cursor is None:
                late = json.dumps({"at": self.now() + 60_000_000, "key": "", "began": None})
                page = replace(page, cursor=late)
            yield page


class WatermarkBeforeDelivery(ToyConnector):
    def cursor_after(self, at: int, key: str, began: int, more: bool) -> str:
        return super().cursor_after(at, key, began, more=False)

    def floor(self, began: int) -> int:
        return began


class CrowdFallsBetweenPages(ToyConnector):
    def feed(self, at: int, key: str) -> list[dict[str, Any]]:
        return super().feed(at, "~" if key else "")


class NoOverlap(ToyConnector):
    def floor(self, began: int) -> int:
        return began


class BrokenPollMovesOn(ToyConnector):
    def changes(self, cursor: str | None) -> Iterator[Page]:
        try:
            yield from super().changes(cursor)
        except VendorError:
            yield Page((), self.cursor_after(0, "", self.now() + 10_000_000, more=False), more=False)


class NeverMovesOn(ToyConnector):
    def floor(self, began: int) -> int:
        return began - 7 * 24 * 3600 * 1_000_000
