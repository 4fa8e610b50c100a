"""dvc.yaml declares what the stages use: derived here from the stages' own code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import ROOT, run
from ruamel.yaml import YAML

STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]


def nodes(file: Path) -> Iterator[ast.AST]:
    """The nodes of a file's syntax, but for what only type checkers read."""
    waiting: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        yield node
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            waiting += ast.iter_child_nodes(node)


def imported(file: Path) -> set[Path]:
    """The project's files that `file` imports, anywhere in it."""
    names = set()
    for node in nodes(file):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    files = set()
    for name in names:
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            place = ROOT.joinpath(*parts[:end])
            files |= {f for f in (place.with_suffix(".py"), place / "__init__.py") if f.is_file()}
    return files


def all_imported(file: Path) -> set[Path]:
    seen: set[Path] = set()
    waiting = {file}
    while waiting:
        seen |= waiting
        waiting = set().union(*map(imported, waiting)) - seen
    return seen


def settings_read(file: Path) -> set[str]:
    """The dotted keys that a file reads of `settings`, also through a name for a section."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    dotted = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    sections = {"settings": ""}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            targets, values = node.targets[0], node.value
            pairs = (
                zip(targets.elts, values.elts, strict=True)
                if isinstance(targets, ast.Tuple) and isinstance(values, ast.Tuple)
                else [(targets, values)]
            )
            for target, value in pairs:
                text = ast.unparse(value)
                if text.startswith("settings.") and text.count(".") == 1:
                    sections[ast.unparse(target)] = text.removeprefix("settings.") + "."
        elif isinstance(node, ast.arg) and ast.unparse(node.annotation or node) == "Data":
            sections[node.arg] = "data."
    read = set()
    for text in dotted:
        name, _, rest = text.partition(".")
        if name in sections:
            read.add(".".join((sections[name] + rest).split(".")[:2]))
    return {key for key in read if "." in key}


def declared(stage: str) -> set[str]:
    return {entry for entry in STAGES[stage]["params"] if isinstance(entry, str)}


def packages(stage: str) -> set[str]:
    """The packages that a stage computes with: `tracking` writes what is computed elsewhere."""
    seen: set[Path] = set()
    waiting = {ROOT / f"stages/{stage}.py"}
    while waiting:
        seen |= waiting
        waiting = set().union(*map(imported, waiting)) - seen
        waiting = {file for file in waiting if file.parent.name != "tracking"}
    found = [node for file in seen for node in nodes(file)]
    names = {alias.name for n in found if isinstance(n, ast.Import) for alias in n.names}
    names |= {n.module for n in found if isinstance(n, ast.ImportFrom) and n.module}
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_the_versions_of_the_packages_that_shape_its_bytes(stage: str) -> None:
    [versions] = [entry for entry in STAGES[stage]["params"] if not isinstance(entry, str)]
    plots = "matplotlib" in packages(stage)
    sections = ["computing", "plotting"] if plots else ["computing"]
    assert versions == {"versions.toml": sections}


# Nothing in these can change an output's bytes: they start a stage, check the installed versions,
# report errors, and write the MLflow run when the outputs are there.
NO_DEPS = {"ridgeline/__init__.py", "ridgeline/environment.py", "ridgeline/errors.py"}
NO_DEPS |= {"stages/__init__.py"}
OURS = ["prepare", "featurize", "train", "register", "predict"]
ROOMS = {"tables": OURS, "intake": ["prepare", "predict"], "tracking": ["register", "predict"]}
ROOMS |= {"model": ["featurize", "train", "register", "predict"], "history": []}


def code(stage: str) -> list[str]:
    return [dep for dep in STAGES[stage]["deps"] if dep.startswith(("ridgeline/", "stages/"))]


def computing(stage: str) -> set[str]:
    """The files that a stage imports for what it computes; `stages.run` is not followed."""
    seen: set[Path] = set()
    waiting = {ROOT / f"stages/{stage}.py"}
    while waiting:
        seen |= waiting
        waiting = set().union(*map(imported, waiting)) - seen - {ROOT / "stages/__init__.py"}
    return {file.relative_to(ROOT).as_posix() for file in seen} - NO_DEPS


def under(dep: str, file: str) -> bool:
    return file == dep or file.startswith(f"{dep}/")


@pytest.mark.parametrize("stage", STAGES)
def test_each_file_that_a_stage_computes_with_lies_under_a_dep(stage: str) -> None:
    assert [f for f in computing(stage) if not any(under(dep, f) for dep in code(stage))] == []


@pytest.mark.parametrize("stage", STAGES)
def test_each_code_dep_is_imported(stage: str) -> None:
    rooms = {f"ridgeline/{room}/__init__.py" for room in ROOMS}  # every room has one
    files = computing(stage) - rooms
    assert [dep for dep in code(stage) if not any(under(dep, f) for f in files)] == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_at_most_seven_code_deps(stage: str) -> None:
    assert len(code(stage)) <= 7


@pytest.mark.parametrize("room", ROOMS)
def test_an_edit_in_a_room_reruns(room: str) -> None:
    assert [stage for stage in OURS if f"ridgeline/{room}" in code(stage)] == ROOMS[room]


@pytest.mark.slow
@pytest.mark.parametrize("room", ROOMS)
def test_dvc_status_names_the_stages_of_an_edited_room(unchanged: Path, room: str) -> None:
    file = max((unchanged / f"ridgeline/{room}").glob("*.py"))
    file.write_text(f"{file.read_text()}# a comment\n")
    status = run("dvc", "status", cwd=unchanged).stdout
    reruns = [stage for stage in STAGES if f"ridgeline/{room}" in code(stage)]
    assert sorted(re.findall(r"^(\w+):$", status, re.MULTILINE)) == sorted(reruns)


ARROWS = {
    "config": set(),
    "tables": {"config"},
    "intake": {"config", "tables"},
    "model": {"tables"},
    "tracking": {"config", "model", "tables"},
    "history": {"config", "intake", "model", "tables", "tracking"},
}


@pytest.mark.parametrize("room", ARROWS)
def test_a_room_imports_only_from_those_below_it(room: str) -> None:
    files = (ROOT / f"ridgeline/{room}").glob("*.py")
    rooms = {f.parent.name for file in files for f in imported(file)} - {"ridgeline", room}
    assert rooms <= ARROWS[room]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_just_the_params_that_it_reads(stage: str) -> None:
    named = {
        "data.features": {"data.numeric", "data.categorical"},
        "data.key_column": {"data.key"},
        "predict": {"predict.model", "predict.input", "predict.output", "predict.level"},
    }
    files = [ROOT / file for file in computing(stage) | {"stages/__init__.py"}]
    read = set().union(*map(settings_read, files))
    read = set().union(*(named.get(key, {key}) for key in read))
    covered = {key: {key, key.partition(".")[0]} & declared(stage) for key in read}
    assert [key for key, by in covered.items() if not by] == []
    used = set().union(*covered.values())
    assert declared(stage) - used == set()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_run_as_a_module(stage: str) -> None:
    assert STAGES[stage]["cmd"] == f"python -m stages.{stage}"


def test_no_stage_imports_another() -> None:
    stages = {ROOT / f"stages/{stage}.py" for stage in STAGES}
    assert [s for s in stages if all_imported(s) & stages != {s}] == []


@pytest.mark.slow
def test_the_library_imports_no_stage() -> None:
    for file in (ROOT / "ridgeline").rglob("*.py"):
        assert not [f for f in all_imported(file) if f.parent.name == "stages"], file
