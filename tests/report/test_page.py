"""A page in the order of the base template, filled from records; and errors that name the template."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.report.test_tables import record
from xcnn.errors import UserError
from xcnn.report import PaperNumber, Row, Summary, aggregate, claim, compare
from xcnn.report.page import Column, Page, handed_over, opening, shared

HEADINGS = ("Paper", "Command", "Reports", "Cost", "Deviations")
TITLES = {
    "kmex": {"title": "KMEx", "definition": "the nearest prototype"},
    "cnn": {"title": "CNN"},
    "grid-a*": {"definition": "at other weights"},
    "toy": {"title": "Toy images", "definition": "drawn"},
}
CHILD = """{% extends "page.md.jinja" %}
{% set quantities = {"test": "test accuracy, %"} %}
{% block answer %}KMEx has {{ ours(facts.kmex, "test", 1, "%") }}.{% endblock %}
{% block ours %}
KMEx {{ facts.kmex.mean["test"] | number(1) }} %
{% endblock %}
{% block table %}
{% set kmex = [titled("kmex"), beside("kmex", "test", "toy")] %}
{{ table(["", "toy"], [kmex, [titled("cnn"), beside("cnn", "test", "toy")]]) }}
{% endblock %}
{% block figure %}{{ picture("table9-a.png", "What it
shows.") }}{% endblock %}
{% block definitions %}
- **test accuracy**: of test images.
{% endblock %}
"""


def full(method: str, seed: int, test: float, sha: str = "a" * 40, **changes: Any) -> dict[str, Any]:
    extra = {
        "n": 100, "git_sha": sha, "dirty": False, "lock": "l", "versions": {"torch": "2"}, "device": "cpu",
        "machine": "a machine", "precision": "32-true", "wall_s": 30.0, "weights": "w",
    }  # fmt: skip
    made = record(method, seed, test=test) | extra | changes
    made["training"] |= {"fingerprint": f"{method}{seed}", "wall_s": 60.0, "git_sha": sha, "dirty": False}
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "paper").mkdir()
    lines = "\n".join(f"{name}: text of {name}" for name in HEADINGS)
    (tmp_path / "paper/table9.py").write_text(f'"""Paper, table 9: a test.\n\n{lines}\n"""\n')
    (tmp_path / "paper/table9.md.jinja").write_text(CHILD)
    return tmp_path


def page(records: list[dict[str, Any]] | None = None, **options: Any) -> Page:
    rows = aggregate(
        records or [full("kmex", 0, 98.0), full("kmex", 1, 99.0, "b" * 40), full("cnn", 0, 97.0), full("cnn", 1, 98.0)]
    )
    paper = [PaperNumber("kmex", "test", "98.6", "table 9", "%", "toy"), PaperNumber("cnn", "test", "99.4", "table 9")]
    paper += [PaperNumber(m, "test", "79.1", "table 9", "%", "cub", not_run="no data") for m in ("kmex", "cnn")]
    by_method: Mapping[str, Row] = {row.method: row for row in rows}
    summary = Summary(
        "Table 9",
        columns=[Column("test", "test %", 1)],
        claims=[claim(rows, "test", "kmex", "cnn", "higher")],
        facts={"kmex": by_method["kmex"]},
        **options,
    )
    return Page(
        "paper/table9",
        "make paper-table9",
        summary,
        rows,
        compare(rows, paper),
        {"table9-a.png": None, "table9-b.png": None},
        TITLES,
    )


def test_the_order_of_a_page(folder: Path) -> None:
    text = page().render(folder)
    places = [
        '<!-- xcnn {"identity": "paper/table9", "verdict": "reproduced"',
        "# Table 9",
        "**Reproduced.** KMEx has 98.5 [92.1, 100.0].",
        "| KMEx has a higher test accuracy, % than CNN | above 0 | +1.00 [+1.00, +1.00] | 2 seeds, paired | **holds**",
        "| KMEx | 98.6 / 98.5 [92.1, 100.0] ✓ |",
        "brackets are 95 % intervals over seeds (Student's t; of a share, within its range).",
        "![table9-a](table9-a.png)\n\nWhat it shows.",
        "<summary>More pictures</summary>\n\n![table9-b](table9-b.png)",
        "<summary>All rows (mean ± standard deviation over seeds)</summary>",
        "All rows: Toy; 50 epochs, 32-true on cpu; conv3; 2 seeds each.",
        "| KMEx | 98.5 ± 0.7 |",
        "<summary>The paper's numbers one by one</summary>",
        "| KMEx | test accuracy, % | 98.6 | table 9 | 98.5 [92.1, 100.0] | 2 seeds | -0.1 | agrees |",
        "- cub: 2 numbers not run: no data.",
        "<summary>Definitions</summary>\n\n- **test accuracy**: of test images.",
        "- **KMEx**: the nearest prototype\n- **Toy images**: drawn",
        "<summary>Deviations from the paper</summary>\n\nText of Deviations",
        "`paper/table9.runs.jsonl`: 4 cells, 2.0 minutes of measuring; 4 trainings, 4 minutes\n",
        "- measured at commit aaaaaaaaaa: CNN, KMEx\n- measured at commit bbbbbbbbbb: KMEx\n",
    ]  # fmt: skip
    found = [text.find(place) for place in places]
    assert found == sorted(found) and -1 not in found, dict(zip(places, found, strict=True))
    assert text.count("no data") == 1 and "\n\n\n" not in text


def test_what_follows_a_table_is_no_row_of_it(folder: Path) -> None:
    template = folder / "paper/table9.md.jinja"
    after = CHILD.replace("]) }}\n{% endblock %}", "]) }}\nOn other images:\n{% endblock %}")
    assert after != CHILD
    template.write_text(after)
    assert " |\n\nOn other images:" in page().render(folder)


def test_the_line_for_the_index(folder: Path, tmp_path: Path) -> None:
    made = page()
    (tmp_path / "page.md").write_text(made.render(folder))
    line = handed_over(tmp_path / "page.md")
    assert line == {
        "identity": "paper/table9", "verdict": "reproduced", "ours": "KMEx 98.5 %",
        "n": {"images": [100, 100], "seeds": [2, 2]}, "command": "make paper-table9",
    }  # fmt: skip
    (folder / "paper/table9.md.jinja").write_text(CHILD.replace("KMEx {{", "a --> b -- {{"))
    (tmp_path / "page.md").write_text(made.render(folder))
    first = (tmp_path / "page.md").read_text().splitlines()[0]
    assert first.count("--") == 2  # those that open and close the comment
    line = handed_over(tmp_path / "page.md")
    assert line is not None and line["ours"] == "a --> b -- 98.5 %"
    (tmp_path / "page.md").write_text("# A page without the line\n")
    assert handed_over(tmp_path / "page.md") is None and handed_over(tmp_path / "absent.md") is None


def test_rows_name_only_where_they_differ(folder: Path) -> None:
    text = page(
        [full("kmex", 0, 98.0), full("cnn", 0, 97.0, model="conv5"), full("cnn", 1, 97.0, model="conv5")]
    ).render(folder)
    assert "| method | network | test % | seeds |" in text and "| CNN | conv5 | 97.0 ± 0.0 | 2 |" in text
    rows = aggregate([record("a", epochs=3, x=1.0), record("b", epochs=50, x=1.0)])
    assert shared(rows)["setting"] == "Toy" and shared(rows)["own"] == [
        "3 epochs, 32-true on cpu",
        "50 epochs, 32-true on cpu",
    ]


def test_records_say_what_was_restated_and_which_weights(folder: Path) -> None:
    networks = {"before": {"hash": "1234", "provenance": "quantised"}}
    text = page([full("kmex", 0, 98.0, restated="old", networks=networks), full("cnn", 0, 97.0)]).render(folder)
    assert "- restated: 1 cell;" in text
    assert "- weights: before: 1234, quantised; conv3: w\n" in text


def test_records_of_an_earlier_protocol_are_said(folder: Path) -> None:
    records = [full("kmex", 0, 98.0), full("cnn", 0, 97.0)]
    for one, protocol in zip(records, (1, 2), strict=True):
        one["settings"]["protocol"] = protocol
    some = "Measured by protocol 1 (KMEx) of this experiment; its code now measures by protocol 2"
    assert some in replace(page(records), protocol=2).render(folder)
    assert "by protocol 1 (KMEx), 2 (CNN) of this" in replace(page(records), protocol=3).render(folder)
    records[0]["settings"]["protocol"] = 2
    assert "by protocol 2 of this" in replace(page(records), protocol=3).render(folder)  # all rows need no names
    records[0]["settings"]["protocol"] = 1
    for today in (None, 1):
        records[1]["settings"]["protocol"] = 1
        assert "by protocol" not in replace(page(records), protocol=today).render(folder)


def test_a_name_without_a_title_and_one_by_pattern() -> None:
    made = page()
    assert made.titled("grid-a0.1") == "grid-a0.1" and made.titled("other") == "other"
    rows = aggregate([full("kmex", 0, 1.0), full("grid-a0.1", 0, 1.0)])
    assert Page("p/n", "", made.summary, rows, [], {}, TITLES).named()["grid-a0.1"] == "at other weights"


def test_beside_where_only_one_of_the_two_is_there() -> None:
    made = page()
    assert made.beside("kmex", "test", "cub") == "79.1 / –"
    assert made.beside("absent", "test") == "– / –"
    assert made.beside("cnn", "test", "toy", source="table 1") == "– / 97.500 [91.147, 103.853]"


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (CHILD.replace("facts.kmex.mean", "facts.kmx.mean"), r"table9\.md\.jinja, line 5: .*kmx"),
        (CHILD.replace("| number(1)", "| number(1"), r"table9\.md\.jinja, line 5: "),
        (CHILD.replace("block ours", "block yours"), r"has no block 'ours'"),
        (CHILD.replace("block answer", "block reply"), r"has no block 'answer'"),
        (CHILD.replace("table9-a.png", "table9-c.png"), r"no picture 'table9-c\.png'; it has: table9-a\.png"),
    ],
)
def test_mistakes_in_a_template_are_located(folder: Path, broken: str, message: str) -> None:
    (folder / "paper/table9.md.jinja").write_text(broken)
    with pytest.raises(UserError, match=message):
        page().render(folder)


@pytest.mark.parametrize("heading", HEADINGS)
def test_heading_missing(tmp_path: Path, heading: str) -> None:
    lines = [f"{name}: text\n    more of {name}" for name in HEADINGS if name != heading]
    (tmp_path / "table9.py").write_text('"""Title.\n\n' + "\n".join(lines) + '\n"""\n')
    with pytest.raises(ValueError, match=f"needs .*{heading}"):
        opening(tmp_path / "table9.py")


def test_headings_with_several_lines(tmp_path: Path) -> None:
    lines = [f"{name}:   text\n    more: of {name}" for name in HEADINGS]
    (tmp_path / "table9.py").write_text('"""Title.\n\n' + "\n".join(lines) + '\n"""\n')
    assert opening(tmp_path / "table9.py") == {"What": "Title"} | {n: f"text more: of {n}" for n in HEADINGS}


def test_rows_of_which_the_paper_says_nothing_are_not_comparable(folder: Path) -> None:
    made = page()
    bare = Summary("Table 9", facts=made.summary.facts)
    text = Page("paper/table9", "", bare, made.rows, [], made.pictures, TITLES).render(folder)
    assert (
        json.loads(text.splitlines()[0].removeprefix("<!-- xcnn ").removesuffix(" -->"))["verdict"] == "not comparable"
    )
    own = Summary("Table 9", facts=made.summary.facts, verdict="not run")
    text = Page("paper/table9", "", own, made.rows, [], made.pictures, TITLES).render(folder)
    assert json.loads(text.splitlines()[0].removeprefix("<!-- xcnn ").removesuffix(" -->"))["verdict"] == "not run"
