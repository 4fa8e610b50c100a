"""dvc.yaml declares what the stages use: derived here from the stages' own code."""

import ast
from pathlib import Path

import pytest
from conftest import ROOT
from ruamel.yaml import YAML

STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]


def imported(file: Path) -> set[Path]:
    """The project's files that `file` imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
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
        waiting = set().union(*map(imported, waiting)) - seen - {ROOT / "ridgeline/tracking.py"}
    nodes = [n for f in seen for n in ast.walk(ast.parse(f.read_text(encoding="utf-8")))]
    names = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    names |= {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module}
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_the_versions_of_the_packages_that_shape_its_bytes(stage: str) -> None:
    [versions] = [entry for entry in STAGES[stage]["params"] if not isinstance(entry, str)]
    plots = "matplotlib" in packages(stage)
    sections = ["computing", "plotting"] if plots else ["computing"]
    assert versions == {"versions.toml": sections}


@pytest.mark.parametrize("stage", STAGES)
def test_each_file_that_a_stage_imports_is_among_its_deps(stage: str) -> None:
    expected = {f.relative_to(ROOT).as_posix() for f in all_imported(ROOT / f"stages/{stage}.py")}
    assert {dep for dep in STAGES[stage]["deps"] if dep.endswith(".py")} == expected


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_just_the_params_that_it_reads(stage: str) -> None:
    named = {
        "data.features": {"data.numeric", "data.categorical"},
        "train.alpha_values": {"train.alphas"},
    }
    read = set().union(*map(settings_read, all_imported(ROOT / f"stages/{stage}.py")))
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


def test_the_library_imports_no_stage() -> None:
    for file in (ROOT / "ridgeline").glob("*.py"):
        assert not [f for f in all_imported(file) if f.parent.name == "stages"], file


@pytest.mark.parametrize("leaf", ["ridge", "scoring", "features", "dataset", "charts", "split"])
def test_a_leaf_module_knows_neither_settings_nor_dvc_nor_mlflow(leaf: str) -> None:
    known = {f.stem for f in all_imported(ROOT / f"ridgeline/{leaf}.py")}
    assert known & {"config", "pipeline", "tracking", "registry"} == set()
