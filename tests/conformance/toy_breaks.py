"""The toy connector with one rule broken at a time: mistakes that real connectors make.

`BREAKS` maps the name of each check of the kit to plugins that it must catch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from conformance.toy_breaks_reading import (
    BelievesRepeatedPages,
    BelievesShortLists,
    BlindOnOneChannel,
    BrokenPollMovesOn,
    CallsOnConnect,
    CrowdFallsBetweenPages,
    CutsReads,
    DropsOnePerPage,
    EmptyContract,
    ErrorIsTheEnd,
    FindsAnybody,
    ListsAllFirst,
    NeverMovesOn,
    NoBudget,
    NoOverlap,
    OneBadKeyFailsAll,
    OneKeyForAll,
    PlaceInMemory,
    PlainSecret,
    PlainSecretConnector,
    ReadsTheIndex,
    SeesNoChange,
    SickProbe,
    StartsLate,
    UnknownKeyFails,
    UnreadableIsEmpty,
    WatermarkBeforeDelivery,
)
from conformance.toy_breaks_writing import (
    AgelessWebhooks,
    AlreadyThereFails,
    AnswersFiveHundred,
    AnyTypeWillDo,
    CallsAgainAtOnce,
    CutsWrites,
    HammersOn429,
    HearsNothing,
    LoginStorm,
    LosesTheTime,
    LostPermissionIsAWhim,
    MissingIsClear,
    NeverClears,
    NonceByChance,
    NoProof,
    OneBadItemFailsAll,
    OneNonceForAll,
    OwnIdeaOfTheUrl,
    ProofByPrefix,
    ProofRaises,
    ReadOnlyWillDo,
    RemembersWhatItWrote,
    RepeatsTheVendor,
    RetriesWrites,
    TrustsBodies,
    VoiceOnly,
    WritesEveryChannel,
    WritesNothing,
    taking,
)
from conformance.toy_sandbox import connect_from_a_heavy_module
from conformance.toy_vendor import NUMBER, RECORD, ToyConnector
from dncsync.connector import (
    Connector,
    Context,
    FailureKind,
    Plugin,
    SystemSettings,
)


def plugin(connector: type[ToyConnector], of: Plugin = RECORD) -> Plugin:
    """The toy plugin with a broken connector."""

    def connect(settings: SystemSettings, context: Context) -> Connector:
        return connector(settings, context)

    return replace(of, connect=connect)


def _under(code: str, as_kind: FailureKind | None) -> tuple[Plugin, ...]:
    return (plugin(taking(code, as_kind)),)


_T, _R = FailureKind.TRANSIENT, FailureKind.REJECTED
_many: Callable[..., tuple[Plugin, ...]] = lambda *cs: tuple(plugin(c) for c in cs)  # noqa: E731

BREAKS: Mapping[str, tuple[Plugin, ...]] = {
    "importing-is-cheap": (replace(RECORD, connect=connect_from_a_heavy_module),),
    "settings-keep-secrets": (replace(plugin(PlainSecretConnector), settings=PlainSecret),),
    "connecting-calls-nobody": _many(CallsOnConnect),
    "budget-is-declared": _many(NoBudget),
    "capabilities-are-sane": (plugin(OneKeyForAll), plugin(OneKeyForAll, NUMBER)),
    "probe-is-well": _many(SickProbe),
    "describe-is-well": _many(EmptyContract),
    "snapshot-is-complete": (plugin(DropsOnePerPage), plugin(DropsOnePerPage, NUMBER)),
    "snapshot-resumes-from-every-cursor": _many(PlaceInMemory),
    "snapshot-is-taken-page-by-page": _many(ListsAllFirst),
    "broken-off-listing-is-not-complete": _many(ErrorIsTheEnd),
    "short-list-is-not-complete": (plugin(BelievesShortLists), plugin(BelievesShortLists, NUMBER)),
    "repeated-page-is-not-complete": _many(BelievesRepeatedPages),
    "read-tells-the-truth": (plugin(BlindOnOneChannel), plugin(BlindOnOneChannel, NUMBER)),
    "unknown-key-is-gone": (plugin(UnknownKeyFails), plugin(UnknownKeyFails, NUMBER)),
    "malformed-key-spoils-nothing": _many(OneBadKeyFailsAll),
    "read-batch-is-not-cut": _many(CutsReads),
    "read-never-trusts-an-index": _many(ReadsTheIndex),
    "find-tells-no-tales": _many(FindsAnybody),
    "a-change-is-seen": (plugin(SeesNoChange), plugin(SeesNoChange, NUMBER)),
    "a-first-poll-starts-now": _many(StartsLate),
    "polls-killed-between-pages-lose-nothing": _many(WatermarkBeforeDelivery),
    "a-crowd-at-one-instant-is-seen": _many(CrowdFallsBetweenPages),
    "late-rows-are-not-passed-by": _many(NoOverlap),
    "a-broken-poll-loses-nothing": _many(BrokenPollMovesOn),
    "a-quiet-world-is-quiet": _many(NeverMovesOn),
    "write-sets": (plugin(WritesNothing), plugin(WritesNothing, NUMBER)),
    "write-twice-is-success": (plugin(AlreadyThereFails), plugin(AlreadyThereFails, NUMBER)),
    "write-clears": (plugin(NeverClears), plugin(NeverClears, NUMBER)),
    "write-leaves-others-alone": _many(WritesEveryChannel),
    "bad-key-spoils-only-itself": _many(OneBadItemFailsAll),
    "write-batch-is-not-cut": _many(CutsWrites),
    "a-dropped-write-is-seen": _many(RemembersWhatItWrote),
    "write-under-reset-before": (*_under("network", None), *_under("network", _R)),
    "write-under-reset-after": (*_under("network", _T), *_under("network", _R)),
    "write-under-status-500": (*_under("500", None), *_under("500", _R)),
    "write-under-status-503": _under("503", None),
    "write-under-status-after-500": _under("500", _T),
    "write-under-html-200": _under("unreadable", None),
    "write-under-html-502": _under("502", _R),
    "write-under-truncated": _under("unreadable", _T),
    "write-under-delay": _under("timeout", _T),
    "write-under-status-400": _under("400", None),
    "a-write-that-may-have-landed-is-unknown": (*_under("network", _T), *_under("network", None)),
    "no-blind-retry-of-writes": _many(RetriesWrites),
    "a-read-in-bad-weather-tells-no-lies": _many(UnreadableIsEmpty),
    "our-budget-comes-before-their-429": _many(NoBudget),
    "short-rate-limit-is-waited-out": _many(CallsAgainAtOnce),
    "long-rate-limit-is-handed-back": _many(LosesTheTime, HammersOn429),
    "rate-limit-without-a-time-is-no-invitation": _many(HammersOn429),
    "expired-token-is-no-login-storm": _many(LoginStorm),
    "lost-permission-asks-a-person": _many(LostPermissionIsAWhim),
    "a-hidden-field-is-not-clear": _many(MissingIsClear),
    "a-renamed-field-is-not-clear": (plugin(MissingIsClear), plugin(MissingIsClear, NUMBER)),
    "a-retyped-field-is-described": _many(AnyTypeWillDo),
    "a-read-only-field-is-described": _many(ReadOnlyWillDo),
    "failures-name-nobody": _many(RepeatsTheVendor),
    "its-own-webhooks-are-taken": (plugin(HearsNothing), plugin(HearsNothing, NUMBER)),
    "statements-name-a-declared-channel": (plugin(VoiceOnly, NUMBER),),
    "a-forged-body-is-refused": _many(NoProof, AnswersFiveHundred),
    "a-forged-signature-is-refused": _many(ProofByPrefix, ProofRaises),
    "a-forged-url-is-refused": _many(OwnIdeaOfTheUrl),
    "a-stale-webhook-is-refused": _many(AgelessWebhooks),
    "a-replay-has-the-same-nonce": _many(NonceByChance, OneNonceForAll),
    "hostile-bodies-are-refused": _many(TrustsBodies),
}
