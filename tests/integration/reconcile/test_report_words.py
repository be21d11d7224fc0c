"""The report's words, verdict and drawings: never kinder than the facts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dncsync.reconcile import facts as f
from dncsync.reconcile.report import charts, contents, layout, verdict, wording
from dncsync.reconcile.report.document import Chart, Column, Kind, Table
from integration.reconcile import report_edges as edges
from integration.reconcile import report_samples as samples

UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}


def seconds(said: str) -> float:
    """A worded span as seconds again."""
    parts = said.split(wording.JOINED)
    return sum(
        float(number.replace(",", "")) * UNITS[unit]
        for number, unit in zip(parts[::2], parts[1::2], strict=True)
    )


@given(st.floats(min_value=0, max_value=1e8))
def test_a_span_is_never_shorter_in_words_and_never_much_longer(value: float) -> None:
    said = seconds(wording.span(value))

    assert said >= value - 1e-5
    assert said - value <= max(0.1, 0.5 if value < 10 else 1, value * 0.1)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0 s"),
        (0.4, "0.4 s"),
        (0.0001, "0.1 s"),
        (59.2, "60 s"),
        (100.0, "1 min 40 s"),
        (599.5, "10 min"),
        (3600, "60 min"),
        (11_520, "3 h 12 min"),
        (11_520.4, "3 h 13 min"),
        (172_801, "2 d 1 h"),
        (1e8, "1,157 d 10 h"),
    ],
)
def test_spans(value: float, said: str) -> None:
    assert wording.span(value).replace(wording.JOINED, " ") == said


@given(st.floats(min_value=0, max_value=1, exclude_max=True))
def test_only_everything_is_a_hundred_percent(value: float) -> None:
    said = wording.share(value)

    assert not said.startswith("100")
    if not said.startswith("<"):
        assert float(said.split(wording.JOINED)[0]) <= value * 100 + 1e-7


@given(st.text())
def test_legible_text_is_one_line_and_has_nothing_unseen(text: str) -> None:
    said = wording.legible(text)

    assert len(said) <= 8 * wording.MOST_LETTERS + 8
    assert all(letter.isprintable() or letter.isspace() for letter in said)
    assert "\n" not in said
    assert layout.SOFT not in said, "soft breaks are ours alone"
    assert layout.soft(said).replace(layout.SOFT, "") == said


def test_an_instant_of_long_ago_and_of_late_is_exact_to_the_microsecond() -> None:
    assert wording.iso(-1) == "1969-12-31T23:59:59.999999Z"
    assert wording.iso(253_402_300_799_999_999) == "9999-12-31T23:59:59.999999Z"


# --- the verdict ------------------------------------------------------------------------------------------


def changed(facts: f.Facts, **processing: Any) -> f.Facts:
    return facts.model_copy(update={"processing": facts.processing.model_copy(update=processing)})


def test_all_went_well_is_said_in_one_sentence() -> None:
    facts = samples.calm()

    assert verdict.sound(facts)
    assert verdict.sentence(facts).replace(wording.JOINED, " ") == (
        "All 12,345 requests were confirmed in every system that can be read, the slowest within 3 h 12 min."
    )


def test_what_was_only_accepted_is_not_called_confirmed() -> None:
    said = verdict.sentence(changed(samples.calm(), confirmed=12_000, accepted=345))
    one = verdict.sentence(changed(samples.calm(), confirmed=12_344, accepted=1))

    assert "; 1 was also accepted by a system that cannot be read" in one
    assert "confirmed" not in said
    assert said.startswith("All 12,345 requests were read back in every system that can be read")
    assert said.endswith("; 345 were also accepted by a system that cannot be read.")


def test_an_open_request_is_in_the_verdict() -> None:
    facts = changed(samples.calm(), confirmed=12_344, open=1)

    assert not verdict.sound(facts)
    assert "All" not in verdict.sentence(facts)
    assert "; 1 is still open" in verdict.sentence(facts)


def test_a_request_past_the_federal_deadline_is_in_the_verdict() -> None:
    facts = changed(samples.calm(), over_federal=2)

    assert not verdict.sound(facts)
    assert "2 requests legally late, past the federal deadline" in verdict.sentence(facts)
    known = changed(samples.calm(), over_federal=2, already_late=1)
    assert "1 request legally late, past the federal deadline" in verdict.sentence(known)
    assert "1 request already past the federal deadline when this ledger first knew" in verdict.sentence(
        known
    )


def test_a_system_that_could_not_be_read_is_named_and_has_its_line() -> None:
    facts = samples.rich()
    text = str(layout.laid_out(contents.document(facts)))

    assert not verdict.sound(facts)
    assert "1 system could not be read: genesys" in verdict.sentence(facts)
    assert "the token was refused (401) since 2026-09-12" in text


def test_a_system_never_compared_is_a_line_without_figures() -> None:
    blind = samples.platform("odd", "odd", "crm", 5, 1, blind="no permission to list contacts")
    assert blind.comparison is None
    document = contents.document(samples.calm().model_copy(update={"platforms": (blind,)}))
    tables = {table.name: table for table in document.tables()}

    assert list(tables["reconciliation"].rows()) == [("odd", *[None] * 7, "not compared")]
    assert next(iter(tables["could-not-be-read"].rows()))[2] == "no permission to list contacts"
    assert tables["causes"].empty == "No system was compared.", "nothing is claimed of what was not seen"


def test_holdings_that_should_be_blocked_and_are_not_are_in_the_verdict() -> None:
    facts = samples.rich()
    left = sum(p.comparison.missing + p.comparison.different for p in facts.platforms if p.comparison)

    assert left
    assert f"{left} holdings that should be blocked were not" in verdict.sentence(facts)


def test_a_ledger_that_does_not_verify_comes_first() -> None:
    facts = edges.extreme()

    assert not verdict.sound(facts)
    assert verdict.sentence(facts).startswith("The ledger itself does not verify, so nothing below")


def test_an_unfinished_period_is_said_to_be_unfinished() -> None:
    assert verdict.sentence(edges.empty()) == "So far, no request was received in 2026Q3."
    assert not verdict.sound(edges.empty())


# --- drawings ---------------------------------------------------------------------------------------------


def drawn(facts: f.Facts) -> list[Chart]:
    return [b for s in contents.document(facts).sections for b in s.blocks if isinstance(b, Chart)]


def lightness(tone: str) -> float:
    """Relative luminance to CIE lightness, 0 to 100."""
    red, green, blue = (int(tone[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return float(116 * luminance ** (1 / 3) - 16)


def test_drawings_are_shapes_and_words_only() -> None:
    for facts in (samples.calm(), samples.rich(), edges.extreme()):
        charts_drawn = drawn(facts)
        assert len(charts_drawn) == 3
        for chart in charts_drawn:
            for element in ET.fromstring(chart.svg).iter():
                assert element.tag.rpartition("}")[2] in {
                    *("svg", "title", "desc", "defs", "pattern", "rect", "g", "path", "text"),
                }
                assert not {"style", "class", "onclick"} & set(element.attrib)


def test_tones_beside_each_other_differ_without_colour() -> None:
    for tones in (charts.LADDER, [tone for tone in charts.KINDS if tone.startswith("#")]):
        for one, other in pairwise(tones):
            assert abs(lightness(one) - lightness(other)) >= 12, (one, other)


def test_nothing_is_drawn_for_nothing() -> None:
    svg = charts.columns("c", "t", "d", ["w1", "w2"], {"a": [1, None], "b": [0, 2]}, charts.LADDER, str)
    boxes = [e for e in ET.fromstring(svg).iter() if e.tag.endswith("rect") and e.get("stroke") == "#ffffff"]

    assert len(boxes) == 2


def test_a_bar_is_as_long_as_its_share() -> None:
    svg = charts.bars("b", "t", "d", ["one"], {"a": [0.25], "b": [0.75]}, charts.LADDER, str, most=1.0)
    boxes = [e for e in ET.fromstring(svg).iter() if e.tag.endswith("rect") and e.get("stroke") == "#ffffff"]
    one, other = (float(box.attrib["width"]) for box in boxes)

    assert other / one == pytest.approx(3, rel=0.01)


@given(st.floats(min_value=0, max_value=1e12))
def test_the_grid_reaches_the_top_in_few_round_steps(top: float) -> None:
    lines = charts._grid(top)

    assert lines[0] == 0
    assert lines[-1] >= top
    assert 2 <= len(lines) <= 7
    if top >= 1:
        assert all(line == int(line) for line in lines)


def test_the_others_are_counted_in_the_findings_chart() -> None:
    facts = edges.extreme()
    chart = next(c for c in drawn(facts) if c.name == "chart-findings")
    said = [
        int(part.rpartition(": ")[2].rstrip(".").replace(",", "")) for part in chart.described.split("; ")
    ]

    assert sum(said) == sum(week.opened for week in facts.findings.weeks)
    weeks = {
        week.week for week in facts.findings.weeks if week.kind in ("unknown-key", "credential-expiring")
    }
    assert chart.svg.count('fill="url(#chart-findings-pale-hatched)"') == len(weeks) + 1, "and in the legend"


def test_columns_of_a_table_keep_room_for_their_figures() -> None:
    table = Table(
        "t",
        "T",
        (Column("Name"), Column("Count", Kind.COUNT), Column("What")),
        1,
        lambda: [("x" * 200, 10**12, "word " * 60)],
    )
    widths = [column["width"] for column in layout._table(table, {})["columns"]]

    assert widths[1] >= len("1,000,000,000,000")
    assert sum(widths) <= layout._LINE + 2
