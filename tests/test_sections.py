"""Sections of a report fit a terminal, and are valid Markdown whatever the names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ridgeline import sections
from ridgeline.sections import Section

NAMES = st.text(st.characters(exclude_categories=("C", "Z"), codec="utf-8"), min_size=1)


def lines(section: Section) -> list[str]:
    return "\n".join(sections.text(section)).splitlines()


def test_a_section_without_differences_is_one_line() -> None:
    assert lines(Section("Params", (), ("param", "A", "B"))) == ["Params: no differences"]


def test_columns_are_aligned_and_numbers_on_the_right() -> None:
    section = Section("Metrics", (), ("metric", "A"), (("rmse", "1.5"), ("mae", "-12")))
    assert lines(section) == ["Metrics", "  metric    A", "  rmse    1.5", "  mae     -12"]


@given(st.lists(st.tuples(NAMES, NAMES, NAMES), min_size=1, max_size=3))
def test_no_line_is_longer_than_eighty_characters(rows: list[tuple[str, str, str]]) -> None:
    section = Section("Rows", (" ".join(rows[0]) * 9,), ("a", "b", "c"), tuple(rows))
    assert max(map(len, lines(section))) <= 80


def test_long_cells_are_wrapped_not_cut() -> None:
    alphas = str([*range(100)])
    shown = " ".join(lines(Section("Params", (), ("param", "A"), (("alphas", alphas),))))
    assert "".join(shown.split()).endswith("".join(alphas.split()))


@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=3))
def test_markdown_shows_the_cells_as_they_are(rows: list[tuple[str, str]]) -> None:
    text = "\n".join(sections.markdown(Section("Rows", (), ("a", "b"), tuple(rows))))
    tokens = MarkdownIt("gfm-like", {"linkify": False}).disable("linkify").parse(text)
    cells = [
        "".join(child.content for child in tokens[place + 1].children or [])
        for place, token in enumerate(tokens)
        if token.type == "td_open"
    ]
    assert cells == [cell for row in rows for cell in row]


@pytest.mark.parametrize("name", ["a|b", "*a*", "a_b_", "<b>", "`a`", "a\\|b", "[a](b)", "&amp;"])
def test_a_sentence_shows_a_name_as_it_is(name: str) -> None:
    text = "\n".join(sections.markdown(Section("Rows", (f"Column {name}.",))))
    [inline] = [t for t in MarkdownIt().parse(text) if t.type == "inline" and "Column" in t.content]
    assert "".join(child.content for child in inline.children or []) == f"Column {name}."
