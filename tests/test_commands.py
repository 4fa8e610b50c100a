"""The front door: ``python -m ridgeline``, its commands and their help."""

import re

import pytest
from project import ROOT, run

from ridgeline import __main__ as ridgeline

COMMANDS = [
    "init",
    "predict",
    "lineage",
    "diff",
    "changes",
    "backfill",
    "promote",
    "rollback",
    "serve",
]


def help_of(*arguments: str) -> str:
    return run("python", "-m", "ridgeline", *arguments, "--help", cwd=ROOT, COLUMNS="80").stdout


def test_help_lists_each_command_in_eighty_columns() -> None:
    text = help_of()
    assert re.findall(r"^    (\w+)", text, re.MULTILINE) == COMMANDS
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_explains_itself(command: str) -> None:
    parser = ridgeline.parser()
    [commands] = [a for a in parser._actions if a.dest == "command"]
    actions = commands.choices[command]._actions
    assert commands.choices[command].description
    assert [action.dest for action in actions if not action.help] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_the_docs_name_each_command_or_make_has_it(command: str) -> None:
    places = [ROOT / "README.md", ROOT / "Makefile", *(ROOT / "docs").glob("*.md")]
    assert any(f"python -m ridgeline {command}" in f.read_text(encoding="utf-8") for f in places)


def test_without_a_command_the_usage_is_printed() -> None:
    done = run("python", "-m", "ridgeline", cwd=ROOT, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -m ridgeline")


def test_help_waits_for_no_mlflow() -> None:
    program = "import sys, ridgeline.__main__ as r; r.parser(); print('mlflow' in sys.modules)"
    assert run("python", "-c", program, cwd=ROOT).stdout == "False\n"


def test_an_interrupted_command_ends_without_a_traceback() -> None:
    program = """
import signal
from ridgeline.errors import exit_on_error
with exit_on_error("it"):
    signal.raise_signal(signal.SIGINT)
"""
    done = run("python", "-c", program, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_reader_that_stops_early_is_no_error() -> None:
    program = """
from ridgeline.errors import exit_on_error
with exit_on_error("it"):
    for number in range(1_000_000):
        print(number)
"""
    done = run("bash", "-c", f"python -c '{program}' | head -1", cwd=ROOT)
    assert (done.stdout, done.stderr) == ("0\n", "")
