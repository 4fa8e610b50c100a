"""The README and the pages in docs/ lead to each other, and their pictures are small."""

import re
from pathlib import Path

import pytest
from PIL import Image
from project import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


def links(page: Path) -> set[str]:
    """The files that a page links to or shows, as it writes them, without those on the web."""
    found = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    return {link for link in found if "://" not in link}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    assert [link for link in links(page) if not (page.parent / link).exists()] == []


def test_the_index_has_every_page() -> None:
    pages = {page.name for page in DOCS.glob("*.md")} - {"README.md"}
    assert pages - links(DOCS / "README.md") == set()


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_a_page_of_the_documentation_is_short(page: Path) -> None:
    assert len(page.read_text(encoding="utf-8").splitlines()) <= 110


def test_screenshots_are_1200_pixels_wide_and_small() -> None:
    for path in (DOCS / "images").iterdir():
        assert path.stat().st_size < 150_000
        with Image.open(path) as image:
            assert image.width == 1200
