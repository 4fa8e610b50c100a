"""The tutorial's commands, run in their order in a fresh clone, print what the page shows."""

import re
from pathlib import Path

import pytest
from project import ROOT, installed, run

pytestmark = [pytest.mark.slow, pytest.mark.drill]

PAGE = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project(fresh: Path) -> Path:
    run("git", "checkout", "-B", "main", cwd=fresh)
    return installed(fresh)


def test_the_commands_print_what_the_page_shows(project: Path) -> None:
    printed = ""
    for kind, block in re.findall(r"```(console|text)\n(.*?)```", PAGE, re.DOTALL):
        if kind == "console":
            printed = "".join(stdout(project, line) for line in block.splitlines())
        else:
            for line in block.splitlines():
                assert re.search(pattern(line), printed), f"{line!r} is not in:\n{printed}"
    assert run("git", "status", "--short", "--untracked-files=no", cwd=project).stdout == ""
    assert "up to date" in run("dvc", "status", cwd=project).stdout


def stdout(project: Path, line: str) -> str:
    return run("bash", "-c", line.removeprefix("$ "), cwd=project, COLUMNS="200").stdout


def pattern(line: str) -> str:
    """Match a line with any spaces between its words, and anything of the line in place of …."""
    return r"[ \t]+".join(".*" if word == "…" else re.escape(word) for word in line.split())
