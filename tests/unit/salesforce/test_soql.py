"""SOQL is built in one place, and nothing that is quoted gets out of its quotes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dncsync_salesforce.fields import kinds_of
from dncsync_salesforce.sandbox_soql import Column, translate
from dncsync_salesforce.searching import sosl, spellings
from dncsync_salesforce.settings import SalesforceSettings
from dncsync_salesforce.soql import among, select, text

COLUMNS = {"id": Column("Id", "Id", "id"), "phone": Column("Phone", "Phone", "phone")}


def test_conditions_get_parentheses_and_empty_ones_are_left_out() -> None:
    assert select("Id", "Lead", ("a = 1 OR b = 2", "", "c = 3"), order="Id", limit=5) == (
        "SELECT Id FROM Lead WHERE (a = 1 OR b = 2) AND (c = 3) ORDER BY Id LIMIT 5"
    )
    assert select("COUNT()", "Lead") == "SELECT COUNT() FROM Lead"


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_quoted_values_come_out_as_they_went_in(values: list[str]) -> None:
    query = translate(select("Id", "Contact", (among("Phone", values),)), lambda name: (name, COLUMNS))
    assert query.values == values


def test_a_quote_does_not_end_a_literal() -> None:
    assert text("O'Hara\\") == "'O\\'Hara\\\\'"


def test_a_search_escapes_reserved_characters_and_leaves_converted_leads_out() -> None:
    settings = SalesforceSettings.model_validate(
        {"vendor": "salesforce", "domain": "a.my", "client_id": "x", "client_secret": "made-up"}
    )
    asked = sosl("+12025550101", kinds_of(settings)[:2], persons=False)
    assert '"\\(202\\) 555\\-0101"' in asked
    assert "Lead(Id WHERE IsConverted = false)" in asked
    assert "202.555.0101" in spellings("+12025550101")
    assert spellings("+442079460958")[0] == "442079460958"
