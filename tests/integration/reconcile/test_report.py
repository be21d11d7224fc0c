"""The report as files: whole or not at all, the same bytes each time, nobody's text ever markup."""

from __future__ import annotations

import csv
import io
import json
from base64 import b64encode
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typst

from dncsync.reconcile import facts as f
from dncsync.reconcile import report
from dncsync.reconcile.report import contents, layout, page, paper, wording
from dncsync.reconcile.report.document import Column, Kind, Table
from dncsync.reconcile.report.tables import inert, write_csv
from integration.reconcile import report_edges as edges
from integration.reconcile import report_samples as samples

MADE = {"calm": samples.calm, "empty": edges.empty, "extreme": edges.extreme}


@cache
def made(name: str) -> f.Facts:
    return MADE[name]()


@cache
def laid_out(name: str) -> dict[str, Any]:
    return layout.laid_out(contents.document(made(name)))


@cache
def html(name: str) -> str:
    return page.html(laid_out(name)).decode()


class Page(HTMLParser):
    """What is on a page: elements with their attributes, and the text."""

    VOID = frozenset({"meta", "wbr", "br"})

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.style = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(params=sorted(MADE))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# --- files ------------------------------------------------------------------------------------------------


def test_the_same_facts_give_the_same_bytes(tmp_path: Path) -> None:
    first = report.write(samples.calm(), tmp_path / "a")
    second = report.write(samples.calm(), tmp_path / "b")

    assert [path.name for path in first] == [path.name for path in second]
    assert {p.name for p in first} == {p.name for p in (tmp_path / "a").iterdir()}
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_the_json_is_the_canonical_text_and_the_pdf_carries_it(tmp_path: Path) -> None:
    facts = made("calm")
    paths = report.write(facts, tmp_path / "r")

    assert paths[0].name == report.FACTS
    assert paths[0].read_bytes() == f.canonical(facts)
    assert f.read(paths[0].read_bytes()) == facts
    pdf = (tmp_path / "r" / report.PDF).read_bytes()
    assert pdf.startswith(b"%PDF-1.7")
    assert b"report.json" in pdf
    assert b"/StructTreeRoot" in pdf, "tagged for screen readers"


@pytest.mark.parametrize("size", ["us-letter", "a4"])
def test_hostile_names_and_endless_numbers_still_make_a_whole_report(
    tmp_path: Path, size: paper.Paper
) -> None:
    paths = report.write(made("extreme"), tmp_path / size, paper=size)

    assert all(path.stat().st_size for path in paths)


def test_a_pdf_that_fails_leaves_no_new_folder_and_the_old_report_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old"
    before = {path.name: path.read_bytes() for path in report.write(made("empty"), old)}
    (old / "notes.txt").write_text("a person's")

    def fails(*_: object, **__: object) -> bytes:
        raise RuntimeError("typst has stopped")

    monkeypatch.setattr(report, "pdf", fails)
    for folder in (old, tmp_path / "new"):
        with pytest.raises(RuntimeError, match="stopped"):
            report.write(made("calm"), folder)

    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert {p.name: p.read_bytes() for p in old.iterdir() if p.name != "notes.txt"} == before


def test_a_new_report_replaces_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    report.write(made("empty"), tmp_path)
    (tmp_path / "notes.txt").write_text("a person's")

    paths = report.write(made("calm"), tmp_path)

    assert f.read((tmp_path / report.FACTS).read_bytes()) == made("calm")
    assert (tmp_path / "notes.txt").read_text() == "a person's"
    assert {p.name for p in paths} < {p.name for p in tmp_path.iterdir()}
    assert not list(tmp_path.glob("*.partial")) + list(tmp_path.glob(".*"))


def test_a_crash_between_two_files_leaves_no_report_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report.write(made("empty"), tmp_path)
    moved: list[str] = []
    replace = Path.replace

    def stops(self: Path, target: Path) -> Path:
        moved.append(self.name)
        if len(moved) == 3:
            raise OSError("no power")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", stops)
    with pytest.raises(OSError, match="no power"):
        report.write(made("calm"), tmp_path)

    assert len(moved) == 3
    assert not (tmp_path / report.FACTS).exists(), "what is there must not pass for a whole report"


# --- every fact -------------------------------------------------------------------------------------------

ONLY_IN_JSON = ("schema_version", "period.starts_at", "period.ends_at", "period.over")
"""The period's instants: its days are shown. Whether it was over is said in words."""
ONLY_IN_WORDS = ("checklist.form.fields", "policy.banner", "fuses.available", "canary.configured")


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        named = path not in ("policy.values", "queries") and not path.endswith("comparison.samples")
        for key, part in value.items():
            yield from leaves(part, f"{path}.{key}".lstrip(".") if named else path)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from leaves(part, path)
    elif value not in (None, "", True, False):
        yield path, value


def ways(value: Any) -> set[str]:
    """How a value may be said."""
    if isinstance(value, str):
        return {value, value.replace("_", " "), value[:1].upper() + value[1:], " ".join(value.split())}
    said = {str(value), wording.span(value), wording.hours(value)}
    if isinstance(value, int):
        said |= {wording.count(value)}
        if value > 10**12:
            said |= {wording.iso(value), wording.instant(value), wording.instant(value).removesuffix(" UTC")}
    return said


def test_every_fact_of_a_small_report_is_on_the_page_or_in_its_tables(tmp_path: Path) -> None:
    paths = report.write(made("calm"), tmp_path / "r")
    tables = "\n".join(path.read_text() for path in paths if path.suffix == ".csv")
    everything = Page(html("calm")).text + tables
    lost = sorted(
        {
            (path, str(value))
            for path, value in leaves(made("calm").model_dump(mode="json"))
            if not path.startswith((*ONLY_IN_JSON, *ONLY_IN_WORDS))
            and not any(way in everything for way in ways(value))
        }
    )

    assert lost == []


def text_of(part: Any) -> Iterator[str]:
    """Every text in what typst's query tells of an element."""
    if isinstance(part, dict):
        if isinstance(part.get("text"), str):
            yield part["text"]
        yield from (found for key, value in part.items() if key != "text" for found in text_of(value))
        if part.get("func") == "space":
            yield " "
    elif isinstance(part, list):
        for value in part:
            yield from text_of(value)


def asked(name: str, selector: str) -> list[Any]:
    """What typst finds in the set paper."""
    found = typst.query(
        paper._SOURCE.read_bytes(),
        selector,
        ignore_system_fonts=True,
        sys_inputs={
            "layout": json.dumps(paper.drawable(laid_out(name))),
            "attached": "{}",
            "paper": "a4",
        },
    )
    answer = json.loads(found)
    assert isinstance(answer, list)
    return answer


def test_paper_and_page_have_the_same_sections_and_table_captions(name: str) -> None:
    headings = ["".join(text_of(h["body"])) for h in asked(name, "heading.where(level: 2)")]
    figures = asked(name, "figure")
    captions = ["".join(text_of(figure["caption"]["body"])) for figure in figures]

    sections = laid_out(name)["sections"]
    assert headings == [section["title"] for section in sections]
    drawn = [
        b
        for section in sections
        for b in section["blocks"]
        if b["type"] == "chart" or (b["type"] == "table" and b["rows"])
    ]
    assert len(drawn) == len(captions)
    assert all(said.startswith(block["caption"]) for said, block in zip(captions, drawn, strict=True))
    page_text = Page(html(name)).text
    assert all(title in page_text for title in headings)


# --- nobody's text is markup ------------------------------------------------------------------------------


def test_the_page_has_no_script_and_needs_nothing_beside_itself(name: str) -> None:
    found = Page(html(name))

    assert found.open == []
    allowed = (
        "html head meta title style body header main section nav footer h1 h2 h3 p ul ol li dl dt dd div "
        "span strong sup a code table caption thead tbody tfoot tr th td wbr figure figcaption "
        "svg desc defs pattern g rect path text"
    )
    assert {tag for tag, _ in found.elements} <= set(allowed.split())
    for tag, attributes in found.elements:
        for key, value in attributes.items():
            assert not key.startswith("on"), (tag, key)
            assert key not in ("style", "src", "srcset", "xlink:href", "action"), (tag, key)
            if key == "href":
                assert (value or "").startswith("#")
            if key == "fill" and "url" in (value or ""):
                assert (value or "").startswith("url(#")
    assert "@import" not in found.style
    assert "url(" not in found.style


def test_the_content_policy_lets_through_our_style_sheet_and_nothing_else(name: str) -> None:
    found = Page(html(name))
    policies = [m["content"] for m in found.of("meta") if m.get("http-equiv") == "Content-Security-Policy"]

    digest = b64encode(sha256(found.style.encode()).digest()).decode()
    assert policies == [
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    ]


def test_hostile_text_stands_on_the_page_as_it_was_written() -> None:
    source, text = html("extreme"), Page(html("extreme")).text

    assert '<script>alert("x")</script>' in text
    assert "<script" not in source
    assert "]]></svg><img src=x onerror=alert(1)>" in text
    assert "\u202e" not in source, "an override of the writing direction hides what stands there"
    assert "U+202E" in source


def test_typst_takes_hostile_text_as_text() -> None:
    hostile = edges.NASTY[1]
    facts = made("calm")
    policy = facts.policy.model_copy(update={"source": hostile})
    document = contents.document(facts.model_copy(update={"policy": policy}))
    found = typst.query(
        paper._SOURCE.read_bytes(),
        "figure",
        ignore_system_fonts=True,
        sys_inputs={"layout": json.dumps(layout.laid_out(document)), "attached": "{}", "paper": "a4"},
    )

    captions = ["".join(text_of(figure["caption"]["body"])) for figure in json.loads(found)]
    assert any(hostile in caption for caption in captions)
    assert "@preview" not in paper._SOURCE.read_text(), "packages come from the network"


def test_every_character_that_passes_for_drawable_can_be_drawn() -> None:
    letters = "".join(
        chr(code)
        for first, last in paper._DRAWN
        for code in range(first, last + 1)
        if chr(code).isprintable()
    )
    program = b'#set text(font: ("Libertinus Serif", "DejaVu Sans Mono"))\n#sys.inputs.letters'

    assert len(letters) > 2000
    # PDF/A refuses a character that no font has.
    typst.compile(
        program,
        format="pdf",
        ignore_system_fonts=True,
        pdf_standards=["a-2u"],
        sys_inputs={"letters": " ".join(letters)},
        timestamp=0,
    )


def test_what_no_font_has_is_spelled_on_paper_and_written_on_the_page() -> None:
    said = json.dumps(paper.drawable(laid_out("extreme")), ensure_ascii=False)

    assert "山" not in said
    assert "U+5C71" in said
    assert "山" in html("extreme")


@pytest.mark.parametrize("text", ["=1+1", "+15550100", "-2", "@SUM(A1)", "\t=1", "  =1", "\r=1", "\n=1"])
def test_no_cell_of_a_csv_is_a_formula(text: str) -> None:
    assert inert(text) == f"'{text}"
    assert inert(f"x{text}") == f"x{text}"


def test_formulas_in_names_and_keys_are_inert_in_every_csv(tmp_path: Path) -> None:
    paths = report.write(made("extreme"), tmp_path / "r")
    cells = 0
    for path in paths:
        if path.suffix == ".csv":
            for row in csv.reader(io.StringIO(path.read_text(), newline="")):
                cells += len(row)
                assert not [cell for cell in row if cell.lstrip(" ").startswith(("=", "+", "@"))], path.name
    assert cells > 10_000
    platforms = (tmp_path / "r" / "platforms.csv").read_text()
    assert "'=HYPERLINK(" in platforms


# --- a page for everybody ---------------------------------------------------------------------------------


def test_headings_are_in_order_and_every_id_is_there_once(name: str) -> None:
    found = Page(html(name))
    levels = [int(tag[1]) for tag, _ in found.elements if tag in ("h1", "h2", "h3", "h4")]
    ids = [a["id"] for _, a in found.elements if "id" in a]

    assert found.of("html")[0]["lang"] == "en"
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert len(ids) == len(set(ids))
    for _, attributes in found.elements:
        for key in ("href", "aria-labelledby"):
            for target in (attributes.get(key) or "").removeprefix("#").split():
                assert target in ids, target


def test_every_table_has_a_caption_and_headers_and_every_drawing_its_words(name: str) -> None:
    found = Page(html(name))

    assert len(found.of("caption")) == len(found.of("table")) > 10
    assert all(th.get("scope") in ("col", "row") for th in found.of("th"))
    blocks = [b for section in laid_out(name)["sections"] for b in section["blocks"] if b["type"] == "chart"]
    assert len(found.of("svg")) == len(blocks)
    for block in blocks:
        assert f'<title id="{block["name"]}-title">' in block["svg"]
        assert f'<desc id="{block["name"]}-desc">' in block["svg"]
        assert len(block["described"]) > 10


def test_figures_name_the_query_that_gives_them() -> None:
    found, queries = Page(html("calm")), list(made("calm").queries)
    notes = {a["href"] for a in found.of("a") if (a["href"] or "").startswith("#query-")}

    assert notes == {f"#query-{number}" for number in range(1, len(queries) + 1)}
    assert all(" ".join(sql.split()) in found.text for sql in made("calm").queries.values())
    assert all(figure["note"] for figure in laid_out("calm")["figures"])


def test_the_banner_stands_unless_counsel_has_reviewed_the_policy() -> None:
    assert laid_out("calm")["banners"] == []
    assert "This policy has not been reviewed by counsel." in laid_out("empty")["banners"]
    assert "This policy has not been reviewed by counsel." in Page(html("empty")).text


def test_what_needs_a_person_is_a_form_to_sign() -> None:
    rows = made("calm").checklist
    text = Page(html("calm")).text
    lines = sum(len(row.form.fields) + 1 for row in rows if row.form is not None)

    assert html("calm").count('<span class="line') == lines + 3 * 3, (
        "each field, the statement, the signatures"
    )
    assert all(row.item in text for row in rows)
    assert text.count("For a person to fill") == sum(1 for row in rows if row.filled == "needs a person")


# --- long tables ------------------------------------------------------------------------------------------


def test_a_long_table_is_cut_on_the_page_and_whole_in_its_csv(tmp_path: Path) -> None:
    report.write(made("extreme"), tmp_path / "r")
    blocks = [b for section in laid_out("extreme")["sections"] for b in section["blocks"]]
    shown = next(b for b in blocks if b.get("name") == "findings")

    assert len(shown["rows"]) == 60
    assert shown["more"] == "and 440 more: see findings.csv"
    assert shown["more"] in Page(html("extreme")).text
    with (tmp_path / "r" / "findings.csv").open(newline="") as file:
        assert sum(1 for _ in csv.reader(file)) == 500 + 1
    assert "The gravest 500 are listed" in Page(html("extreme")).text


def test_a_table_of_a_million_rows_is_never_held_whole() -> None:
    taken = 0

    def rows() -> Iterator[tuple[int]]:
        nonlocal taken
        for taken in range(1, 1_000_001):
            yield (taken,)

    table = Table("long", "Long", (Column("n", Kind.COUNT),), 1_000_000, rows, shown=50)
    assert len(layout._table(table, {})["rows"]) == 50
    assert taken <= 51

    class Sink(io.StringIO):
        longest = 0

        def write(self, text: str, /) -> int:
            self.longest = max(self.longest, len(text))
            return len(text)

    sink = Sink()
    write_csv(table, sink)
    assert taken == 1_000_000
    assert sink.longest < 50, "row by row"
