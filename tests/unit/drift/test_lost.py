"""Who took a block away, in words: from each vendor's own codes."""

from __future__ import annotations

import pytest

from dncsync.connector import Capabilities, Unit
from dncsync.model import Channel, Provenance, Role
from dncsync.sync.lost import cause_of, subject_of
from dncsync.sync.topology import SystemFacts

CRM = SystemFacts(
    "crm", "test", "US", Capabilities(Unit.RECORD, Role.CRM, frozenset({Channel.VOICE})), lambda number: ()
)


@pytest.mark.parametrize(
    ("provenance", "words"),
    [
        (Provenance("enrollmentId:7", "AUTOMATION_PLATFORM"), "a workflow changed it back (enrollmentId:7)"),
        (Provenance("224488", "INTEGRATION", ours=False), "another integration (id 224488)"),
        (Provenance("9923", "IMPORT"), "an import (id 9923)"),
        (Provenance("mergeId:17", "MERGE_OBJECTS"), "a merge of records (mergeId:17)"),
        (Provenance("userId:28", "CRM_UI"), "a person in the vendor's screens (userId:28)"),
        (Provenance("user:0055", "field-history", ours=False), "another user (user:0055)"),
        (
            Provenance("user:0055", "last-modified"),
            "another user (user:0055, who touched the record last)",
        ),
        (
            Provenance("user:0050", "last-modified", ours=True),
            "automation that runs as our own user: a trigger, a flow or a rule",
        ),
        (
            Provenance("77", "INTEGRATION", ours=True),
            "automation that runs as our own user: a trigger, a flow or a rule",
        ),
        (Provenance("", "BRAND_NEW_SOURCE"), "BRAND_NEW_SOURCE"),
        (Provenance(), "the vendor does not say who"),
    ],
)
def test_a_cause_is_named_in_words(provenance: Provenance, words: str) -> None:
    cause = cause_of(CRM, provenance)
    assert cause.words == words
    assert cause.mend


def test_a_number_in_a_vendors_words_is_masked() -> None:
    assert "3125550142" not in cause_of(CRM, Provenance("+13125550142", "SMS_KEYWORD")).words


def test_kinds_of_records_have_their_own_fields() -> None:
    assert subject_of("57000000001", Channel.VOICE) == "voice"
    assert subject_of("Lead/00Q1", Channel.VOICE) == "voice of Lead"
