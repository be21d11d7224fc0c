"""The shared conformance kit over this connector: the internal list alone, and a campaign's beside it."""

from __future__ import annotations

from dncsync.testing.conformance import ConformanceSuite, Facts
from dncsync_vicidial import PLUGIN

EXCUSED = {
    "short-list-is-not-complete": "the page sends no total, so a first listing cannot be held against "
    "anything; later ones are: test_a_download_that_shrinks_is_not_believed",
    "a-read-only-field-is-described": "VICIdial never looks at the result of its insert and says SUCCESS; "
    "only reading shows it: test_success_without_effect_is_seen_by_reading",
}
VANISHED = (
    "a list has no fields, and its entries outlive its campaign; that a campaign is no longer seen is "
    "described: test_a_campaign_that_is_hidden_or_renamed_is_described"
)
ONE_CALL = {"snapshot-is-taken-page-by-page": "a list has no pages at the vendor: it is one download"}


class TestInternalList(ConformanceSuite):
    plugin = PLUGIN
    facts = Facts(config={"page_rows": 20}, covered_by_signature=frozenset(), excused=EXCUSED | ONE_CALL)


class TestInternalAndCampaignLists(ConformanceSuite):
    plugin = PLUGIN
    facts = Facts(
        config={"page_rows": 20},
        options={"opted_out_share": 0.3, "lists": ("SYSTEM_INTERNAL", "SALES")},
        covered_by_signature=frozenset(),
        excused=EXCUSED | {"a-hidden-field-is-not-clear": VANISHED, "a-renamed-field-is-not-clear": VANISHED},
    )
