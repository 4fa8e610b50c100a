"""Sections of a report, printed as text of 80 columns or as Markdown."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

WIDTH, GAP = 80, 2
NUMBER = re.compile(r"[-+]?[\d,]+(\.\d+)?(e[-+]\d+)?%?|–|")


@dataclass(frozen=True)
class Section:
    """A title, sentences and a table under it; a section with neither says "no differences"."""

    title: str
    sentences: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def text(section: Section) -> Iterator[str]:
    """Yield a section's lines of at most `WIDTH` characters, wrapped to fit; the last is empty."""
    if not (section.sentences or section.rows):
        yield f"{section.title}: no differences\n"
        return
    yield section.title
    indent = " " * GAP
    for sentence in section.sentences:
        yield textwrap.fill(sentence, WIDTH, initial_indent=indent, subsequent_indent=indent)
    if section.rows:
        table = [section.header, *section.rows]
        widths = _widths(table)
        right = _numeric(section)
        for row in table:
            cells = [_wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
            for line in zip_longest(*cells, fillvalue=""):
                padded = (
                    cell.rjust(width) if number else cell.ljust(width)
                    for cell, width, number in zip(line, widths, right, strict=True)
                )
                yield (indent + (" " * GAP).join(padded)).rstrip()
    yield ""


def markdown(section: Section) -> Iterator[str]:
    """Yield a section's lines as GitHub-flavoured Markdown."""
    yield f"## {escaped(section.title)}\n"
    if not (section.sentences or section.rows):
        yield "No differences.\n"
    for sentence in section.sentences:
        yield f"{escaped(sentence)}\n"
    if section.rows:
        rules = ("---:" if number else "---" for number in _numeric(section))
        escape = [tuple(map(escaped, row)) for row in (section.header, *section.rows)]
        for row in (escape[0], tuple(rules), *escape[1:]):
            yield f"| {' | '.join(row)} |"
        yield ""


def escaped(text: str) -> str:
    r"""Return a text as Markdown that shows it as it is, also in the cell of a table.

    Examples
    --------
    >>> print(escaped("weight|kg"))
    weight\|kg
    """
    return re.sub(r"([\\`*_\[\]<>|~#&])", r"\\\1", " ".join(text.split()))


def _widths(table: Sequence[Sequence[str]]) -> list[int]:
    """Return the columns' widths; the widest are narrowed until the table fits."""
    widths = [max(1, *map(len, column)) for column in zip(*table, strict=True)]
    while sum(widths) + GAP * len(widths) > WIDTH and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
    return widths


def _wrapped(cell: str, width: int) -> list[str]:
    return textwrap.wrap(cell, width, break_on_hyphens=False) or [""]


def _numeric(section: Section) -> list[bool]:
    """Return which columns have only numbers; they are aligned on the right."""
    return [all(map(NUMBER.fullmatch, column)) for column in zip(*section.rows, strict=True)]
